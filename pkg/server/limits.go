package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// share is how many bytes of a request count as one request in flight. A longer one counts as several, so that the limit
// on requests is one on memory as well.
const share = 64 << 10

// retryAfter is, in seconds, when a client may come again: the shortest time that HTTP can tell but none. The API server
// keeps to it as long as the webhook's timeout lets it (client-go's rest/with_retry.go).
const retryAfter = "1"

// Limits are what a handler takes on. All but Log are required.
type Limits struct {
	// InFlight is how many requests a handler has in hand at a time; zero means that there is no limit.
	InFlight int
	// Bytes is how long the body of a request may be.
	Bytes   int64
	Metrics *Metrics
	Log     logr.Logger
}

// Wrap returns a handler that passes on to the next one what is within the limits. What is not is refused before any of
// it is read, with a Status that says what to do; the API server passes that on to its own client. Each call makes a
// budget of its own, so that who uses up one handler's takes nothing from another's.
func (l Limits) Wrap(next http.Handler) http.Handler {
	budget := &budget{limit: int64(l.InFlight)}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 { // unknown; the API server always tells
			size = l.Bytes
		}
		if size > l.Bytes {
			l.Metrics.tooLarge.Inc()
			l.Log.Info("request rejected: it is too large", "path", r.URL.Path, "bytes", size, "limit", l.Bytes)
			refuse(w, http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge, fmt.Sprintf(
				"meshwarden takes up to %d bytes and was sent %d, the old object included: make the object smaller, or set its --max-request-bytes higher", l.Bytes, size))
			return
		}
		weight := budget.weigh(size)
		if !budget.take(weight) {
			// Only counted: a line for each would be one more thing to do for a process that has too much to do.
			l.Metrics.tooMany.Inc()
			w.Header().Set("Retry-After", retryAfter)
			refuse(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, fmt.Sprintf(
				"meshwarden has its %d requests (--max-requests-in-flight) in hand: try again", l.InFlight))
			return
		}
		defer budget.give(weight)
		r.Body = &body{ReadCloser: http.MaxBytesReader(w, r.Body, l.Bytes), metrics: l.Metrics}
		next.ServeHTTP(w, r)
	})
}

// body counts when it does not come in time, or is longer than nobody said it would be. The handler tells the client what is
// said here.
type body struct {
	io.ReadCloser
	metrics *Metrics
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	tooLarge := new(http.MaxBytesError)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.metrics.tooSlow.Inc()
		err = fmt.Errorf("the request did not come in within meshwarden's --request-timeout: %w", os.ErrDeadlineExceeded)
	case errors.As(err, &tooLarge):
		b.metrics.tooLarge.Inc()
		err = fmt.Errorf("meshwarden takes up to %d bytes: make the object smaller, or set its --max-request-bytes higher: %w", tooLarge.Limit, tooLarge)
	}
	return n, err
}

// refuse answers with a Status, whose message the API server's client takes over. It would not take over a text.
func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// A client that is gone needs no answer.
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
}

// budget counts what is in hand. Nobody waits for it: the API server does that better, since it knows for how long.
type budget struct {
	limit int64 // zero: none
	used  atomic.Int64
}

// weigh returns as how many requests one of the size counts: never more than there are, or it could never be taken.
func (b *budget) weigh(size int64) int64 {
	return min(max(1, (size+share-1)/share), b.limit)
}

// take says whether there is room, and takes it.
func (b *budget) take(weight int64) bool {
	for {
		used := b.used.Load()
		if b.limit > 0 && used+weight > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+weight) {
			return true
		}
	}
}

func (b *budget) give(weight int64) {
	b.used.Add(-weight)
}

// Metrics count what the server refuses.
type Metrics struct {
	tooMany, tooLarge, tooSlow prometheus.Counter
}

// NewMetrics registers the metrics of the package.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meshwarden_requests_rejected_total",
		Help: "Requests that were not judged, by reason: too_many in flight, too_large, or too_slow to come in.",
	}, []string{"reason"})
	if err := r.Register(rejected); err != nil {
		return nil, fmt.Errorf("cannot register the metrics of the server: %w", err)
	}
	// All are there from the start, so that the first rejection is an increase.
	return &Metrics{
		tooMany: rejected.WithLabelValues("too_many"), tooLarge: rejected.WithLabelValues("too_large"), tooSlow: rejected.WithLabelValues("too_slow"),
	}, nil
}
