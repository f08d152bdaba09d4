// Package bootstrap installs the operator and, through it, a control plane: preflight, apply, wait.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fluxcd/pkg/ssa"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
)

// FieldManager owns what the bootstrap applies.
const FieldManager = "meshwarden-bootstrap"

const (
	// interval is the pause between two looks at the cluster.
	interval = 500 * time.Millisecond
	// discoveryPatience is how long the API server may take to serve a CRD that it has accepted.
	discoveryPatience = 30 * time.Second
)

// Bootstrap installs targets into a cluster.
type Bootstrap struct {
	Cluster preflight.Cluster
	// Out takes what is done, for people to read.
	Out io.Writer
	// Timeout bounds the wait for operator and control plane together.
	Timeout time.Duration
	// OperatorVersion is how the operator that is to be installed calls itself in status.operatorVersion; empty where nobody knows, as
	// of an image of the user's own.
	OperatorVersion string
}

// Install makes the cluster as the target says and waits until the control plane is healthy. The error says what is in the
// way, before anything was changed, or what went wrong.
func (b Bootstrap) Install(ctx context.Context, t preflight.Target) error {
	report, err := preflight.Check(ctx, b.Cluster, t)
	if err != nil {
		return interruptionWithoutChange(ctx, err)
	}
	if err := b.announce(report); err != nil {
		return err
	}
	if err := b.install(ctx, t, report.Stale); err != nil {
		return interruption(ctx, err)
	}
	return nil
}

// install lets the operator that is to be there see the IstioOperator first: what an earlier version makes of it would be in the way
// of what this one makes of it.
func (b Bootstrap) install(ctx context.Context, t preflight.Target, stale []*unstructured.Unstructured) error {
	before, err := b.live(ctx, t.IstioOperator)
	if err != nil {
		return err
	}
	manager := ssa.NewResourceManager(b.Cluster.Client, nil, ssa.Owner{Field: FieldManager, Group: "meshwarden.io"})
	if err := b.applyOperator(ctx, manager, t, stale); err != nil {
		return err
	}
	fmt.Fprintf(b.Out, "waiting for operator and control plane, at most %s\n", b.Timeout)
	limited, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	i := b.installing(ctx, t, before)
	if err := i.wait(ctx, limited, i.operator, "the operator is not available"); err != nil {
		return err
	}
	if err := b.applyOne(ctx, manager, t.IstioOperator); err != nil {
		return err
	}
	stored, err := b.live(ctx, t.IstioOperator)
	if err != nil {
		return err
	}
	if stored != nil {
		i.applied = stored.GetGeneration()
	}
	if err := i.wait(ctx, limited, i.controlPlane, title(t.IstioOperator)+" is not healthy"); err != nil {
		return err
	}
	fmt.Fprintf(b.Out, "%s is healthy: %s\n", title(t.IstioOperator), achievement(t))
	return nil
}

// achievement says what there is now. Profiles such as empty have no istiod.
func achievement(t preflight.Target) string {
	for _, c := range t.Rendering.Components {
		for _, o := range c.Objects {
			if c.Name == "Pilot" && o.GetKind() == "Deployment" {
				return "Istio is installed in namespace " + t.Rendering.Namespace
			}
		}
	}
	return "all is as the document says, which asks for no istiod"
}

// announce prints what the preflight noted, and returns what it found as an error.
func (b Bootstrap) announce(r preflight.Report) error {
	for _, n := range r.Notes {
		fmt.Fprintf(b.Out, "note: %s\n      %s\n", n.Problem, n.Remedy)
	}
	if len(r.Findings) > 0 {
		return errors.New("the preflight found what is in the way; nothing was changed:" + list(r.Findings))
	}
	fmt.Fprintf(b.Out, "preflight passed: Kubernetes %s, %d rights\n", r.Version, r.Rights)
	return nil
}

// list returns findings as lines. A remedy for several in a row is said once, after the last of them.
func list(findings []preflight.Finding) string {
	text := strings.Builder{}
	for i, f := range findings {
		text.WriteString("\n  - " + f.Problem)
		shared := i+1 < len(findings) && findings[i+1].Remedy == f.Remedy
		if f.Remedy != "" && !shared {
			text.WriteString("\n    " + f.Remedy)
		}
	}
	return text.String()
}

// applyOperator applies the namespaces and the operator's objects one after the other and says of each what became of it. Nothing is
// written where nothing would change.
func (b Bootstrap) applyOperator(ctx context.Context, manager *ssa.ResourceManager, t preflight.Target, stale []*unstructured.Unstructured) error {
	for _, o := range t.Namespaces {
		// A namespace that is there keeps its labels: they are somebody's choice.
		exists, err := b.exists(ctx, o)
		if err != nil {
			return err
		}
		if exists {
			b.done("unchanged", o)
			continue
		}
		if err := b.applyOne(ctx, manager, o); err != nil {
			return err
		}
	}
	for _, o := range t.Operator {
		if err := b.applyOne(ctx, manager, o); err != nil {
			return err
		}
	}
	for _, o := range stale {
		if err := b.Cluster.Client.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s: %w", title(o), err)
		}
		b.done("deleted", o)
	}
	return nil
}

func (b Bootstrap) exists(ctx context.Context, o *unstructured.Unstructured) (bool, error) {
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(o.GroupVersionKind())
	err := b.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(o), stored)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", title(o), err)
	}
	return true, nil
}

// applyOne applies an object. A kind that was defined just now may take the API server a moment.
func (b Bootstrap) applyOne(ctx context.Context, manager *ssa.ResourceManager, o *unstructured.Unstructured) error {
	var entry *ssa.ChangeSetEntry
	var last error
	err := wait.PollUntilContextTimeout(ctx, interval, discoveryPatience, true, func(ctx context.Context) (bool, error) {
		entry, last = manager.Apply(ctx, o, ssa.DefaultApplyOptions())
		if meta.IsNoMatchError(last) || apierrors.IsNotFound(errors.Unwrap(last)) {
			return false, nil
		}
		return true, last
	})
	if wait.Interrupted(err) && last != nil {
		err = last
	}
	if err != nil {
		return fmt.Errorf("apply %s: %w", title(o), err)
	}
	b.done(string(entry.Action), o)
	return nil
}

func (b Bootstrap) done(action string, o *unstructured.Unstructured) {
	fmt.Fprintf(b.Out, "  %-11s %s\n", action, title(o))
}

// interruption replaces an error that comes of being interrupted.
func interruption(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errors.New("interrupted; what was applied stays, and running the command again goes on from there")
}

// interruptionWithoutChange is the same where nothing has been written.
func interruptionWithoutChange(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return errors.New("interrupted; nothing was changed")
}

// title names an object as messages do.
func title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}
