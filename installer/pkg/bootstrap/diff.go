package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"istio.io/api/label"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/bootstrap/preflight"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
)

// DryRun prints what Install would change, and what the operator would change after it, as a diff against the cluster, and
// what the preflight finds. It changes nothing. The error says that something is in the way of the installation, or that the cluster
// could not be asked.
func (b Bootstrap) DryRun(ctx context.Context, t preflight.Target) error {
	report, err := preflight.Check(ctx, b.Cluster, t)
	if err != nil {
		return interruptionWithoutChange(ctx, err)
	}
	for _, f := range report.Notes {
		fmt.Fprintf(b.Out, "note: %s\n      %s\n", f.Problem, f.Remedy)
	}
	if len(report.Findings) > 0 {
		fmt.Fprintf(b.Out, "the preflight found what is in the way of the installation:%s\n\n", list(report.Findings))
	}
	fmt.Fprintln(b.Out, "# What the bootstrap changes")
	if err := b.planned(ctx, t, report.Stale); apierrors.IsForbidden(err) && len(report.Findings) > 0 {
		return errors.New("the installation would be refused, see above; without the rights that are missing, there is nothing to compare")
	} else if err != nil {
		return interruptionWithoutChange(ctx, err)
	}
	fmt.Fprintln(b.Out, "\n# What the operator changes after it")
	if err := b.rendered(ctx, t); err != nil {
		return interruptionWithoutChange(ctx, err)
	}
	if len(report.Findings) > 0 {
		return errors.New("the installation would be refused: the preflight found what is in the way, see above")
	}
	return nil
}

// planned prints what the bootstrap itself changes: new objects whole, others as a diff.
func (b Bootstrap) planned(ctx context.Context, t preflight.Target, stale []*unstructured.Unstructured) error {
	changes := 0
	for _, o := range t.Objects() {
		live, err := b.live(ctx, o)
		if err != nil {
			return err
		}
		applied := o
		switch {
		case live != nil && o.GetKind() == "Namespace":
			continue // it stays as it is
		case live != nil:
			if applied, err = b.tryOut(ctx, o, FieldManager); err != nil {
				fmt.Fprintf(b.Out, "%s would be refused: %v\n", title(o), err)
				changes++
				continue
			}
		}
		text, err := difference(live, applied)
		if err != nil {
			return err
		}
		if text != "" {
			changes++
			fmt.Fprint(b.Out, text)
		}
	}
	for _, o := range stale {
		changes++
		fmt.Fprintf(b.Out, "delete %s\n", title(o))
	}
	if changes == 0 {
		fmt.Fprintln(b.Out, "nothing")
	}
	return nil
}

// rendered prints what the operator changes: the names of new objects, which `installer render` prints whole, the others
// as a diff, and the names of those that it removes. A user without the operator's rights cannot try it out.
func (b Bootstrap) rendered(ctx context.Context, t preflight.Target) error {
	all, changes, hidden := 0, 0, 0
	byAutoscaler := scaled(t.Rendering)
	for _, c := range t.Rendering.Components {
		for _, o := range c.Objects {
			all++
			text, err := b.renderedOne(ctx, o, byAutoscaler[title(o)])
			switch {
			case apierrors.IsForbidden(err):
				hidden++
			case err != nil:
				return err
			case text != "":
				changes++
				fmt.Fprint(b.Out, text)
			}
		}
	}
	unwanted, unseen, err := b.unwanted(ctx, t)
	if err != nil {
		return err
	}
	for _, o := range unwanted {
		fmt.Fprintf(b.Out, "remove %s, unless another IstioOperator wants it\n", title(o))
	}
	if changes+len(unwanted)+hidden+unseen == 0 {
		fmt.Fprintln(b.Out, "nothing")
	}
	if hidden > 0 {
		fmt.Fprintf(b.Out, "%d of %d objects cannot be compared: that takes the operator's own rights\n", hidden, all)
	}
	if unseen > 0 {
		fmt.Fprintf(b.Out, "of %d kinds it is not known what is removed: that takes the operator's own rights\n", unseen)
	}
	return nil
}

