// Package operator keeps Istio in a cluster as IstioOperators describe it: it renders them, applies what comes out, component after component, removes
// what is no longer asked for, repairs what others change, and says in the status how far all that is.
package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// Finalizer keeps an IstioOperator until what it installed is removed. The name is that of the operator of Istio 1.23.
const Finalizer = "istio-finalizer.install.istio.io"

// lookAgain is how soon something that is waited for is looked at again. Most of it is seen at once, by watches; why a pod does not start is not.
const lookAgain = 5 * time.Second

// Reconciler brings the cluster to what one IstioOperator describes. It runs one pass at a time, because IstioOperators share objects.
type Reconciler struct {
	options Options
	// client reads from the API server itself.
	client client.Client
	// cache has all objects that are marked as an IstioOperator's, made slim, and the IstioOperators.
	cache   client.Reader
	apply   *ssa.ResourceManager
	metrics metrics
	watches *watches
	// rendered are the last renderings: charts take a while, and give the same again until the spec changes.
	rendered map[types.UID]rendering
	// records are what is known of objects since this process leads.
	records map[object.ObjMetadata]record
	// repairs slow down what would be a fight: somebody else changes an object as often as it is put right.
	repairs *flowcontrol.Backoff
}

// rendering is what came of one generation of a spec.
type rendering struct {
	generation int64
	of         render.Rendering
	err        error
	kinds      []schema.GroupVersionKind
	// digests are those of the objects as rendered, and desired those of what is applied.
	digests, desired map[object.ObjMetadata]string
}

// record is what is known of an object that was applied.
type record struct {
	// desired is the digest of what was applied.
	desired string
	// stored is the digest of what the cache had of the object when the API server said that it is as desired. Empty means that nobody asked since it was
	// applied.
	stored string
}

// survey is what there is besides one IstioOperator: the cluster's objects and all claims to them.
type survey struct {
	own    rendering
	stored objects
	shares map[object.ObjMetadata]share
	// undecided are living IstioOperators whose spec is invalid and which have installed something.
	undecided []types.NamespacedName
	// existing are all IstioOperators, those that are being deleted among them.
	existing []types.NamespacedName
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	o := ofKind(GroupVersionKind())
	// Its own status must not be judged by a cache that lags behind the last write.
	if err := r.client.Get(ctx, request.NamespacedName, o); apierrors.IsNotFound(err) {
		r.metrics.forget(request.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read the IstioOperator: %w", err)
	}
	s, err := r.survey(ctx, o)
	if err != nil {
		return reconcile.Result{}, err
	}
	if o.GetDeletionTimestamp() != nil {
		return r.remove(ctx, o, s)
	}
	if invalid := (*render.InvalidError)(nil); errors.As(s.own.err, &invalid) {
		return reconcile.Result{}, r.report(ctx, o, outcome{generation: o.GetGeneration(), invalid: invalid.Error()})
	}
	if err := r.hold(ctx, o); err != nil {
		return reconcile.Result{}, err
	}
	result, err := r.install(ctx, o, s)
	if err := errors.Join(err, r.report(ctx, o, result)); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: result.again()}, nil
}

// hold sets the finalizer before anything is installed.
func (r *Reconciler) hold(ctx context.Context, o *unstructured.Unstructured) error {
	before := o.DeepCopy()
	if !controllerutil.AddFinalizer(o, Finalizer) {
		return nil
	}
	if err := r.client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("set the finalizer: %w", err)
	}
	return nil
}

// report writes the status if it has changed, and Events of what is new.
func (r *Reconciler) report(ctx context.Context, o *unstructured.Unstructured, result outcome) error {
	result.operator = r.options.Version
	r.metrics.report(client.ObjectKeyFromObject(o), result.phase() == healthy)
	before := o.DeepCopy()
	present, _, err := unstructured.NestedMap(o.Object, "status")
	if err != nil {
		present = nil // not a map: replaced
	}
	status, err := result.status(present, r.options.Clock.Now())
	if err != nil {
		return fmt.Errorf("make the status: %w", err)
	}
	if equality.Semantic.DeepEqual(present, status) {
		return nil
	}
	for _, n := range result.news(present) {
		r.tell(ctx, o, n)
	}
	o.Object["status"] = status
	if err := r.client.Status().Patch(ctx, o, client.MergeFrom(before), client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("write the status: %w", client.IgnoreNotFound(err))
	}
	return nil
}

