package serve

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

func TestReadyMetric(t *testing.T) {
	passes, fails := healthz.Ping, func(*http.Request) error { return errors.New("not yet") }
	for _, tc := range []struct {
		reason string
		checks map[string]healthz.Checker
		want   float64
	}{
		{"every check passes", map[string]healthz.Checker{"a": passes, "b": passes}, 1},
		{"one does not", map[string]healthz.Checker{"a": passes, "b": fails}, 0},
	} {
		if got := testutil.ToFloat64(readyMetric(tc.checks)); got != tc.want {
			t.Errorf("%s: %v", tc.reason, got)
		}
	}
}

// TestExpiredCertificate: a replica whose files nobody renewed gives way to one that has better ones.
func TestExpiredCertificate(t *testing.T) {
	dir := t.TempDir()
	generate(t, dir)
	c := newCertificateFiles(dir, logr.Discard())
	go func() { _ = c.Start(t.Context()) }()
	eventually(t, "loaded", func() bool { return c.ready(nil) == nil })
	for _, tc := range []struct {
		reason string
		clock  clock.PassiveClock
		ready  bool
	}{
		{"it lasts a year", clocktesting.NewFakePassiveClock(time.Now().Add(364 * 24 * time.Hour)), true},
		{"it has lasted a year", clocktesting.NewFakePassiveClock(time.Now().Add(366 * 24 * time.Hour)), false},
	} {
		c.clock = tc.clock
		if err := c.ready(nil); (err == nil) != tc.ready {
			t.Errorf("%s: %v", tc.reason, err)
		}
	}
}

// TestTold: a reason is told once, however often a kubelet asks.
func TestTold(t *testing.T) {
	var lines []string
	log := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	var result error
	check := told(func(*http.Request) error { return result }, log)
	for _, result = range []error{nil, errors.New("a"), errors.New("a"), errors.New("b"), nil, nil} {
		if err := check(nil); !errors.Is(err, result) {
			t.Errorf("the check returns %v instead of %v", err, result)
		}
	}
	want := []string{`"level"=0 "msg"="not ready" "reason"="a"`, `"level"=0 "msg"="not ready" "reason"="b"`, `"level"=0 "msg"="ready"`}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
