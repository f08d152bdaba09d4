package health

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// failedCreate is the reason that every workload's controller gives when a pod is refused: by a quota, by pod security, by a
// webhook.
const failedCreate = "FailedCreate"

// notTakenUp is said of a workload whose pods are still those of the version before.
const notTakenUp = "its controller has not taken it up yet"

// longest is how many characters of a foreign message are repeated.
const longest = 400

// counts says whether an object has a health: a Service of type LoadBalancer without an address is no reason to wait.
func counts(o *unstructured.Unstructured) bool {
	gvk := o.GroupVersionKind()
	switch gvk.Group {
	case "apps":
		return gvk.Kind == "Deployment" || gvk.Kind == "DaemonSet" || gvk.Kind == "StatefulSet"
	case "batch":
		return gvk.Kind == "Job"
	case "apiextensions.k8s.io":
		return gvk.Kind == "CustomResourceDefinition"
	}
	return false
}

// title names an object as messages do.
func title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// shortfall says what a stored object lacks to be ready; nothing when it is.
func shortfall(stored *unstructured.Unstructured) (string, error) {
	result, err := status.Compute(stored)
	if err != nil {
		return "", fmt.Errorf("judge the state of %s: %w", title(stored), err)
	}
	if result.Status == status.CurrentStatus {
		return "", nil
	}
	number := func(otherwise int64, path ...string) int64 {
		if n, found, err := unstructured.NestedInt64(stored.Object, path...); found && err == nil {
			return n
		}
		return otherwise
	}
	if result.Status == status.TerminatingStatus {
		return "it is being deleted", nil
	}
	if stored.GroupVersionKind().Group == "apps" && stored.GetGeneration() > number(0, "status", "observedGeneration") {
		return notTakenUp, nil
	}
	var available, updated, desired, old int64
	switch stored.GetKind() {
	case "Deployment", "StatefulSet":
		desired = number(1, "spec", "replicas")
		available, updated = number(0, "status", "availableReplicas"), number(0, "status", "updatedReplicas")
		old = number(0, "status", "replicas") - updated
	case "DaemonSet":
		desired = number(0, "status", "desiredNumberScheduled")
		available, updated = number(0, "status", "numberAvailable"), number(0, "status", "updatedNumberScheduled")
	}
	switch {
	case available < desired:
		return fmt.Sprintf("%d of %d replicas available", available, desired), nil
	case updated < desired:
		return fmt.Sprintf("%d of %d replicas updated", updated, desired), nil
	case old > 0:
		return fmt.Sprintf("old replicas still running: %d", old), nil
	default:
		return oneLine(result.Message), nil
	}
}

// observation is what there is to explain why a workload is not ready.
type observation struct {
	workload *unstructured.Unstructured
	// pods are the workload's own.
	pods []corev1.Pod
	// events are the Warnings of its namespace.
	events []corev1.Event
}

// explain returns a line for each cause, or one that only says what the workload lacks.
func (o observation) explain(lack string) []string {
	prefix := title(o.workload) + ": " + lack
	var lines []string
	for _, cause := range o.causes() {
		lines = append(lines, prefix+": "+cause)
	}
	if len(lines) == 0 {
		return []string{prefix}
	}
	return lines
}

func (o observation) causes() []string {
	var causes []string
	if refusal := o.refusal(); refusal != "" {
		causes = append(causes, failedCreate+": "+refusal)
	}
	causes = append(causes, o.podCauses()...)
	for _, c := range conditions(o.workload) {
		failed := c.Type == "Progressing" && c.Reason == "ProgressDeadlineExceeded" || c.Type == "Failed" && c.Status == corev1.ConditionTrue
		if failed && len(causes) == 0 {
			causes = append(causes, c.Reason+": "+oneLine(c.Message))
		}
	}
	return causes
}

// refusal says why pods cannot be created. A Deployment has it in a condition, which goes when the cause does. Of others
// only Events tell, and the last one counts as long as pods are missing.
func (o observation) refusal() string {
	if o.workload.GetKind() == "Deployment" {
		for _, c := range conditions(o.workload) {
			if c.Type == "ReplicaFailure" && c.Status == corev1.ConditionTrue {
				return withoutPodName(c.Message)
			}
		}
		return ""
	}
	current, found, err := unstructured.NestedInt64(o.workload.Object, "status", "currentNumberScheduled")
	if err == nil && found {
		if desired, _, err := unstructured.NestedInt64(o.workload.Object, "status", "desiredNumberScheduled"); err == nil && current >= desired {
			return ""
		}
	}
	e := newest(o.events, o.workload.GetUID(), func(e *corev1.Event) bool { return e.Reason == failedCreate })
	if e == nil {
		return ""
	}
	return withoutPodName(e.Message)
}

// conditions returns the conditions of a stored object.
func conditions(o *unstructured.Unstructured) []status.BasicCondition {
	with, err := status.GetObjectWithConditions(o.Object)
	if err != nil {
		return nil
	}
	return with.Status.Conditions
}

// withoutPodName leaves out the generated name of the refused pod, which is another one at each attempt.
func withoutPodName(message string) string {
	text := strings.TrimPrefix(oneLine(message), "Error creating: ")
	text = regexp.MustCompile(`pods "[^"]*" is forbidden`).ReplaceAllString(text, "pod is forbidden")
	// A StatefulSet's controller says it in words of its own.
	return regexp.MustCompile(`^create Pod \S+ in StatefulSet \S+ failed error: `).ReplaceAllString(text, "")
}

// newest returns the last Event about an object that passes the filter, or nil.
func newest(events []corev1.Event, about types.UID, filter func(*corev1.Event) bool) *corev1.Event {
	var found *corev1.Event
	for i := range events {
		e := &events[i]
		if e.InvolvedObject.UID != about || !filter(e) {
			continue
		}
		if found == nil || LastSeen(e).After(LastSeen(found)) {
			found = e
		}
	}
	return found
}

// LastSeen returns when an Event was last repeated. Old and new kinds of Events write it in different fields.
func LastSeen(e *corev1.Event) time.Time {
	times := []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time}
	if e.Series != nil {
		times = append(times, e.Series.LastObservedTime.Time)
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

// oneLine makes a foreign message fit into a line.
func oneLine(message string) string {
	text := strings.Join(strings.Fields(message), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}
