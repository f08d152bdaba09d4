package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/ssa"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/installer/pkg/health"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// prerequisites returns the components that have to be healthy before one is installed or changed: those that istioctl waits for
// (operator/pkg/install/install.go in istio.io/istio).
func prerequisites(component string) []string {
	switch component {
	case "Cni", "Pilot":
		return []string{"Base"}
	case "Ztunnel":
		return []string{"Cni"}
	case "IngressGateways", "EgressGateways":
		return []string{"Pilot"}
	default:
		return nil
	}
}

// install brings the components to the cluster, one after the other, and then removes what is no longer wanted. The error is what to try again.
func (r *Reconciler) install(ctx context.Context, o *unstructured.Unstructured, s survey) (outcome, error) {
	of := s.own.of
	result := outcome{
		generation: o.GetGeneration(), components: map[string]componentState{}, revision: of.Revision, version: version(of), warnings: of.Warnings,
	}
	var errs []error
	for _, c := range of.Components {
		var awaited []string
		for _, name := range prerequisites(c.Name) {
			if before, ok := result.components[name]; ok && before.phase != healthy {
				awaited = append(awaited, name)
			}
		}
		state, pause, err := r.component(ctx, o, s, c, awaited)
		result.components[c.Name] = state
		if pause > 0 && (result.pause == 0 || pause < result.pause) {
			result.pause = pause
		}
		errs = append(errs, err)
	}
	owner := client.ObjectKeyFromObject(o)
	if unwanted := stale(owner, result.components, s.shares, s.stored); len(unwanted) > 0 {
		if err := r.delete(ctx, unwanted, metav1.DeletePropagationBackground); err != nil {
			errs = append(errs, fmt.Errorf("remove what is no longer wanted: %w", err))
		} else {
			r.tell(ctx, o, news{reasonPruned, "No longer part of the installation and removed: " + list(unwanted) + "."})
		}
	}
	return result, errors.Join(errs...)
}

// component applies the objects of one component that may have changed, and says how far it is. While other components are awaited, a component stays as
// it is; what was applied before is repaired all the same. The duration is how long a repair has to wait that somebody undid; zero if none has.
func (r *Reconciler) component(ctx context.Context, o *unstructured.Unstructured, s survey, c render.Component, awaited []string) (componentState, time.Duration, error) {
	owner := client.ObjectKeyFromObject(o)
	if dispute := disputed(c, owner, s.shares, s.stored, r.options.Namespaces); dispute != "" {
		return componentState{phase: failed, message: dispute, final: true}, 0, nil
	}
	due, changed, pause := r.due(o, s, c)
	if len(awaited) > 0 && changed && !r.finished(o, c.Name) {
		return componentState{phase: reconciling, message: "waits for " + strings.Join(awaited, " and ")}, pause, nil
	}
	if len(due) > 0 {
		repaired, err := r.applyAll(ctx, o, s, due)
		if len(repaired) > 0 {
			r.metrics.repaired.WithLabelValues(owner.Namespace, owner.Name).Add(float64(len(repaired)))
			r.tell(ctx, o, news{reasonRepaired, "Changed or deleted by others and put right: " + list(repaired) + "."})
		}
		if err != nil {
			return componentState{phase: failed, message: explained(err)}, pause, err
		}
	}
	state, err := health.Check(ctx, r.reader(len(due) == 0), c.Objects)
	if err != nil {
		return componentState{phase: failed, message: err.Error()}, pause, fmt.Errorf("look at component %s: %w", c.Name, err)
	}
	if !state.Ready {
		return componentState{phase: reconciling, message: strings.Join(state.Waiting, "\n")}, pause, nil
	}
	return componentState{phase: healthy}, pause, nil
}

// finished says whether the status tells that a component was brought to the cluster as it is described now, by this version of the operator: by the
// replica that led before, whose records this process does not have. That Kubernetes was upgraded since, on which a rendering depends too, is not seen:
// what is different for that does not wait for the component before it.
func (r *Reconciler) finished(o *unstructured.Unstructured, component string) bool {
	generation, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	version, _, _ := unstructured.NestedString(o.Object, "status", "operatorVersion")
	state, _, _ := unstructured.NestedString(o.Object, "status", "componentStatus", component, "status")
	return generation == o.GetGeneration() && version == r.options.Version && state == string(healthy)
}

// due returns the objects of a component that have to be applied, or at least compared with the API server's, and whether any of them was never applied
// as it is rendered now. The duration is how long the first of the others waits that are due, and were put right a moment ago.
func (r *Reconciler) due(o *unstructured.Unstructured, s survey, c render.Component) (due []*unstructured.Unstructured, changed bool, pause time.Duration) {
	owner, m := client.ObjectKeyFromObject(o), r.mark(o, s.own.of, c)
	for _, rendered := range c.Objects {
		id := object.UnstructuredToObjMetadata(rendered)
		if s.shares[id].owner != owner {
			continue
		}
		desired := s.own.desired[id]
		known, ok := r.records[id]
		fresh := !ok || known.desired != desired
		changed = changed || fresh
		if now := s.stored[id]; now != nil && known == (record{desired, digest(description(now))}) {
			continue
		}
		if !fresh && r.repairs.IsInBackOffSinceUpdate(id.String(), r.options.Clock.Now()) {
			if wait := r.repairs.Get(id.String()); pause == 0 || wait < pause {
				pause = wait
			}
			continue
		}
		due = append(due, m.marked(rendered))
	}
	return due, changed, pause
}

// explained adds what to do to an error that only a person can end.
func explained(err error) string {
	message := err.Error()
	if apierrors.IsInvalid(err) && strings.Contains(message, "immutable") {
		message += "\nThe operator deletes nothing that serves traffic. Delete the object when that suits you, and it is created as described; or undo the change."
	}
	return message
}

