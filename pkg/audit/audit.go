// Package audit judges stored objects again whenever the model changes, and makes known what admission could not see:
// races between requests, what was let pass while Meshwarden was away, and objects that cannot be read.
package audit

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	// settlePeriod is how long a change rests, once to twice, before what it touches is judged. Objects of one commit
	// arrive through separate watches in any order; judged at once, half of them would be false alarms.
	settlePeriod = 250 * time.Millisecond
	// rereadAtMost is how many objects are read again, past the cache, before the new findings of a round are believed.
	rereadAtMost = 64
	// eventsAtMost is how many Events a round may write. Logs and metrics tell of the others.
	eventsAtMost = 500
	// roundAtMost is how long a round may judge. One change may touch a thousand Gateways on one workload, each of which is
	// judged beside all others: what is left then waits for the next round, in its turn.
	roundAtMost = time.Second
)

// Cluster is what the Auditor must be able to ask about the cluster besides the model.
type Cluster interface {
	mesh.Reader
	// Ready returns nil when the model can be relied on.
	Ready() error
	// Unparsable returns the stored objects that cannot be parsed, and WhyUnparsable the reason for one of them, or nil.
	Unparsable() []policy.Ref
	WhyUnparsable(policy.Ref) error
	// Identify returns the UID of the object, and whether it is there and not being deleted.
	Identify(ctx context.Context, ref policy.Ref) (types.UID, bool, error)
	// Terminating says whether the namespace is being deleted, or gone.
	Terminating(ctx context.Context, namespace string) (bool, error)
}

// Options are what an Auditor is made from. All are required.
type Options struct {
	Model   *mesh.Model
	Cluster Cluster
	// Rules judge the objects, with the platform's actions.
	Rules    []policy.Rule
	Recorder events.EventRecorder
	Metrics  *Metrics
	Clock    clock.WithTicker
	Log      logr.Logger
}

// Auditor is a controller-runtime Runnable that the leader alone runs.
type Auditor struct {
	Options

	// found is what is known of each object, by the findings' identity. waiting are the objects to judge, and routers is
	// whether some workload was known to be a gateway in the last round. Only Start's goroutine uses them.
	found   map[policy.Ref]map[string]policy.Finding
	waiting queue
	routers bool
	passage passage

	mu       sync.Mutex
	leading  bool
	changed  changes // since the last round
	settling changes // in the round before
}

// New returns an Auditor that is told of each change of the model.
func New(o Options) *Auditor {
	a := &Auditor{Options: o, found: map[policy.Ref]map[string]policy.Finding{}, changed: changes{}, settling: changes{}}
	o.Model.Subscribe(a.Observe)
	return a
}

