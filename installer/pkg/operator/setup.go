package operator

import (
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/fluxcd/pkg/ssa"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

const (
	// A failed apply is tried again after the first pause, which doubles up to the second.
	shortestPause, longestPause = 500 * time.Millisecond, time.Minute
	// What was put right is left alone for a time that begins so and doubles up to the longest pause while somebody undoes it.
	firstTruce = 100 * time.Millisecond
	// A CRD or a right that is missing at the start may come at any time. Until then the log says what is missing, and Ready that nothing is done.
	longestStart = 365 * 24 * time.Hour
)

// Options say what the reconciler works with. All are required.
type Options struct {
	// Namespaces are those in which IstioOperators are reconciled.
	Namespaces []string
	// Version is that of this program, fit for a label.
	Version string
	// Render returns the objects of an IstioOperator; the error is a *render.InvalidError where the spec is at fault.
	Render  func(*unstructured.Unstructured) (render.Rendering, error)
	Metrics prometheus.Registerer
	Clock   clock.PassiveClock
}

// Setup adds the controller to a manager, whose cache has to be as CacheOptions says, and whose mapper that of NewMapper.
func Setup(mgr manager.Manager, options Options) error {
	// The manager's own client would answer some reads from the cache.
	c, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	m, err := newMetrics(options.Metrics)
	if err != nil {
		return err
	}
	r := &Reconciler{
		options: options, client: c, cache: mgr.GetCache(), apply: ssa.NewResourceManager(c, nil, ssa.Owner{Field: FieldManager}), metrics: m,
		rendered: map[types.UID]rendering{}, records: map[object.ObjMetadata]record{}, repairs: flowcontrol.NewBackOff(firstTruce, longestPause),
	}
	ctl, err := controller.New("istiooperator", mgr, controller.Options{
		Reconciler:              r,
		MaxConcurrentReconciles: 1,
		CacheSyncTimeout:        longestStart,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](shortestPause, longestPause),
	})
	if err != nil {
		return fmt.Errorf("make the controller: %w", err)
	}
	r.watches = &watches{mapper: mgr.GetRESTMapper(), add: func(kind schema.GroupVersionKind) error {
		return ctl.Watch(source.Kind(mgr.GetCache(), client.Object(ofKind(kind)), handler.EnqueueRequestsFromMapFunc(toOwner(mgr.GetCache(), options.Namespaces)), changed()))
	}}
	if err := r.watches.start(Kinds()...); err != nil {
		return err
	}
	// What only changes the status asks for nothing.
	err = ctl.Watch(source.Kind(mgr.GetCache(), client.Object(ofKind(GroupVersionKind())), toAll(mgr.GetCache()), predicate.GenerationChangedPredicate{}))
	if err != nil {
		return fmt.Errorf("watch IstioOperators: %w", err)
	}
	return nil
}
