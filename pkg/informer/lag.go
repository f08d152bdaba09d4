package informer

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The lag between the API server and the model cannot be read off an object, whose times are whole seconds. It is measured
// instead: from the moment in which admission lets a change pass to the moment in which the model has it, the write to
// storage included.
const (
	expectedAtMost = 1024        // changes waited for at once; more are not measured
	expectedFor    = time.Minute // a change that somebody else refused never arrives
)

type lag struct {
	clock    clock.Clock
	observer prometheus.Observer

	mu       sync.Mutex
	expected map[policy.Ref]expectation
}

type expectation struct {
	generation int64
	since      time.Time
}

// expect notes that admission let the object's generation pass just now.
func (l *lag) expect(ref policy.Ref, generation int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if len(l.expected) >= expectedAtMost {
		for r, e := range l.expected {
			if now.Sub(e.since) > expectedFor {
				delete(l.expected, r)
			}
		}
	}
	if len(l.expected) < expectedAtMost {
		l.expected[ref] = expectation{generation: generation, since: now}
	}
}

// arrived observes the lag of an object that the model has now, if it was waited for.
func (l *lag) arrived(ref policy.Ref, object any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.expected[ref]
	if !ok {
		return
	}
	if m, err := meta.Accessor(object); err != nil || m.GetGeneration() < e.generation {
		return
	}
	delete(l.expected, ref)
	// What comes this late is more likely another change, let pass by another replica, after somebody refused this one.
	if took := l.clock.Since(e.since); took <= expectedFor {
		l.observer.Observe(took.Seconds())
	}
}