// Observe implements mesh.Observer.
func (a *Auditor) Observe(c mesh.Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leading {
		a.changed.add(c)
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: one replica speaks for all.
func (a *Auditor) NeedLeaderElection() bool {
	return true
}

// Start judges every stored object once, and from then on what each change touches, until the context ends.
func (a *Auditor) Start(ctx context.Context) error {
	a.mu.Lock()
	a.leading = true
	a.mu.Unlock()
	ticker := a.Clock.NewTicker(settlePeriod)
	defer ticker.Stop()
	everything := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		if a.Cluster.Ready() != nil {
			continue
		}
		if everything {
			a.observeAll()
			everything = false
		}
		a.round(ctx)
	}
}

// observeAll has every stored object judged. The zero change touches whatever can be parsed.
func (a *Auditor) observeAll() {
	a.Observe(mesh.Change{})
	for _, ref := range a.Cluster.Unparsable() {
		a.Observe(mesh.Change{Ref: ref})
	}
}

// settled returns what has rested long enough, and lets what changed since the last call begin to rest. What changes all
// the time is judged all the same: it would never be found otherwise.
func (a *Auditor) settled() changes {
	a.mu.Lock()
	defer a.mu.Unlock()
	settled := a.settling
	a.settling, a.changed = a.changed, changes{}
	return settled
}

// round judges what the settled changes touch, and makes known what is new.
func (a *Auditor) round(ctx context.Context) {
	world := a.Model.World().At(a.Clock.Now())
	if settled := a.settled(); len(settled) > 0 {
		if routers := world.Routers(); routers != a.routers {
			a.routers = routers
			settled.add(mesh.Change{})
		}
		a.waiting.add(touchedBy(world, settled, a.settling)...)
		a.passage.renew(settled)
	}
	a.waiting.add(a.passage.touched(world)...)
	doubtful := map[policy.Ref][]policy.Finding{}
	for start := a.Clock.Now(); ctx.Err() == nil && a.Clock.Since(start) < roundAtMost; {
		ref, ok := a.waiting.take()
		if !ok {
			break
		}
		now := a.judge(world, ref)
		if fresh := a.unknown(ref, now); len(fresh) > 0 {
			doubtful[ref] = fresh
		} else {
			a.remember(ref, now)
		}
	}
	a.confirm(ctx, world, doubtful)
}

// confirm reads again what the new findings rest on, judges once more, and makes known what is left.
func (a *Auditor) confirm(ctx context.Context, world *mesh.World, doubtful map[policy.Ref][]policy.Finding) {
	if len(doubtful) == 0 {
		return
	}
	refs := slices.SortedFunc(maps.Keys(doubtful), compareRefs)
	if err := world.Refresh(ctx, a.Cluster, involved(doubtful)); err != nil {
		a.Log.Error(err, "cannot confirm findings on stored objects; trying again")
		a.waiting.add(refs...)
		return
	}
	events := 0
	ending := map[string]bool{}
	for _, ref := range refs {
		now := a.judge(world, ref)
		fresh := a.unknown(ref, now)
		if len(fresh) > 0 && (a.ending(ctx, ending, ref) || !a.announce(ctx, fresh, &events)) {
			continue
		}
		a.remember(ref, now)
	}
}

// ending says whether the object's namespace is being deleted: its objects go in any order, and nobody needs an alarm
// about that. known keeps what was found out in this round. What cannot be found out is judged again in the next one.
func (a *Auditor) ending(ctx context.Context, known map[string]bool, ref policy.Ref) bool {
	if ending, ok := known[ref.Namespace]; ok {
		return ending
	}
	ending, err := a.Cluster.Terminating(ctx, ref.Namespace)
	if err != nil {
		a.Log.Error(err, "cannot tell whether a namespace is being deleted; trying again", "namespace", ref.Namespace)
		a.waiting.add(ref)
		return true
	}
	known[ref.Namespace] = ending
	return ending
}

// judge returns the findings on the object as it stands; none when it is gone.
func (a *Auditor) judge(world *mesh.World, ref policy.Ref) []policy.Finding {
	if err := a.Cluster.WhyUnparsable(ref); err != nil {
		return []policy.Finding{policy.Unparsable(ref, err, policy.Warn)}
	}
	o := policy.Object{Standing: true}
	if g, ok := world.Gateway(ref.Key); ok && ref.Kind == policy.KindGateway {
		o.Gateway = g
	}
	if v, ok := world.VirtualService(ref.Key); ok && ref.Kind == policy.KindVirtualService {
		o.VirtualService = v
	}
	return policy.Evaluate(world, o, a.Rules)
}

// unknown returns the findings that were not known of the object before.
func (a *Auditor) unknown(ref policy.Ref, now []policy.Finding) []policy.Finding {
	return slices.DeleteFunc(slices.Clone(now), func(f policy.Finding) bool {
		_, known := a.found[ref][f.Identity()]
		return known
	})
}

func (a *Auditor) remember(ref policy.Ref, now []policy.Finding) {
	a.Metrics.replaced(a.found[ref], now)
	if len(now) == 0 {
		delete(a.found, ref)
		return
	}
	known := make(map[string]policy.Finding, len(now))
	for _, f := range now {
		known[f.Identity()] = f
	}
	a.found[ref] = known
}

// announce tells of the new findings on one object, in the log and, as far as the round may write that many, with Events on
// the object. It returns false when the object is gone or going, or when that cannot be found out now.
func (a *Auditor) announce(ctx context.Context, findings []policy.Finding, events *int) bool {
	ref := findings[0].Object
	var uid types.UID
	if *events < eventsAtMost {
		id, there, err := a.Cluster.Identify(ctx, ref)
		if err != nil {
			a.Log.Error(err, "cannot find the object of a finding; trying again", "object", ref.String())
			a.waiting.add(ref)
		}
		if err != nil || !there {
			return false
		}
		uid = id
	}
	for _, f := range findings {
		a.Metrics.announced(f)
		a.Log.Info("stored object does not comply", "object", ref.String(), "rule", f.Rule, "path", f.Path, "finding", f.Text())
		if *events < eventsAtMost {
			*events++
			a.Recorder.Eventf(reference(ref, uid), nil, corev1.EventTypeWarning, reason(f.Name), "Evaluate", "%s", f.Text())
		}
	}
	return true
}
