// Package informer keeps the model of the mesh equal to what the API server stores. It translates each object as it
// arrives and keeps the translation only, so that every object is in memory once and in its leanest form.
package informer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// retryPeriod is how long the informer waits before it lists again after an error, or looks again for a resource that
// does not exist. One small GET a second is all that a cluster without Istio pays.
const retryPeriod = time.Second

// relistPause is how long it waits after a watch that ended without an error, such as one whose version expired: long
// enough not to spin, short enough for the model not to lag.
const relistPause = 50 * time.Millisecond

// state is what an informer knows about its resource.
type state int

const (
	unknown state = iota // nothing yet: not listed, or the list failed
	absent               // the API server does not serve the resource: there are no objects
	synced               // the model held every object once, and follows the changes
)

// Informer follows the objects of one kind. It is a controller-runtime Runnable that every replica runs.
type Informer struct {
	kind     kind
	client   rest.Interface
	store    reflected
	clock    clock.Clock
	log      logr.Logger
	retryNow chan struct{}

	mu      sync.Mutex
	state   state
	changed chan struct{} // closed and replaced at each change of state
	failure error
	// asked counts how often everything was to be read anew, and run is what it was when the present list began, which
	// restart ends.
	asked, run int
	restart    context.CancelFunc
}

// reflected is where an informer's objects go.
type reflected interface {
	cache.ReflectorStore
	cache.TransformingStore
	// clear forgets every object.
	clear() error
}

// Start follows the resource until the context ends. A resource that does not exist yet is looked for until it does; one
// that is removed leaves an empty model behind and is looked for again.
func (i *Informer) Start(ctx context.Context) error {
	// One reflector for good: it remembers the newest version that it saw and never lists an older one.
	reflector := cache.NewReflectorWithOptions(i.listerWatcher(), i.kind.empty(), i.store, cache.ReflectorOptions{Name: i.kind.resource})
	for ctx.Err() == nil {
		err := reflector.ListAndWatchWithContext(i.begin(ctx))
		if i.isAsked() {
			continue
		}
		i.note(ctx, err)
		pause := retryPeriod
		if err == nil {
			pause = relistPause
		}
		select {
		case <-ctx.Done():
		case <-i.clock.After(pause):
		case <-i.retryNow:
		}
	}
	return nil
}

// begin returns the context of the next list and watch.
func (i *Informer) begin(ctx context.Context) context.Context {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.restart != nil {
		i.restart()
	}
	i.run = i.asked
	ctx, i.restart = context.WithCancel(ctx)
	return ctx
}

// relist has everything read anew. Until that has come, the model cannot be relied on for the kind.
func (i *Informer) relist() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	if i.restart != nil {
		i.restart()
	}
	if i.state == synced {
		i.become(unknown)
	}
}

// isAsked says whether everything is to be read anew since the present list began.
func (i *Informer) isAsked() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.run != i.asked
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica judges, so every replica needs the model.
func (i *Informer) NeedLeaderElection() bool {
	return false
}

// note takes in how a list and watch ended. A watch that ends after a good list keeps the informer synced: what the
// model holds may lag, which admission allows for, and the next list repairs it.
func (i *Informer) note(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case apierrors.IsNotFound(err):
		if err := i.store.clear(); err != nil {
			i.log.Error(err, "cannot empty the model of a removed resource")
		}
		i.set(absent, nil)
	case err != nil:
		i.log.Error(err, "cannot list or watch; trying again", "retryAfter", retryPeriod.String())
		i.set(unknown, err)
	}
}

// listed takes in that the model holds every object, unless they were to be read anew meanwhile.
func (i *Informer) listed() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.failure = nil; i.run == i.asked && i.state != synced {
		i.become(synced)
	}
}

// set changes the state and wakes who waits for it. Once synced, an error does not change that.
func (i *Informer) set(s state, failure error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.failure = failure
	if i.state == s || i.state == synced && s == unknown {
		return
	}
	i.become(s)
}

// become is for callers that hold the lock.
func (i *Informer) become(s state) {
	i.state = s
	close(i.changed)
	i.changed = make(chan struct{})
	i.log.Info("informer changed state", "state", [...]string{"unknown", "absent", "synced"}[s])
}

// settled returns nil when the model can be relied on for the kind: it is synced, or the resource does not exist. With
// exists set, the caller knows better than to accept the latter. Otherwise it returns why not, and a channel that closes
// when that changes.
func (i *Informer) settled(exists bool) (<-chan struct{}, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.state == synced || i.state == absent && !exists:
		return nil, nil
	case i.failure != nil:
		return i.changed, fmt.Errorf("cannot read %s: %w", i.kind.resource, i.failure)
	}
	return i.changed, fmt.Errorf("%s are not read yet", i.kind.resource)
}

// wait blocks until the informer is settled or the context ends.
func (i *Informer) wait(ctx context.Context, exists bool) error {
	for {
		changed, err := i.settled(exists)
		if err == nil {
			return nil
		}
		select {
		case i.retryNow <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		}
	}
}

func (i *Informer) listerWatcher() cache.ListerWatcher {
	request := func(o metav1.ListOptions) *rest.Request {
		if i.kind.among != "" {
			o.FieldSelector = i.kind.among
		}
		r := i.client.Get().Resource(i.kind.resource).VersionedParams(&o, metav1.ParameterCodec)
		if i.kind.namespace != "" {
			r = r.Namespace(i.kind.namespace)
		}
		return r
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return permitted(i.kind, o, func(o metav1.ListOptions) (runtime.Object, error) {
				list := i.kind.emptyList()
				err := request(o).Do(ctx).Into(list)
				return list, err
			})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.Watch = true
			return permitted(i.kind, o, func(o metav1.ListOptions) (watch.Interface, error) {
				return request(o).Watch(ctx)
			})
		},
	}
}

// permitted reads all objects of the kind, or, where that is forbidden, the one that the kind can do with: RBAC can grant a
// list or watch of a single name in a namespace that does not exist yet. It asks for all each time, so that a right that is
// given later is used from the next list on.
func permitted[T any](k kind, o metav1.ListOptions, read func(metav1.ListOptions) (T, error)) (T, error) {
	result, err := read(o)
	if k.enough == "" || !apierrors.IsForbidden(err) {
		return result, err
	}
	o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, k.enough).String()
	if one, narrow := read(o); narrow == nil {
		return one, nil
	}
	return result, err
}
