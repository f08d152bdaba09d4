package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// CacheOptions returns what a manager's cache has to hold for Setup: the IstioOperators of the namespaces, and of all other kinds what is marked as some
// IstioOperator's, made slim.
func CacheOptions(namespaces []string) (cache.Options, error) {
	ours, err := labels.NewRequirement(labelOwner, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, fmt.Errorf("select what is installed: %w", err)
	}
	watched := map[string]cache.Config{}
	for _, n := range namespaces {
		watched[n] = cache.Config{LabelSelector: labels.Everything()}
	}
	return cache.Options{
		DefaultLabelSelector: labels.NewSelector().Add(*ours),
		DefaultTransform:     Slim,
		ByObject:             map[client.Object]cache.ByObject{ofKind(GroupVersionKind()): {Namespaces: watched}},
	}, nil
}

// mapper knows the resource of IstioOperators without asking, so that a manager can be made, and can watch, before their CRD is there.
type mapper struct{ meta.RESTMapper }

// RESTMapping implements meta.RESTMapper.
func (m mapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	if ours := GroupVersionKind(); kind == ours.GroupKind() {
		resource := ours.GroupVersion().WithResource("istiooperators")
		return &meta.RESTMapping{Resource: resource, GroupVersionKind: ours, Scope: meta.RESTScopeNamespace}, nil
	}
	return m.RESTMapper.RESTMapping(kind, versions...)
}

// NewMapper returns the mapper that a manager needs for Setup. It implements manager.Options.MapperProvider.
func NewMapper(config *rest.Config, c *http.Client) (meta.RESTMapper, error) {
	asking, err := apiutil.NewDynamicRESTMapper(config, c)
	return mapper{asking}, err
}

// Ready returns what says whether the IstioOperators of the namespaces can be seen: their CRD is there, and so is the right to list them. A replica that
// stands by asks for the same.
func Ready(c cache.Cache) healthz.Checker {
	return func(request *http.Request) error {
		informer, err := c.GetInformer(request.Context(), ofKind(GroupVersionKind()), cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch IstioOperators: %w", err)
		}
		if !informer.HasSynced() {
			return errors.New("the IstioOperators have not been listed yet")
		}
		return nil
	}
}

// watches are the kinds that are watched. A kind that the cluster does not have yet is watched as soon as it is rendered and there.
type watches struct {
	mapper meta.RESTMapper
	// add watches a kind.
	add func(schema.GroupVersionKind) error

	mu      sync.Mutex
	started []schema.GroupVersionKind
}

// start watches the kinds that are not watched yet and that the cluster has.
func (w *watches) start(kinds ...schema.GroupVersionKind) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, kind := range kinds {
		if slices.Contains(w.started, kind) {
			continue
		}
		_, err := w.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err == nil {
			err = w.add(kind)
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", kind.Kind, err)
		}
		w.started = append(w.started, kind)
	}
	return nil
}

// served returns the kinds that are watched.
func (w *watches) served() []schema.GroupVersionKind {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.started)
}

// toAll asks for a pass over every IstioOperator, because they share objects: when one comes, changes or goes, others may gain or lose some.
func toAll(reader client.Reader) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		return append([]reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}, requests(ctx, reader)...)
	})
}

// toOwner returns what maps an object to the IstioOperator that it is, or was, marked as belonging to. Where that is in a namespace that is not watched,
// it is all that are watched: one of them may want the object and may have it now.
func toOwner(reader client.Reader, namespaces []string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		u, ok := o.(*unstructured.Unstructured)
		if !ok || !installed(u) {
			return nil
		}
		if !slices.Contains(namespaces, ownerOf(u).Namespace) {
			return requests(ctx, reader)
		}
		return []reconcile.Request{{NamespacedName: ownerOf(u)}}
	}
}

// requests asks for a pass over every IstioOperator.
func requests(ctx context.Context, reader client.Reader) []reconcile.Request {
	all := listOf(GroupVersionKind())
	if err := reader.List(ctx, all); err != nil {
		return nil // only a cache that is being stopped fails
	}
	var found []reconcile.Request
	for i := range all.Items {
		found = append(found, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
	}
	return found
}

// changed lets those changes pass that may be drift or bear on health. The cache holds nothing else, except for an object's version: the status of an
// autoscaler, written every few seconds, changes only that.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*unstructured.Unstructured)
		after, ok2 := e.ObjectNew.(*unstructured.Unstructured)
		return !ok || !ok2 || !equality.Semantic.DeepEqual(content(before), content(after))
	}}
}

// reader returns what health is judged by: the API server, or where nothing had to be applied, the cache, which cannot be older than that.
func (r *Reconciler) reader(cached bool) client.Reader {
	if cached {
		return cachedReader{Reader: r.client, cache: r.cache}
	}
	return r.client
}

// cachedReader reads what is installed from the cache, and everything else from the API server.
type cachedReader struct {
	client.Reader
	cache client.Reader
}

// Get implements client.Reader.
func (c cachedReader) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if u, ok := o.(*unstructured.Unstructured); ok && slices.Contains(Kinds(), u.GroupVersionKind()) {
		if err := c.cache.Get(ctx, key, o, options...); !apierrors.IsNotFound(err) {
			return err
		}
	}
	return c.Reader.Get(ctx, key, o, options...)
}