// applyAll applies objects after the API server has accepted all of them in a dry run, and writes only those that differ. It returns those that it
// wrote although they had been as desired before, with an error, too.
func (r *Reconciler) applyAll(ctx context.Context, o *unstructured.Unstructured, s survey, due []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if err := r.ensureNamespaces(ctx, o, due); err != nil {
		return nil, err
	}
	var rendered []*unstructured.Unstructured
	for _, c := range s.own.of.Components {
		rendered = append(rendered, c.Objects...)
	}
	byAutoscaler := scaled(rendered)
	for _, desired := range due {
		if !mayYield(desired) {
			continue
		}
		stored := ofKind(desired.GroupVersionKind())
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(desired), stored); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read %s: %w", title(desired), err)
		}
		if err := yield(desired, stored, byAutoscaler[desired.GetNamespace()+"/"+desired.GetName()]); err != nil {
			return nil, err
		}
	}
	ordered := slices.Clone(due)
	sort.Sort(ssa.SortableUnstructureds(ordered))
	actions := make([]ssa.Action, len(ordered))
	for i, desired := range ordered {
		var err error
		if actions[i], err = r.compare(ctx, desired); err != nil {
			return nil, err
		}
	}
	var repaired []*unstructured.Unstructured
	for i, desired := range ordered {
		id := object.UnstructuredToObjMetadata(desired)
		was, known := r.records[id]
		now := record{desired: s.own.desired[id]}
		if stored := s.stored[id]; actions[i] == ssa.UnchangedAction && stored != nil {
			now.stored = digest(description(stored))
		}
		if actions[i] != ssa.UnchangedAction {
			// What is applied is overwritten with the answer.
			configuration := client.ApplyConfigurationFromUnstructured(desired.DeepCopy())
			if err := r.client.Apply(ctx, configuration, client.FieldOwner(FieldManager), client.ForceOwnership); err != nil {
				return repaired, fmt.Errorf("apply %s: %w", title(desired), err)
			}
			if known && was.desired == now.desired {
				repaired = append(repaired, desired)
				r.repairs.Next(id.String(), r.options.Clock.Now())
			}
		}
		r.records[id] = now
	}
	return repaired, nil
}

// compare says what applying an object would do to the stored one. The answer is a difference between what was read and what a dry run returned a moment
// later; where somebody else wrote in between, as a Deployment's controller often does, it would be theirs, and is asked for again.
func (r *Reconciler) compare(ctx context.Context, desired *unstructured.Unstructured) (ssa.Action, error) {
	for range 20 {
		change, stored, merged, err := r.apply.Diff(ctx, desired, ssa.DiffOptions{})
		if err != nil {
			return "", err
		}
		if merged == nil || stored.GetResourceVersion() == merged.GetResourceVersion() {
			return change.Action, nil
		}
		if stored.GetResourceVersion() == "" { // it came meanwhile, or could not be read, which Diff takes for the same
			if err := r.client.Get(ctx, client.ObjectKeyFromObject(desired), stored); client.IgnoreNotFound(err) != nil {
				return "", fmt.Errorf("read %s: %w", title(desired), err)
			}
		}
	}
	return "", fmt.Errorf("compare %s: others write it as fast as it can be read", title(desired))
}

// ensureNamespaces creates the namespaces that objects need and that are missing, as istioctl does for Istio's own. What runs there is part of the mesh's
// machinery: Meshwarden must not onboard it.
func (r *Reconciler) ensureNamespaces(ctx context.Context, o *unstructured.Unstructured, due []*unstructured.Unstructured) error {
	seen := map[string]bool{"": true}
	for _, d := range due {
		name := d.GetNamespace()
		if seen[name] {
			continue
		}
		seen[name] = true
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		err := r.client.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)
		if apierrors.IsNotFound(err) {
			namespace.Labels = map[string]string{"meshwarden.io/onboarding": "disabled"}
			if network, _, _ := unstructured.NestedString(o.Object, "spec", "values", "global", "network"); network != "" {
				namespace.Labels["topology.istio.io/network"] = network
			}
			err = client.IgnoreAlreadyExists(r.client.Create(ctx, namespace, client.FieldOwner(FieldManager)))
		}
		if err != nil {
			return fmt.Errorf("provide namespace %s: %w", name, err)
		}
	}
	return nil
}

// delete removes objects that are still marked as the same IstioOperator's, in the opposite of the order of applying, and forgets them. The policy is for
// workloads: whether they are gone before their pods are.
func (r *Reconciler) delete(ctx context.Context, unwanted []*unstructured.Unstructured, workloads metav1.DeletionPropagation) error {
	ordered := slices.Clone(unwanted)
	sort.Sort(sort.Reverse(ssa.SortableUnstructureds(ordered)))
	var errs []error
	for _, u := range ordered {
		if u.GetDeletionTimestamp() != nil {
			continue // to ask again would set the finalizer again that the garbage collector has just removed
		}
		policy := metav1.DeletePropagationBackground
		if u.GroupVersionKind().Group == "apps" {
			policy = workloads
		}
		_, err := r.apply.Delete(ctx, u, ssa.DeleteOptions{PropagationPolicy: policy, Inclusions: ownerLabels(ownerOf(u))})
		errs = append(errs, err)
		delete(r.records, object.UnstructuredToObjMetadata(u))
	}
	return errors.Join(errs...)
}

// imageTag returns what follows the name in an image, up to a digest.
func imageTag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name := image[strings.LastIndex(image, "/")+1:]
	_, tag, _ := strings.Cut(name, ":")
	return tag
}
