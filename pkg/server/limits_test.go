package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// newLimits returns limits, and what they have rejected by reason.
func newLimits(t testing.TB, inFlight int, bytes int64) (Limits, func() map[string]float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	return Limits{InFlight: inFlight, Bytes: bytes, Metrics: metrics, Log: logr.Discard()}, func() map[string]float64 {
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "meshwarden_requests_rejected_total" || len(families[0].GetMetric()) != 3 {
			t.Errorf("the metrics are %v, %v", families, err)
		}
		counted := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if n := m.GetCounter().GetValue(); n > 0 {
					counted[m.GetLabel()[0].GetValue()] = n
				}
			}
		}
		return counted
	}
}

// holding returns a handler that keeps each request until it is let go.
func holding() (handler http.Handler, arrived <-chan struct{}, letGo chan<- struct{}) {
	in, out := make(chan struct{}), make(chan struct{})
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		in <- struct{}{}
		<-out
	}), in, out
}

// ask sends a request of so many bytes to the handler.
func ask(h http.Handler, size int) *httptest.ResponseRecorder {
	response := httptest.NewRecorder()
	h.ServeHTTP(response, httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(make([]byte, size))))
	return response
}

// TestInFlight: what is let in beside what is in hand already.
func TestInFlight(t *testing.T) {
	const kib = 1 << 10
	tests := []struct {
		reason string
		limit  int
		held   []int // sizes
		asked  int   // size
		let    bool
	}{
		{"nothing is in hand", 1, nil, 100, true},
		{"the one is", 1, []int{100}, 100, false},
		{"one of two is", 2, []int{100}, 100, true},
		{"both are", 2, []int{100, 0}, 0, false},
		{"a large one is let in where there is nothing else", 1, nil, 7 << 20, true},
		{"and beside it none", 200, []int{7 << 20, 0, 0, 0}, 7 << 20, false},
		{"7 MiB count as 112", 200, []int{7 << 20}, 64 * 88 * kib, true},
		{"so this is one too many", 200, []int{7 << 20}, 64*88*kib + 1, false},
		{"what counts as one counts as one", 2, []int{64 * kib}, 64 * kib, true},
		{"what is larger counts as two", 2, []int{64*kib + 1}, 0, false},
		{"no limit", 0, []int{7 << 20, 7 << 20, 100, 100}, 7 << 20, true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			limits, rejected := newLimits(t, tc.limit, 7<<20)
			held, arrived, letGo := holding()
			handler := limits.Wrap(held)
			answers := make(chan int, len(tc.held)+1)
			send := func(size int) { go func() { answers <- ask(handler, size).Code }() }
			for _, size := range tc.held {
				send(size)
				<-arrived
			}
			if tc.let {
				send(tc.asked)
				<-arrived
				letGo <- struct{}{}
				<-answers
			} else {
				got := ask(handler, tc.asked)
				if status := refusal(t, got); status.Code != http.StatusTooManyRequests || got.Header().Get("Retry-After") != "1" ||
					!strings.Contains(status.Message, fmt.Sprintf("its %d requests (--max-requests-in-flight) in hand: try again", tc.limit)) {
					t.Errorf("refused with %v, %v", got.Header(), status)
				}
			}
			for range tc.held {
				letGo <- struct{}{}
				if code := <-answers; code != http.StatusOK {
					t.Errorf("one that was let in is answered with %d", code)
				}
			}
			want := map[string]float64{}
			if !tc.let {
				want["too_many"] = 1
			}
			if diff := cmp.Diff(want, rejected()); diff != "" {
				t.Errorf("rejected (-want +got):\n%s", diff)
			}
			// All is given back.
			send(7 << 20)
			<-arrived
			letGo <- struct{}{}
		})
	}
}

