package operator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// phase is how far a component is, or all of them: the words of the operator of Istio 1.23.
type phase string

const (
	healthy     phase = "HEALTHY"
	reconciling phase = "RECONCILING"
	failed      phase = "ERROR"
)

// componentState is how far a component is.
type componentState struct {
	phase phase
	// message says what it waits for, or what is wrong.
	message string
	// final is set for an error that only a change of some IstioOperator ends.
	final bool
}

// outcome is what one pass over an IstioOperator led to.
type outcome struct {
	generation int64
	// invalid says why Istio refuses the spec. The components are then as they were before.
	invalid string
	// removing is set while it is deleted, and says what that waits for.
	removing string
	// components are those of the rendering.
	components map[string]componentState
	// revision of the control plane and version of its images.
	revision, version string
	// operator is the version of this program.
	operator string
	// warnings are what Istio doubts in the spec.
	warnings []string
	// pause is how long repairs of objects wait that somebody else keeps changing; zero if there are none.
	pause time.Duration
}

// again returns how soon another pass is needed although nothing is seen to change; zero if none is.
func (o outcome) again() time.Duration {
	if o.phase() == reconciling && (o.pause == 0 || o.pause > lookAgain) {
		return lookAgain
	}
	return o.pause
}

// names returns the components in the order of their names.
func (o outcome) names() []string {
	names := make([]string, 0, len(o.components))
	for name := range o.components {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// phase is that of the component that is farthest from healthy.
func (o outcome) phase() phase {
	switch {
	case o.invalid != "":
		return failed
	case o.removing != "":
		return reconciling
	}
	worst := healthy
	for _, c := range o.components {
		if c.phase == failed || worst == healthy {
			worst = c.phase
		}
	}
	return worst
}

// message says what is wrong, or waited for, component by component.
func (o outcome) message() string {
	if o.invalid != "" || o.removing != "" {
		return o.invalid + o.removing
	}
	var lines []string
	for _, name := range o.names() {
		if c := o.components[name]; c.message != "" {
			lines = append(lines, name+": "+c.message)
		}
	}
	return strings.Join(lines, "\n")
}

// stalled says that nothing more is tried until an IstioOperator changes.
func (o outcome) stalled() bool {
	if o.invalid != "" {
		return true
	}
	for _, c := range o.components {
		if c.phase == failed && c.final {
			return true
		}
	}
	return false
}

// status returns the status to write, given the present one. Equal outcomes give equal statuses: times are those of the last change.
func (o outcome) status(present map[string]any, now time.Time) (map[string]any, error) {
	status := map[string]any{"status": string(o.phase()), "observedGeneration": o.generation}
	if m := o.message(); m != "" {
		status["message"] = m
	}
	if o.operator != "" {
		status["operatorVersion"] = o.operator
	}
	keep := func(field, value string) {
		if o.invalid != "" || value == "" {
			value, _, _ = unstructured.NestedString(present, field)
		}
		if value != "" {
			status[field] = value
		}
	}
	keep("revision", o.revision)
	// The version is what has been rolled out, so that an upgrade can be told from a start.
	if o.phase() == healthy {
		keep("version", o.version)
	} else {
		keep("version", "")
	}
	if components := o.componentStatus(present); len(components) > 0 {
		status["componentStatus"] = components
	}
	conditions, err := o.conditions(present, now)
	if err != nil {
		return nil, err
	}
	status["conditions"] = conditions
	return status, nil
}

func (o outcome) componentStatus(present map[string]any) map[string]any {
	if o.invalid != "" || o.removing != "" {
		before, _, _ := unstructured.NestedMap(present, "componentStatus")
		return before
	}
	components := map[string]any{}
	for name, c := range o.components {
		status := map[string]any{"status": string(c.phase)}
		switch {
		case c.phase == failed:
			status["error"] = c.message
		case c.message != "":
			status["message"] = c.message
		}
		components[name] = status
	}
	return components
}

// conditions follow kstatus (sigs.k8s.io/cli-utils): Ready for waiting; Reconciling and Stalled are there only while they are true.
func (o outcome) conditions(present map[string]any, now time.Time) ([]any, error) {
	var conditions []metav1.Condition
	stored, _, err := unstructured.NestedSlice(present, "conditions")
	if err != nil {
		return nil, fmt.Errorf("read the conditions: %w", err)
	}
	for _, s := range stored {
		var c metav1.Condition
		fields, ok := s.(map[string]any)
		if !ok || runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &c) != nil {
			continue // written by somebody else; the next ones replace it
		}
		conditions = append(conditions, c)
	}
	set := func(kind, reason string, holds bool, value metav1.ConditionStatus, message string) {
		if !holds {
			meta.RemoveStatusCondition(&conditions, kind)
			return
		}
		meta.SetStatusCondition(&conditions, metav1.Condition{
			Type: kind, Status: value, Reason: reason, Message: message, ObservedGeneration: o.generation, LastTransitionTime: metav1.NewTime(now),
		})
	}
	ready, message := metav1.ConditionFalse, o.message()
	if o.phase() == healthy {
		ready, message = metav1.ConditionTrue, "every component is as described and available"
	}
	set("Ready", o.reason(), true, ready, message)
	set("Reconciling", o.reason(), o.phase() != healthy && !o.stalled(), metav1.ConditionTrue, message)
	set("Stalled", o.reason(), o.stalled(), metav1.ConditionTrue, message)
	written := make([]any, len(conditions))
	for i := range conditions {
		if written[i], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&conditions[i]); err != nil {
			return nil, fmt.Errorf("write the conditions: %w", err)
		}
	}
	return written, nil
}

// reason is the word for the outcome that conditions need.
func (o outcome) reason() string {
	switch {
	case o.invalid != "":
		return reasonInvalid
	case o.removing != "":
		return "Removing"
	}
	switch o.phase() {
	case healthy:
		return reasonHealthy
	case failed:
		return reasonFailed
	default:
		return "Progressing"
	}
}
