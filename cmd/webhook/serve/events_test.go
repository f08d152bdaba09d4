package serve

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// What recurs is written each time, in order, where the object's owner looks for it.
func TestEventRecorder(t *testing.T) {
	written := make(chan eventsv1.Event, 10)
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			e, ok := o.(*eventsv1.Event)
			if !ok {
				return errors.New("not an Event")
			}
			written <- *e
			return errors.New("refused: the next one is written all the same")
		},
	}).Build()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r, err := newEventRecorder(c, clocktesting.NewFakePassiveClock(now), testr.New(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Start(ctx) }()
	web := &corev1.ObjectReference{APIVersion: "networking.istio.io/v1", Kind: "VirtualService", Namespace: "shop", Name: "web", UID: "u"}
	for range 3 {
		r.Eventf(web, nil, corev1.EventTypeWarning, "HostNotServed", "Evaluate", "%s", "100% wrong")
	}
	r.Eventf(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, web, corev1.EventTypeNormal, "NetworkPolicyDeclined", "Backfill", "declined")
	for i := range 4 {
		got := <-written
		want := eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "web-", Namespace: "shop"}, EventTime: metav1.MicroTime{Time: now},
			ReportingController: "meshwarden", ReportingInstance: r.instance, Regarding: *web, Type: corev1.EventTypeWarning,
			Reason: "HostNotServed", Action: "Evaluate", Note: "100% wrong",
		}
		if i == 3 {
			want = eventsv1.Event{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-", Namespace: "default"}, EventTime: metav1.MicroTime{Time: now},
				ReportingController: "meshwarden", ReportingInstance: r.instance,
				Regarding: corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: "shop"}, Related: web,
				Type: corev1.EventTypeNormal, Reason: "NetworkPolicyDeclined", Action: "Backfill", Note: "declined",
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Event %d (-want +got):\n%s", i, diff)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A recorder whose Events cannot be written drops them rather than hold up an answer.
func TestEventRecorderNeverBlocks(t *testing.T) {
	r, err := newEventRecorder(fake.NewClientBuilder().Build(), clocktesting.NewFakePassiveClock(time.Time{}), testr.New(t))
	if err != nil {
		t.Fatal(err)
	}
	web := &corev1.ObjectReference{Kind: "VirtualService", Namespace: "shop", Name: "web"}
	for range eventsWaiting + 1 {
		r.Eventf(web, nil, corev1.EventTypeWarning, "HostNotServed", "Evaluate", "wrong")
	}
	if len(r.waiting) != eventsWaiting {
		t.Errorf("%d Events wait", len(r.waiting))
	}
}
