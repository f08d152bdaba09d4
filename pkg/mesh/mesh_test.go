package mesh_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func key(namespace, name string) policy.Key {
	return policy.Key{Namespace: namespace, Name: name}
}

func gateway(namespace, name string) *policy.Gateway {
	return policy.NewGateway(key(namespace, name), nil)
}

// virtualService returns one that names the gateways.
func virtualService(namespace, name string, gateways ...policy.Key) *policy.VirtualService {
	v := &policy.VirtualService{Key: key(namespace, name)}
	for _, g := range gateways {
		v.Gateways = append(v.Gateways, policy.GatewayRef{Gateway: g})
	}
	return v
}

func newModel(t testing.TB, objects ...policy.Resource) *mesh.Model {
	t.Helper()
	m, err := mesh.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Put(objects...); err != nil {
		t.Fatal(err)
	}
	return m
}

// names returns the references as text.
func names(refs []policy.Ref) []string {
	var names []string
	for _, r := range refs {
		names = append(names, r.String())
	}
	return names
}

// namesOf returns the names of what a sequence yields.
func namesOf[R policy.Resource](objects iter.Seq[R]) []string {
	var refs []policy.Ref
	for o := range objects {
		refs = append(refs, o.Ref())
	}
	return names(refs)
}

// stored is all that a world holds.
func stored(w *mesh.World) []string {
	return names(slices.Concat(w.Refs(policy.KindGateway), w.Refs(policy.KindVirtualService)))
}

func wantStored(t *testing.T, m *mesh.Model, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, stored(m.World())); diff != "" {
		t.Errorf("stored objects (-want +got):\n%s", diff)
	}
	counts := map[string]int{}
	for _, name := range want {
		counts[name[:len("Gate")]]++
	}
	if got := m.Count(policy.KindGateway); got != counts["Gate"] {
		t.Errorf("Count(Gateway) = %d, want %d", got, counts["Gate"])
	}
	if got := m.Count(policy.KindVirtualService); got != counts["Virt"] {
		t.Errorf("Count(VirtualService) = %d, want %d", got, counts["Virt"])
	}
}

func TestChanges(t *testing.T) {
	const (
		public, internal = "Gateway edge/public", "Gateway edge/internal"
		web              = "VirtualService edge/web"
	)
	tests := []struct {
		reason string
		change func(*mesh.Model) error
		// stored are the objects afterwards; told is what observers hear, in order.
		stored, told []string
	}{
		{
			"put adds", func(m *mesh.Model) error { return m.Put(gateway("edge", "internal")) },
			[]string{internal, public, web},
			[]string{internal},
		},
		{
			"put replaces", func(m *mesh.Model) error { return m.Put(gateway("edge", "public")) },
			[]string{public, web},
			[]string{public},
		},
		{
			"put takes several, of several kinds, in order",
			func(m *mesh.Model) error { return m.Put(virtualService("edge", "web"), gateway("edge", "internal")) },
			[]string{internal, public, web},
			[]string{web, internal},
		},
		{"put takes none", func(m *mesh.Model) error { return m.Put() }, []string{public, web}, nil},
		{
			"one of two that are the same counts once",
			func(m *mesh.Model) error { return m.Put(gateway("edge", "internal"), gateway("edge", "internal")) },
			[]string{internal, public, web},
			[]string{internal, internal},
		},
		{
			"remove", func(m *mesh.Model) error { return m.Remove(gateway("edge", "public").Ref()) },
			[]string{web},
			[]string{public},
		},
		{
			"remove what is not there", func(m *mesh.Model) error { return m.Remove(gateway("edge", "internal").Ref()) },
			[]string{public, web},
			[]string{internal},
		},
		{
			"remove leaves the same name of another kind", func(m *mesh.Model) error { return m.Remove(virtualService("edge", "public").Ref()) },
			[]string{public, web},
			[]string{"VirtualService edge/public"},
		},
		{"replace removes what is not given any more, and then puts the rest", func(m *mesh.Model) error {
			return m.Replace(policy.KindGateway, []policy.Resource{gateway("edge", "internal")})
		}, []string{internal, web}, []string{public, internal}},
		{"replace keeps what is given again", func(m *mesh.Model) error {
			return m.Replace(policy.KindGateway, []policy.Resource{gateway("edge", "public"), gateway("edge", "internal")})
		}, []string{internal, public, web}, []string{public, internal}},
		{
			"replace by nothing", func(m *mesh.Model) error { return m.Replace(policy.KindVirtualService, nil) },
			[]string{public},
			[]string{web},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t, gateway("edge", "public"), virtualService("edge", "web"))
			var told []policy.Ref
			m.Subscribe(func(r policy.Ref) { told = append(told, r) })
			if err := tc.change(m); err != nil {
				t.Fatal(err)
			}
			wantStored(t, m, tc.stored...)
			if diff := cmp.Diff(tc.told, names(told)); diff != "" {
				t.Errorf("what the observer heard (-want +got):\n%s", diff)
			}
		})
	}
}

// foreign is an object of a kind that the model does not hold; impostor says that it is a Gateway.
type (
	foreign  struct{}
	impostor struct{}
)

func (foreign) Ref() policy.Ref  { return policy.Ref{Kind: "Pod", Key: key("edge", "a")} }
func (impostor) Ref() policy.Ref { return policy.Ref{Kind: policy.KindGateway, Key: key("edge", "a")} }

func TestFailedChangesChangeNothing(t *testing.T) {
	tests := []struct {
		reason string
		change func(*mesh.Model) error
		want   string
	}{
		{
			"a kind that is not held, after one that is", func(m *mesh.Model) error { return m.Put(gateway("edge", "internal"), foreign{}) },
			"cannot change the model: put Pod edge/a: invalid table 'Pod'",
		},
		{
			"a value of another type, after a removal", func(m *mesh.Model) error { return m.Replace(policy.KindGateway, []policy.Resource{impostor{}}) },
			"cannot change the model: put Gateway edge/a: failed to build index 'name': not a Gateway: mesh_test.impostor",
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t, gateway("edge", "public"), virtualService("edge", "web"))
			m.Subscribe(func(r policy.Ref) { t.Errorf("the observer is told of %s", r) })
			if err := tc.change(m); err == nil || err.Error() != tc.want {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			wantStored(t, m, "Gateway edge/public", "VirtualService edge/web")
		})
	}
}

// TestObservers tells several observers, each of every change since it came, and only once the model has it.
func TestObservers(t *testing.T) {
	m := newModel(t)
	var first, second []string
	m.Subscribe(func(r policy.Ref) {
		if _, ok := m.World().Gateway(r.Key); !ok {
			t.Errorf("the observer is told of %s before the model has it", r)
		}
		first = append(first, r.Name)
	})
	put := func(name string) {
		if err := m.Put(gateway("edge", name)); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	m.Subscribe(func(r policy.Ref) { second = append(second, r.Name) })
	put("b")
	put("a")
	if diff := cmp.Diff([][]string{{"a", "b", "a"}, {"b", "a"}}, [][]string{first, second}); diff != "" {
		t.Errorf("what the observers heard (-want +got):\n%s", diff)
	}
}
