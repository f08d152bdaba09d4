// Package health says whether workloads are available, and if not, why: by what their pods and Events tell.
package health

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// State is how far objects are.
type State struct {
	// Ready is true when every workload is available as it is described now, and every CRD is served.
	Ready bool
	// Waiting says what is not ready, one line for an object and a cause, in the order of the objects. It holds nothing that
	// changes from one look to the next as long as the cause is the same, such as the generated name of a refused pod.
	Waiting []string
}

// Check reads the objects' state. Only Deployments, DaemonSets, StatefulSets, Jobs and CRDs count; one that does not exist is
// not ready. It needs `get` on those, and to explain what is not ready `list` on pods and events of their namespaces. The
// reader should be a live one: a cache would watch every pod of the cluster.
func Check(ctx context.Context, c client.Reader, objects []*unstructured.Unstructured) (State, error) {
	var waiting []string
	for _, o := range objects {
		if !counts(o) {
			continue
		}
		lines, err := check(ctx, c, o)
		if err != nil {
			return State{}, err
		}
		waiting = append(waiting, lines...)
	}
	return State{Ready: len(waiting) == 0, Waiting: waiting}, nil
}

func check(ctx context.Context, c client.Reader, o *unstructured.Unstructured) ([]string, error) {
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(o.GroupVersionKind())
	if err := c.Get(ctx, client.ObjectKeyFromObject(o), stored); apierrors.IsNotFound(err) {
		return []string{title(o) + ": does not exist"}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read %s: %w", title(o), err)
	}
	lack, err := shortfall(stored)
	if err != nil || lack == "" {
		return nil, err
	}
	if lack == notTakenUp {
		return []string{title(stored) + ": " + lack}, nil
	}
	about, err := read(ctx, c, stored)
	if err != nil {
		return nil, err
	}
	return about.explain(lack), nil
}

// read fetches what explains the state of a workload.
func read(ctx context.Context, c client.Reader, workload *unstructured.Unstructured) (observation, error) {
	about := observation{workload: workload}
	selector, ok, err := selectorOf(workload)
	if err != nil || !ok {
		return about, err
	}
	in := client.InNamespace(workload.GetNamespace())
	pods := &corev1.PodList{}
	if err := c.List(ctx, pods, in, selector); err != nil {
		return about, fmt.Errorf("list the pods of %s: %w", title(workload), err)
	}
	about.pods = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !controls(workload, &p) })
	events := &corev1.EventList{}
	if err := c.List(ctx, events, in, client.MatchingFields{"type": corev1.EventTypeWarning}); err != nil {
		return about, fmt.Errorf("list the Events of namespace %s: %w", workload.GetNamespace(), err)
	}
	about.events = events.Items
	return about, nil
}

func selectorOf(workload *unstructured.Unstructured) (client.MatchingLabelsSelector, bool, error) {
	none := client.MatchingLabelsSelector{}
	field, found, err := unstructured.NestedMap(workload.Object, "spec", "selector")
	if err != nil || !found {
		return none, false, err
	}
	selector := &metav1.LabelSelector{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(field, selector); err != nil {
		return none, false, fmt.Errorf("read the selector of %s: %w", title(workload), err)
	}
	labels, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return none, false, fmt.Errorf("read the selector of %s: %w", title(workload), err)
	}
	return client.MatchingLabelsSelector{Selector: labels}, true, nil
}

// controls says whether the pod is the workload's own. A Deployment's ReplicaSets are named after it and their pods' hash, so
// they need not be read.
func controls(workload *unstructured.Unstructured, pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	switch {
	case owner == nil:
		return false
	case workload.GetKind() == "Deployment":
		return owner.Kind == "ReplicaSet" && owner.Name == workload.GetName()+"-"+pod.Labels["pod-template-hash"]
	default:
		return owner.UID == workload.GetUID()
	}
}
