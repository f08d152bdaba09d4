package suite

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settle waits until the operator has nothing to do any more, nor the controllers of what it installed, whose writes would give
// it something. It returns how many passes and requests the operator has made.
func (o *operated) settle(t *testing.T) (passes, requests float64) {
	t.Helper()
	quiet := 0
	o.eventually(t, "the operator is idle", func(ctx context.Context) error {
		was := passes
		passes, requests = o.sum(t, "controller_runtime_reconcile_total"), o.requests(t)
		quiet++
		if depth := o.sum(t, "workqueue_depth") + o.sum(t, "controller_runtime_active_workers"); depth > 0 || passes != was {
			quiet = 0
		}
		if quiet < 30 { // what was just written has to come back by the watches, and what was repaired is looked at once more
			return fmt.Errorf("%v passes", passes)
		}
		err := o.restless(ctx)
		if err != nil {
			quiet = 0
		}
		return err
	})
	return passes, requests
}

// restless returns an error that names an installed workload whose controller still has something to do. One that is being
// deleted counts for nothing.
func (o *operated) restless(ctx context.Context) error {
	deployments, sets := &appsv1.DeploymentList{}, &appsv1.DaemonSetList{}
	installed := client.HasLabels{"install.operator.istio.io/owning-resource"}
	if err := first(
		func() error { return o.client.List(ctx, deployments, installed) },
		func() error { return o.client.List(ctx, sets, installed) },
	); err != nil {
		return err
	}
	for _, d := range deployments.Items {
		n, s := ptr.Deref(d.Spec.Replicas, 1), d.Status
		if d.DeletionTimestamp == nil && (s.ObservedGeneration != d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n) {
			return fmt.Errorf("Deployment %s is to have %d pods, and its status is %+v", d.Name, n, s)
		}
	}
	for _, d := range sets.Items {
		n, s := d.Status.DesiredNumberScheduled, d.Status
		if d.DeletionTimestamp == nil && (s.ObservedGeneration != d.Generation || s.UpdatedNumberScheduled != n || s.NumberAvailable != n) {
			return fmt.Errorf("the status of DaemonSet %s is %+v", d.Name, s)
		}
	}
	return nil
}

// requests returns how many requests the operator has made, those for its Lease aside.
func (o *operated) requests(t *testing.T) float64 {
	t.Helper()
	return o.sum(t, `rest_client_requests_total`) - o.sum(t, `rest_client_requests_total{code="200",host="`+strings.TrimPrefix(o.cp.Config().Host, "https://")+`",method="PUT"}`)
}

// repairs returns how many objects were put right so far.
func (o *operated) repairs(t *testing.T) float64 {
	t.Helper()
	return o.sum(t, "meshwarden_istio_operator_repaired_objects_total")
}

// repaired returns an error unless that many objects were put right so far. It names them.
func (o *operated) repaired(t *testing.T, want float64) error {
	t.Helper()
	now := o.repairs(t)
	if now == want {
		return nil
	}
	l := &eventsv1.EventList{}
	noError(t, "list Events", o.client.List(t.Context(), l))
	var told []string
	for _, e := range l.Items {
		if e.Reason == "DriftRepaired" {
			told = append(told, fmt.Sprintf("%s %s/%s: %s", e.CreationTimestamp.UTC().Format("15:04:05"), e.Regarding.Namespace, e.Regarding.Name, e.Note))
		}
	}
	return fmt.Errorf("%v repairs, want %v; the Events tell of\n%s", now, want, strings.Join(told, "\n"))
}

// waitRepaired waits until that many objects were put right, and no more.
func (o *operated) waitRepaired(t *testing.T, what string, want float64) {
	t.Helper()
	o.eventually(t, what, func(context.Context) error { return o.repaired(t, want) })
}
