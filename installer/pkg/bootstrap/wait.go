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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
	"github.com/meshwarden/meshwarden/installer/pkg/health"
)

// installing is one run, while it waits.
type installing struct {
	Bootstrap
	target   preflight.Target
	progress *progress
	// before is the generation that the IstioOperator had before the run; 0 if there was none.
	before int64
	// applied is the generation that it has by this run.
	applied int64
	// available is when the run first saw the operator available.
	available time.Time
	// told are the Warning Events from before the wait, by their resource version.
	told map[types.UID]string
}

// installing returns what a wait begins with. The IstioOperator from before the run is nil if there was none.
func (b Bootstrap) installing(ctx context.Context, t preflight.Target, before *unstructured.Unstructured) *installing {
	i := &installing{
		Bootstrap: b, target: t, told: map[types.UID]string{},
		progress: &progress{out: b.Out, begun: time.Now(), last: map[string]string{}},
	}
	if before == nil {
		return i // no Event is about it
	}
	i.before = before.GetGeneration()
	for _, e := range b.events(ctx, before) {
		i.told[e.UID] = e.ResourceVersion
	}
	return i
}

// wait looks until that finds what is waited for, and prints how far it is whenever that changes. It gives up when limited is over;
// the error then says what the fault is and why, as far as that can be known.
func (i *installing) wait(ctx, limited context.Context, look func(context.Context) (bool, error), fault string) error {
	var last error
	err := wait.PollUntilContextCancel(limited, interval, true, func(ctx context.Context) (bool, error) {
		var done bool
		done, last = look(ctx)
		return done, terminal(last)
	})
	if other := (*interferedError)(nil); err == nil || ctx.Err() != nil || errors.As(err, &other) {
		return err
	}
	diagnosing, stop := context.WithTimeout(ctx, diagnosisPatience)
	defer stop()
	what := fmt.Sprintf("%s after %s", fault, i.Timeout)
	if !wait.Interrupted(err) {
		what = err.Error()
	}
	lines := i.diagnose(diagnosing)
	// The cluster could not be asked, other than because the time was over.
	if last != nil && terminal(last) == nil && !errors.Is(last, context.DeadlineExceeded) {
		lines = append(lines, last.Error())
	}
	return errors.New(what + ":\n  - " + strings.Join(lines, "\n  - "))
}

// stalledError says that waiting longer is of no use.
type stalledError struct{ message string }

func (e *stalledError) Error() string { return e.message }

// interferedError says that somebody else decided about the IstioOperator. The cluster has nothing more to tell about that.
type interferedError struct{ message string }

func (e *interferedError) Error() string { return e.message }

// interfered says whether the stored IstioOperator, nil if there is none, is still the one that was applied with that generation: a
// status would speak of somebody else's.
func interfered(applied int64, stored *unstructured.Unstructured) error {
	switch {
	case stored == nil || stored.GetDeletionTimestamp() != nil:
		return &interferedError{"somebody deleted the IstioOperator meanwhile; run the command again to install it"}
	case stored.GetGeneration() != applied:
		return &interferedError{"somebody changed the IstioOperator meanwhile, perhaps another bootstrap; run the command again to have it as your document says"}
	default:
		return nil
	}
}

// terminal returns the error if waiting longer is of no use.
func terminal(err error) error {
	if stalled := (*stalledError)(nil); errors.As(err, &stalled) {
		return stalled
	}
	if other := (*interferedError)(nil); errors.As(err, &other) {
		return other
	}
	return nil
}

// operator looks whether the operator is available.
func (i *installing) operator(ctx context.Context) (bool, error) {
	state, err := health.Check(ctx, i.Cluster.Client, i.target.Operator)
	if err != nil {
		return false, err
	}
	if !state.Ready {
		i.progress.say("operator", strings.Join(state.Waiting, "\n"))
		return false, nil
	}
	if i.available.IsZero() {
		i.available = time.Now()
	}
	i.progress.say("operator", "available")
	return true, nil
}

// controlPlane looks how far the operator is with the IstioOperator.
func (i *installing) controlPlane(ctx context.Context) (bool, error) {
	if available, err := i.operator(ctx); err != nil || !available {
		return false, err
	}
	stored, s, err := i.reported(ctx)
	if apierrors.IsNotFound(err) {
		return false, interfered(i.applied, nil)
	}
	if err == nil {
		err = interfered(i.applied, stored)
	}
	if err != nil || !s.current {
		return false, err
	}
	for _, c := range s.components {
		i.progress.say(c.name, c.text())
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
	// operator is the version of the program that wrote it.
	operator string
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
		operator: text(istioOperator.Object, "status", "operatorVersion"),
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
