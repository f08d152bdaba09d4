package bootstrap

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
	"github.com/meshwarden/meshwarden/installer/pkg/health"
)

// diagnosisPatience bounds the reading of what is wrong, when the time to wait is over already.
const diagnosisPatience = 20 * time.Second

// diagnose says what is wrong: what the operator reports, what the pods and Events of its workloads and of Istio's tell, and the
// Events of the IstioOperator. What cannot be read is left out, as there is something worse to tell.
func (i *installing) diagnose(ctx context.Context) []string {
	var lines []string
	add := func(line string) {
		line = oneLine(line)
		if line != "" && !slices.ContainsFunc(lines, func(known string) bool { return strings.Contains(known, line) }) {
			lines = append(lines, line)
		}
	}
	if state, err := health.Check(ctx, i.Cluster.Client, i.target.Operator); err == nil {
		for _, line := range state.Waiting {
			add(line)
		}
	}
	stored, s, err := i.reported(ctx)
	switch {
	case err != nil:
	case !s.current:
		add("the operator has not taken up the IstioOperator yet")
	default:
		for _, c := range s.components {
			for line := range strings.Lines(c.message) {
				if !strings.HasPrefix(line, "waits for ") { // what it waits for tells of itself
					add(c.name + ": " + line)
				}
			}
		}
		if len(lines) == 0 {
			add(s.message)
		}
	}
	for _, line := range i.unhealthy(ctx, i.target) {
		add(line)
	}
	if err == nil {
		for _, line := range warnings(i.events(ctx, stored), i.told) {
			add(line)
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "the operator does not say why")
	}
	return lines
}

// unhealthy says what is wrong with those of Istio's workloads that were made already.
func (b Bootstrap) unhealthy(ctx context.Context, t preflight.Target) []string {
	var lines []string
	for _, c := range t.Rendering.Components {
		var existing []*unstructured.Unstructured
		for _, o := range c.Objects {
			if gk := o.GroupVersionKind().GroupKind(); gk.Group != "apps" {
				continue
			}
			if ok, err := b.exists(ctx, o); err == nil && ok {
				existing = append(existing, o)
			}
		}
		if state, err := health.Check(ctx, b.Cluster.Client, existing); err == nil {
			lines = append(lines, state.Waiting...)
		}
	}
	return lines
}

// events returns the Warning Events about a stored object. Those that cannot be read are left out.
func (b Bootstrap) events(ctx context.Context, about *unstructured.Unstructured) []corev1.Event {
	events := &corev1.EventList{}
	err := b.Cluster.Client.List(ctx, events, client.InNamespace(about.GetNamespace()),
		client.MatchingFields{"type": corev1.EventTypeWarning, "involvedObject.name": about.GetName()})
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return e.InvolvedObject.UID != about.GetUID() })
}

// warnings returns what Events say that are new, the latest last, and five at most. Those told before, by their resource version, are
// of an earlier attempt.
func warnings(events []corev1.Event, told map[types.UID]string) []string {
	fresh := slices.DeleteFunc(slices.Clone(events), func(e corev1.Event) bool { return told[e.UID] == e.ResourceVersion })
	slices.SortStableFunc(fresh, func(a, b corev1.Event) int { return health.LastSeen(&a).Compare(health.LastSeen(&b)) })
	var lines []string
	for _, e := range fresh[max(0, len(fresh)-5):] {
		lines = append(lines, fmt.Sprintf("Event %s: %s", e.Reason, e.Message))
	}
	return lines
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
