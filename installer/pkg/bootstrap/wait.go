package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
	"github.com/meshwarden/meshwarden/installer/pkg/health"
)

// diagnosisPatience bounds the reading of what is wrong, when the time to wait is over already.
const diagnosisPatience = 20 * time.Second

// wait waits until the operator runs and reports the control plane healthy, and prints how far they are whenever that changes.
func (b Bootstrap) wait(ctx context.Context, t preflight.Target) error {
	fmt.Fprintf(b.Out, "waiting for operator and control plane, at most %s\n", b.Timeout)
	p := &progress{out: b.Out, begun: time.Now(), last: map[string]string{}}
	limited, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()

	var last error
	err := wait.PollUntilContextCancel(limited, interval, true, func(ctx context.Context) (bool, error) {
		var done bool
		done, last = b.look(ctx, t, p)
		return done, terminal(last)
	})
	switch {
	case err == nil:
		fmt.Fprintf(b.Out, "%s is healthy: Istio is installed in namespace %s\n", title(t.IstioOperator), t.Rendering.Namespace)
		return nil
	case ctx.Err() != nil:
		return interruption(ctx, err)
	}
	diagnosing, stop := context.WithTimeout(ctx, diagnosisPatience)
	defer stop()
	what := fmt.Sprintf("%s is not healthy after %s", title(t.IstioOperator), b.Timeout)
	if !wait.Interrupted(err) {
		what = err.Error()
	}
	lines := b.diagnose(diagnosing, t)
	// The cluster could not be asked, other than because the time was over.
	if last != nil && terminal(last) == nil && !errors.Is(last, context.DeadlineExceeded) {
		lines = append(lines, last.Error())
	}
	return errors.New(what + ":\n  - " + strings.Join(lines, "\n  - "))
}

// stalledError says that waiting longer is of no use.
type stalledError struct{ message string }

func (e *stalledError) Error() string { return e.message }

func terminal(err error) error {
	stalled := (*stalledError)(nil)
	if errors.As(err, &stalled) {
		return stalled
	}
	return nil
}

// look takes one look at how far the target is.
func (b Bootstrap) look(ctx context.Context, t preflight.Target, p *progress) (bool, error) {
	operator, err := health.Check(ctx, b.Cluster.Client, t.Operator)
	if err != nil {
		return false, err
	}
	if !operator.Ready {
		p.say("operator", strings.Join(operator.Waiting, "\n"))
		return false, nil
	}
	p.say("operator", "available")
	stored := t.IstioOperator.DeepCopy()
	if err := b.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(stored), stored); err != nil {
		return false, fmt.Errorf("read %s: %w", title(stored), err)
	}
	s := statusOf(stored)
	if !s.current {
		return false, nil
	}
	for _, c := range s.components {
		p.say(c.name, c.text())
	}
	if s.stalled {
		return false, &stalledError{fmt.Sprintf("%s cannot be installed", title(stored))}
	}
	return s.status == "HEALTHY", nil
}

// progress prints what is new.
type progress struct {
	out   io.Writer
	begun time.Time
	last  map[string]string
}

func (p *progress) say(who, what string) {
	if p.last[who] == what {
		return
	}
	p.last[who] = what
	for i, line := range strings.Split(what, "\n") {
		if i == 0 {
			fmt.Fprintf(p.out, "  %5s  %-16s %s\n", time.Since(p.begun).Truncate(time.Second), who, line)
		} else {
			fmt.Fprintf(p.out, "  %5s  %-16s %s\n", "", "", line)
		}
	}
}

// status is what the operator reports of an IstioOperator.
type status struct {
	// current is whether it speaks of the spec as it is now.
	current         bool
	status, message string
	// stalled is true when it goes no further until something is changed.
	stalled    bool
	components []component
}

type component struct {
	name, status string
	// message says what is wrong, or what it waits for; it may have several lines.
	message string
}

func (c component) text() string {
	text := strings.ToLower(c.status)
	if c.message != "" {
		text += ": " + c.message
	}
	return text
}

func statusOf(istioOperator *unstructured.Unstructured) status {
	text := func(from map[string]any, path ...string) string {
		value, _, _ := unstructured.NestedString(from, path...)
		return value
	}
	observed, _, _ := unstructured.NestedInt64(istioOperator.Object, "status", "observedGeneration")
	s := status{
		current: observed == istioOperator.GetGeneration(),
		status:  text(istioOperator.Object, "status", "status"), message: text(istioOperator.Object, "status", "message"),
	}
	components, _, _ := unstructured.NestedMap(istioOperator.Object, "status", "componentStatus")
	for name, value := range components {
		fields, _ := value.(map[string]any)
		s.components = append(s.components, component{
			name: name, status: text(fields, "status"), message: cmp.Or(text(fields, "error"), text(fields, "message")),
		})
	}
	order := []string{"Base", "Cni", "Pilot", "Ztunnel", "IngressGateways", "EgressGateways"}
	slices.SortFunc(s.components, func(a, b component) int { return slices.Index(order, a.name) - slices.Index(order, b.name) })
	conditions, _, _ := unstructured.NestedSlice(istioOperator.Object, "status", "conditions")
	for _, value := range conditions {
		c, _ := value.(map[string]any)
		if text(c, "type") == "Stalled" && text(c, "status") == "True" {
			s.stalled = true
		}
	}
	return s
}

// diagnose says what is wrong: what the operator reports, what the pods and Events of its workloads and of Istio's tell, and the
// Events of the IstioOperator. What cannot be read is left out, as there is something worse to tell.
func (b Bootstrap) diagnose(ctx context.Context, t preflight.Target) []string {
	var lines []string
	add := func(line string) {
		line = oneLine(line)
		if line != "" && !slices.ContainsFunc(lines, func(known string) bool { return strings.Contains(known, line) }) {
			lines = append(lines, line)
		}
	}
	if state, err := health.Check(ctx, b.Cluster.Client, t.Operator); err == nil {
		for _, line := range state.Waiting {
			add(line)
		}
	}
	stored := t.IstioOperator.DeepCopy()
	if err := b.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(stored), stored); err == nil {
		s := statusOf(stored)
		if !s.current {
			add("the operator has not taken up the IstioOperator yet")
		} else {
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
	}
	for _, line := range b.unhealthy(ctx, t) {
		add(line)
	}
	for _, line := range b.warnings(ctx, t.IstioOperator, stored) {
		add(line)
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

// warnings returns what the Warning Events of the IstioOperator say, the latest last, and five at most.
func (b Bootstrap) warnings(ctx context.Context, wanted, stored *unstructured.Unstructured) []string {
	events := &corev1.EventList{}
	err := b.Cluster.Client.List(ctx, events, client.InNamespace(wanted.GetNamespace()),
		client.MatchingFields{"type": corev1.EventTypeWarning, "involvedObject.name": wanted.GetName()})
	if err != nil {
		return nil
	}
	about := slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return e.InvolvedObject.UID != stored.GetUID() })
	slices.SortFunc(about, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	var lines []string
	for _, e := range about[max(0, len(about)-5):] {
		lines = append(lines, fmt.Sprintf("Event %s: %s", e.Reason, e.Message))
	}
	return lines
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
