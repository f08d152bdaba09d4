package audit

import (
	"maps"
	"slices"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// changes are the objects that changed, each with the versions that it had before: what those led to is touched as well,
// and the model does not have them any more.
type changes map[policy.Ref][]policy.Resource

func (c changes) add(change mesh.Change) {
	before := c[change.Ref]
	if change.Before != nil {
		before = append(before, change.Before)
	}
	c[change.Ref] = before
}

// touched collects the objects whose verdict may have changed.
type touched struct {
	world *mesh.World
	refs  map[policy.Ref]bool
	// done are the steps that were taken already: a thousand pods of one label have the same Gateways.
	done map[string]bool
	// allGateways is set when every Gateway is touched anyway.
	allGateways bool
}

func newTouched(world *mesh.World) *touched {
	return &touched{world: world, refs: map[policy.Ref]bool{}, done: map[string]bool{}}
}

// touchedBy returns the Gateways and VirtualServices whose verdict the changes may have changed, in order. The zero change
// touches all of them but those that rest yet, which are judged once they have.
//
// A VirtualService depends on its Gateways and on what they run on; a Gateway on what it runs on, on the Gateways that it
// shares that with, on the VirtualServices that make filter chains of its servers, and on the Secrets that it asks for; and
// all on the Services that lead to the workloads. Each is followed from the versions before as well as from the present one.
func touchedBy(world *mesh.World, changed, resting changes) []policy.Ref {
	t := newTouched(world)
	if _, everything := changed[policy.Ref{}]; everything {
		t.addAll(policy.KindGateway)
		t.addAll(policy.KindVirtualService)
		maps.DeleteFunc(t.refs, func(ref policy.Ref, _ bool) bool { _, rests := resting[ref]; return rests })
	}
	t.addGatewaysIfMany(changed)
	for ref, before := range changed {
		switch ref.Kind {
		case policy.KindGateway:
			t.refs[ref] = true
			t.addVirtualServicesOf(ref.Key)
		case policy.KindVirtualService:
			t.refs[ref] = true
		case policy.KindService:
			t.addAutomatic()
		}
		for _, o := range before {
			t.follow(o)
		}
		if o, ok := world.Object(ref); ok {
			t.follow(o)
		}
	}
	return slices.SortedFunc(maps.Keys(t.refs), compareRefs)
}

// addGatewaysIfMany adds every Gateway when most of them have changed, as when all are listed again. To look for the ones that
// each contends with would take longer than to judge them.
func (t *touched) addGatewaysIfMany(changed changes) {
	many := 0
	for ref := range changed {
		if ref.Kind == policy.KindGateway {
			many++
		}
	}
	if many > 0 && many > len(t.world.Refs(policy.KindGateway))/2 {
		t.addAll(policy.KindGateway)
		t.allGateways = true
	}
}

// first says whether the step on the labels was not taken yet.
func (t *touched) first(step string, labels map[string]string) bool {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		step += "\x00" + name + "=" + labels[name]
	}
	if t.done[step] {
		return false
	}
	t.done[step] = true
	return true
}

func (t *touched) addAll(kind policy.Kind) {
	for _, ref := range t.world.Refs(kind) {
		t.refs[ref] = true
	}
}

func (t *touched) addVirtualServicesOf(gateway policy.Key) {
	for v := range t.world.VirtualServicesOf(gateway) {
		t.refs[v.Ref()] = true
	}
}

// follow adds what one version of an object touches besides the object itself.
func (t *touched) follow(o policy.Resource) {
	switch o := o.(type) {
	case *policy.Gateway:
		t.addContenders(o)
	case *policy.VirtualService:
		t.addChained(o)
	case *policy.Workload:
		t.addSelecting(o.Labels)
	case *policy.Service:
		if len(o.Selector) == 0 {
			return
		}
		for w := range t.world.WorkloadsSelectedBy(o.Selector) {
			if w.Reference.Namespace == o.Namespace {
				t.addSelecting(w.Labels)
			}
		}
	case *policy.Secret:
		t.addAsking(o.Name)
	case *policy.Certificate:
		t.addAsking(o.SecretName)
	}
}

// addAsking adds the Gateways that ask for Secrets of the name. In which namespace that is does not count: one that is
// elsewhere is told of as well.
func (t *touched) addAsking(secret string) {
	for g := range t.world.GatewaysAskingFor(secret) {
		t.refs[g.Ref()] = true
	}
}

// addSelecting adds the Gateways that select the labels, with their VirtualServices.
func (t *touched) addSelecting(labels map[string]string) {
	if !t.first("selecting", labels) {
		return
	}
	for g := range t.world.GatewaysSelecting(labels) {
		t.refs[g.Ref()] = true
		t.addVirtualServicesOf(g.Key)
	}
}

// addContenders adds the Gateways that lose something else with this version of a Gateway than without it. VirtualServices bind
// to a Gateway whatever other ones there are, so theirs are left out.
func (t *touched) addContenders(g *policy.Gateway) {
	if t.allGateways {
		return
	}
	for _, other := range policy.Contenders(t.world, g) {
		t.refs[other.Ref()] = true
	}
}

// addChained adds the Gateways whose filter chains this version of a VirtualService has a part in: its tls and tcp routes
// become chains of their listeners, beside those of every Gateway on the same workloads. Its http routes become none.
func (t *touched) addChained(v *policy.VirtualService) {
	if !v.Kinds.TLS && !v.Kinds.TCP {
		return
	}
	for _, ref := range v.Gateways {
		if g, ok := t.world.Gateway(ref.Gateway); ok && !ref.Mesh {
			t.refs[g.Ref()] = true
			t.addContenders(g)
		}
	}
}

// addAutomatic adds the Gateways that have chains for the Services of the mesh rather than for those of their workloads.
func (t *touched) addAutomatic() {
	if !t.first("automatic", nil) {
		return
	}
	for _, ref := range t.world.Refs(policy.KindGateway) {
		g, ok := t.world.Gateway(ref.Key)
		if ok && slices.ContainsFunc(g.Servers, func(s policy.Server) bool { return s.TLS == policy.TLSAutoPassthrough }) {
			t.refs[ref] = true
		}
	}
}