// TestBudgets: a flood of one kind of requests leaves the other its own.
func TestBudgets(t *testing.T) {
	limits, rejected := newLimits(t, 1, 100)
	held, arrived, letGo := holding()
	flooded := limits.Wrap(held)
	go ask(flooded, 10)
	<-arrived
	for range 100 {
		if code := ask(flooded, 10).Code; code != http.StatusTooManyRequests {
			t.Fatalf("beyond the limit: %d", code)
		}
	}
	other := limits.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if code := ask(other, 10).Code; code != http.StatusOK {
		t.Errorf("the other handler's request is answered with %d", code)
	}
	letGo <- struct{}{}
	if got := rejected()["too_many"]; got != 100 {
		t.Errorf("%v are counted", got)
	}
}

// TestPanicGivesBack: a handler that panics keeps nothing of the budget.
func TestPanicGivesBack(t *testing.T) {
	limits, _ := newLimits(t, 1, 100)
	handler := limits.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("absurd") }))
	for range 3 {
		func() {
			defer func() {
				if r := recover(); r != "absurd" {
					t.Errorf("recovered %v", r)
				}
			}()
			ask(handler, 10)
		}()
	}
}

// TestBytes: how long a request may be.
func TestBytes(t *testing.T) {
	tests := []struct {
		reason string
		size   int
		hidden bool // the length is not told
		let    bool
		read   int // by the handler
	}{
		{"none", 0, false, true, 0},
		{"as long as may be", 1000, false, true, 1000},
		{"a byte longer", 1001, false, false, 0},
		{"much longer", 1 << 20, false, false, 0},
		{"a length that is not told, and short", 10, true, true, 10},
		{"and as long as may be", 1000, true, true, 1000},
		{"and longer: the handler cannot read it all", 1 << 20, true, true, 1000},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			limits, rejected := newLimits(t, 1, 1000)
			read := -1
			handler := limits.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				read = len(body)
				if tooLarge := new(http.MaxBytesError); (err != nil) != (tc.size > 1000) || err != nil && !errors.As(err, &tooLarge) {
					t.Errorf("the handler reads %d bytes, %v", len(body), err)
				}
			}))
			request := httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(make([]byte, tc.size)))
			if tc.hidden {
				request.ContentLength = -1
			}
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, request)
			if tc.let {
				if counted := rejected()["too_large"] == 1; response.Code != http.StatusOK || read != tc.read || counted != (tc.size > 1000) {
					t.Errorf("answered %d after %d bytes, rejected %v", response.Code, read, rejected())
				}
				return
			}
			status := refusal(t, response)
			says := fmt.Sprintf("up to 1000 bytes and was sent %d, the old object included: make the object smaller, or set its --max-request-bytes higher", tc.size)
			if status.Code != http.StatusRequestEntityTooLarge || !strings.Contains(status.Message, says) || read != -1 || rejected()["too_large"] != 1 {
				t.Errorf("refused with %v, %d bytes read, rejected %v", status, read, rejected())
			}
		})
	}
}

// refusal returns the Status of the answer, of which the API server's client takes the message over.
func refusal(t *testing.T, r *httptest.ResponseRecorder) metav1.Status {
	t.Helper()
	var status metav1.Status
	err := json.Unmarshal(r.Body.Bytes(), &status)
	if err != nil || status.Kind != "Status" || status.APIVersion != "v1" || status.Status != metav1.StatusFailure ||
		int(status.Code) != r.Code || status.Reason == "" || r.Header().Get("Content-Type") != "application/json" {
		t.Errorf("not a refusal: %d %v %s: %v", r.Code, r.Header(), r.Body, err)
	}
	return status
}

// BenchmarkLimits is what the limits cost beside the same request without them.
func BenchmarkLimits(b *testing.B) {
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	limits, _ := newLimits(b, 200, 7<<20)
	for name, handler := range map[string]http.Handler{"without": next, "with": limits.Wrap(next)} {
		b.Run(name, func(b *testing.B) {
			request := httptest.NewRequest(http.MethodPost, "/validate", http.NoBody)
			request.ContentLength = 2000
			response := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				request.Body = http.NoBody
				handler.ServeHTTP(response, request)
			}
		})
	}
}