func (b Bootstrap) renderedOne(ctx context.Context, o *unstructured.Unstructured, byAutoscaler bool) (string, error) {
	live, err := b.live(ctx, o)
	if err != nil {
		return "", err
	}
	if live == nil {
		return "new " + title(o) + "\n", nil
	}
	applied, err := b.tryOut(ctx, o, operator.FieldManager)
	if apierrors.IsForbidden(err) {
		return "", err
	}
	if err != nil {
		return fmt.Sprintf("%s would be refused: %v\n", title(o), err), nil
	}
	concede(applied, live, byAutoscaler)
	return difference(live, applied)
}

// concede takes over what the operator leaves to others, and the labels by which it keeps its books: they are no difference.
func concede(applied, live *unstructured.Unstructured, byAutoscaler bool) {
	labels := applied.GetLabels()
	for key, value := range live.GetLabels() {
		if strings.HasPrefix(key, "operator.istio.io/") || strings.HasPrefix(key, "install.operator.istio.io/") || key == label.IoIstioRev.Name {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[key] = value
		}
	}
	applied.SetLabels(labels)
	if replicas, found, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); found && byAutoscaler {
		_ = unstructured.SetNestedField(applied.Object, replicas, "spec", "replicas")
	}
	theirs, _, _ := unstructured.NestedSlice(live.Object, "webhooks")
	webhooks, _, _ := unstructured.NestedSlice(applied.Object, "webhooks")
	for _, w := range webhooks {
		webhook, _ := w.(map[string]any)
		for _, t := range theirs {
			there, _ := t.(map[string]any)
			if there["name"] != webhook["name"] {
				continue
			}
			for _, path := range [][]string{{"failurePolicy"}, {"clientConfig", "caBundle"}} {
				if value, found, _ := unstructured.NestedFieldCopy(there, path...); found {
					_ = unstructured.SetNestedField(webhook, value, path...)
				}
			}
		}
	}
	if len(webhooks) > 0 {
		_ = unstructured.SetNestedSlice(applied.Object, webhooks, "webhooks")
	}
}

// live returns the object as the cluster has it, or nil.
func (b Bootstrap) live(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(o.GroupVersionKind())
	err := b.Cluster.Client.Get(ctx, client.ObjectKeyFromObject(o), stored)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil, nil //nolint:nilnil // absent is no error, and nothing to return
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", title(o), err)
	}
	return stored, nil
}

// tryOut returns what applying the object would make of it.
func (b Bootstrap) tryOut(ctx context.Context, o *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	applied := o.DeepCopy()
	err := b.Cluster.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(manager), client.ForceOwnership, client.DryRunAll)
	return applied, err
}

// difference returns the unified diff from the live object, which may be nil, to the applied one; nothing if they are equal.
func difference(live, applied *unstructured.Unstructured) (string, error) {
	before, from := "", "/dev/null"
	if live != nil {
		var err error
		if before, err = readable(live); err != nil {
			return "", err
		}
		from = "cluster: " + title(live)
	}
	after, err := readable(applied)
	if err != nil || before == after {
		return "", err
	}
	return difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: lines(before), B: lines(after), FromFile: from, ToFile: "document: " + title(applied), Context: 3,
	})
}

// lines splits a text after its line ends.
func lines(text string) []string {
	split := strings.SplitAfter(text, "\n")
	if split[len(split)-1] == "" {
		split = split[:len(split)-1]
	}
	return split
}

// readable is an object as YAML, without what the API server keeps books about.
func readable(o *unstructured.Unstructured) (string, error) {
	shown := o.DeepCopy()
	for _, field := range []string{"managedFields", "creationTimestamp", "uid", "resourceVersion", "generation", "selfLink"} {
		unstructured.RemoveNestedField(shown.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(shown.Object, "status")
	content, err := yaml.Marshal(shown.Object)
	if err != nil {
		return "", fmt.Errorf("write %s as YAML: %w", title(o), err)
	}
	return string(content), nil
}
