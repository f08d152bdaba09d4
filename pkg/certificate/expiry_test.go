package certificate

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestExpiry: who is warned, and when.
func TestExpiry(t *testing.T) {
	s := newStages(t)
	leaf, ca := s.fresh.Serving.Leaf, s.fresh.Authorities[0].Certificate
	late := warnAt(leaf)
	tests := []struct {
		reason string
		after  []time.Time // of the looks
		warned []int       // how many warnings come of each
		wait   time.Duration
	}{
		{"fresh", []time.Time{start}, []int{0}, checkAtLeast},
		{"a minute before a quarter is left", []time.Time{late.Add(-time.Minute)}, []int{0}, time.Minute},
		{"a quarter is left", []time.Time{late}, []int{1}, checkAtLeast},
		{"a while later: not again", []time.Time{late, late.Add(23 * time.Hour)}, []int{1, 0}, time.Hour},
		{"a day later: again", []time.Time{late, late.Add(24 * time.Hour)}, []int{1, 1}, checkAtLeast},
		{"long expired, and the CA about to", []time.Time{warnAt(ca)}, []int{2}, checkAtLeast},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newWorld(t).replica()
			e := m.options.Expiry
			e.Observe(leaf, ca)
			var wait time.Duration
			for i, at := range tc.after {
				m.w.clock.SetTime(at)
				wait = e.warn(t.Context())
				e.Observe(leaf, ca) // the same ones once more change nothing
				if sent := m.w.sent(); len(sent) != tc.warned[i] {
					t.Errorf("look %d: %q", i, sent)
				}
			}
			if wait != tc.wait {
				t.Errorf("waits %s instead of %s", wait, tc.wait)
			}
		})
	}
}

// TestExpiryFollows: the certificates of the moment count, and an unknown CA has no metric.
func TestExpiryFollows(t *testing.T) {
	s := newStages(t)
	m := newWorld(t).replica()
	e := m.options.Expiry
	e.Observe(s.fresh.Serving.Leaf, s.fresh.Authorities[0].Certificate)
	e.Observe(s.switched.Serving.Leaf, nil)
	got := []float64{m.metric(expiryMetric, "serving"), m.metric(expiryMetric, "ca")}
	if diff := cmp.Diff([]float64{float64(s.switched.Serving.Leaf.NotAfter.Unix()), 0}, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	m.w.clock.SetTime(warnAt(s.fresh.Serving.Leaf))
	e.warn(t.Context())
	if sent := m.w.sent(); len(sent) != 0 {
		t.Errorf("warns about what is not served any more: %q", sent)
	}
}

// TestExpiryStart: a warning comes when time has come, and when a certificate comes that is old already.
func TestExpiryStart(t *testing.T) {
	s := newStages(t)
	m := newWorld(t).replica()
	e := m.options.Expiry
	if e.NeedLeaderElection() {
		t.Error("a follower would not warn")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Start(ctx) }()
	m.w.clock.SetTime(warnAt(s.fresh.Serving.Leaf))
	e.Observe(s.fresh.Serving.Leaf, nil)
	warning := <-m.w.events.Events
	if !strings.HasPrefix(warning, "Warning CertificateExpiring the serving certificate expires at 2026-05-30T12:00:00Z and has not been renewed") ||
		!strings.HasSuffix(warning, ": see the log") {
		t.Errorf("Event %q", warning)
	}
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return m.w.clock.HasWaiters(), nil
	}); err != nil {
		t.Fatal("never waits")
	}
	m.w.clock.Step(warnAgainAfter)
	<-m.w.events.Events
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Start ended with %v", err)
	}
}

// TestEventNamesService: kubectl describe finds an Event by the UID.
func TestEventNamesService(t *testing.T) {
	for reason, uid := range map[string]string{"there": "7", "not there": ""} {
		w := newWorld(t)
		if uid != "" {
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "meshwarden", Name: "meshwarden-webhook", UID: "7"}}
			if err := w.server.Create(t.Context(), service); err != nil {
				t.Fatal(err)
			}
		}
		e := w.replica().options.Expiry
		r := &regarding{}
		e.options.Events = r
		e.Event(t.Context(), corev1.EventTypeNormal, ReasonRenewed, "%d%%", 7)
		if r.about.Kind != "Service" || r.about.Name != "meshwarden-webhook" || string(r.about.UID) != uid {
			t.Errorf("%s: about %v", reason, r.about)
		}
	}
}

// regarding remembers what an Event is about.
type regarding struct{ about corev1.ObjectReference }

func (r *regarding) Eventf(about, _ runtime.Object, _, _, _, _ string, _ ...any) {
	if ref, ok := about.(*corev1.ObjectReference); ok {
		r.about = *ref
	}
}