// survey renders every living IstioOperator and collects what the cluster has of all of them.
func (r *Reconciler) survey(ctx context.Context, o *unstructured.Unstructured) (survey, error) {
	s := survey{stored: objects{}}
	for _, kind := range r.watches.served() {
		l := listOf(kind)
		if err := r.cache.List(ctx, l, client.UnsafeDisableDeepCopy); err != nil {
			return s, fmt.Errorf("read the cache of %s: %w", kind.Kind, err)
		}
		for i := range l.Items {
			if installed(&l.Items[i]) {
				s.stored[object.UnstructuredToObjMetadata(&l.Items[i])] = &l.Items[i]
			}
		}
	}
	all := listOf(GroupVersionKind())
	if err := r.cache.List(ctx, all); err != nil {
		return s, fmt.Errorf("read the cache of IstioOperators: %w", err)
	}
	concerned := []*unstructured.Unstructured{o}
	for i := range all.Items {
		other := &all.Items[i]
		s.existing = append(s.existing, client.ObjectKeyFromObject(other))
		if other.GetUID() != o.GetUID() && other.GetDeletionTimestamp() == nil {
			concerned = append(concerned, other)
		}
	}
	var claims []claim
	for _, i := range concerned {
		rendering, err := r.render(i)
		if err != nil {
			return s, err
		}
		if i == o {
			s.own = rendering
		}
		if i.GetDeletionTimestamp() != nil {
			continue // it claims nothing any more
		}
		c := claim{owner: client.ObjectKeyFromObject(i), created: i.GetCreationTimestamp().Time, objects: rendering.digests}
		if rendering.err != nil {
			if c.objects = s.ownedBy(c.owner); len(c.objects) > 0 {
				s.undecided = append(s.undecided, c.owner)
			}
		}
		claims = append(claims, c)
	}
	s.shares = assign(claims)
	r.forget(concerned, s.shares)
	return s, nil
}

// forget drops what is known of IstioOperators and objects that are gone.
func (r *Reconciler) forget(concerned []*unstructured.Unstructured, shares map[object.ObjMetadata]share) {
	maps.DeleteFunc(r.rendered, func(uid types.UID, _ rendering) bool {
		return !slices.ContainsFunc(concerned, func(o *unstructured.Unstructured) bool { return o.GetUID() == uid })
	})
	maps.DeleteFunc(r.records, func(id object.ObjMetadata, _ record) bool {
		_, wanted := shares[id]
		return !wanted
	})
	r.repairs.GC()
}

// ownedBy returns what the cluster has of an IstioOperator.
func (s survey) ownedBy(owner types.NamespacedName) map[object.ObjMetadata]string {
	owned := map[object.ObjMetadata]string{}
	for id, o := range s.stored {
		if ownerOf(o) == owner {
			owned[id] = unknown
		}
	}
	return owned
}

// render returns the rendering of a spec; one that Istio refuses is no error here. It remembers the last one.
func (r *Reconciler) render(o *unstructured.Unstructured) (rendering, error) {
	if known, ok := r.rendered[o.GetUID()]; ok && known.generation == o.GetGeneration() {
		return known, r.watches.start(known.kinds...) // the cluster may have got one since
	}
	if faults := validation.IsValidLabelValue(o.GetName()); len(faults) > 0 {
		return rendering{generation: o.GetGeneration(), err: &render.InvalidError{Err: fmt.Errorf("metadata.name is written into labels, and is none: %s", faults[0])}}, nil
	}
	of, err := r.options.Render(o)
	if invalid := (*render.InvalidError)(nil); err != nil && !errors.As(err, &invalid) {
		return rendering{}, fmt.Errorf("render IstioOperator %s: %w", client.ObjectKeyFromObject(o), err)
	}
	fresh := rendering{generation: o.GetGeneration(), of: of, err: err, digests: map[object.ObjMetadata]string{}, desired: map[object.ObjMetadata]string{}}
	for _, c := range of.Components {
		m := r.mark(o, of, c)
		for _, rendered := range c.Objects {
			id := object.UnstructuredToObjMetadata(rendered)
			fresh.digests[id], fresh.desired[id] = digest(rendered.Object), digest(m.marked(rendered).Object)
			fresh.kinds = append(fresh.kinds, rendered.GroupVersionKind())
		}
	}
	r.rendered[o.GetUID()] = fresh
	return fresh, r.watches.start(fresh.kinds...)
}

// mark returns how a component's objects are marked.
func (r *Reconciler) mark(o *unstructured.Unstructured, of render.Rendering, c render.Component) mark {
	return mark{owner: client.ObjectKeyFromObject(o), component: c.Name, revision: of.Revision, version: r.options.Version}
}

// version returns the tag of the image by which an installation is known: istiod's, or the first one that there is.
func version(of render.Rendering) string {
	var tag string
	for _, c := range of.Components {
		for _, o := range c.Objects {
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			for _, container := range containers {
				fields, _ := container.(map[string]any)
				image, _ := fields["image"].(string)
				if c.Name == "Pilot" && imageTag(image) != "" {
					return imageTag(image)
				}
				tag = cmp.Or(tag, imageTag(image))
			}
		}
	}
	return tag
}
