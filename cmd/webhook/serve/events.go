package serve

import (
	"context"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/reference"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// eventsWaiting is how many Events may wait to be written; more are dropped, and logs and metrics tell of them.
const eventsWaiting = 1000

// eventRecorder writes each Event as one of its own, in the order in which they come. client-go's broadcaster would count
// what recurs in memory and write the count minutes later: a finding that comes back would not be seen.
type eventRecorder struct {
	client   client.Client
	clock    clock.PassiveClock
	log      logr.Logger
	instance string
	waiting  chan *eventsv1.Event
}

var _ events.EventRecorder = (*eventRecorder)(nil)

func newEventRecorder(c client.Client, clock clock.PassiveClock, log logr.Logger) (*eventRecorder, error) {
	instance, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("cannot name this replica in Events: %w", err)
	}
	return &eventRecorder{client: c, clock: clock, log: log, instance: instance, waiting: make(chan *eventsv1.Event, eventsWaiting)}, nil
}

// Eventf implements events.EventRecorder. It never blocks.
func (r *eventRecorder) Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any) {
	about, err := reference.GetReference(r.client.Scheme(), regarding)
	if err != nil {
		r.log.Error(err, "cannot write an Event about an object that cannot be named", "reason", reason)
		return
	}
	e := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: about.Name + "-", Namespace: about.Namespace},
		EventTime:           metav1.MicroTime{Time: r.clock.Now()},
		ReportingController: "meshwarden",
		ReportingInstance:   r.instance,
		Regarding:           *about,
		Type:                eventtype,
		Reason:              reason,
		Action:              action,
		Note:                fmt.Sprintf(note, args...),
	}
	if e.Namespace == "" {
		e.Namespace = metav1.NamespaceDefault
	}
	if related != nil {
		if e.Related, err = reference.GetReference(r.client.Scheme(), related); err != nil {
			e.Related = nil
		}
	}
	select {
	case r.waiting <- e:
	default:
		r.log.Info("too many Events are waiting; one is dropped", "reason", reason, "object", objectName(about))
	}
}

// Start writes the Events until the context ends. It implements manager.Runnable.
func (r *eventRecorder) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-r.waiting:
			// An Event in a namespace that is being deleted is refused, and nobody misses it.
			if err := r.client.Create(ctx, e); err != nil && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
				r.log.Error(err, "cannot write an Event", "reason", e.Reason, "object", objectName(&e.Regarding))
			}
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica has Events to write.
func (r *eventRecorder) NeedLeaderElection() bool {
	return false
}

func objectName(o *corev1.ObjectReference) string {
	return fmt.Sprintf("%s %s/%s", o.Kind, o.Namespace, o.Name)
}
