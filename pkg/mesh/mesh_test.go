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
	return policy.NewGateway(policy.Gateway{Key: key(namespace, name)})
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
			m.Subscribe(func(c mesh.Change) { told = append(told, c.Ref) })
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

// TestPutOfWhatIsThere holds what is told of objects that are put again: those that are read for the sake of others change all
// the time in ways that the model does not hold.
func TestPutOfWhatIsThere(t *testing.T) {
	ingress := func() *policy.Workload {
		return router(policy.KindDeployment, "edge", "ingress", labels{"istio": "ingress"})
	}
	moved := ingress()
	moved.HostNetwork = true
	public := func() *policy.Service { return service("edge", "public", labels{"istio": "ingress"}) }
	renamed := public()
	renamed.Ports = []policy.ServicePort{{Number: 80, TargetName: "http"}}
	tests := []struct {
		reason string
		stored policy.Resource
		put    func(*mesh.Model) error
		told   bool
	}{
		{"a workload as it was", ingress(), func(m *mesh.Model) error { return m.Put(ingress()) }, false},
		{"a workload as it was, with all of its kind", ingress(), func(m *mesh.Model) error {
			return m.Replace(policy.KindDeployment, []policy.Resource{ingress()})
		}, false},
		{"a workload that changed", ingress(), func(m *mesh.Model) error { return m.Put(moved) }, true},
		{"a Service as it was", public(), func(m *mesh.Model) error { return m.Put(public()) }, false},
		{"a Service that changed", public(), func(m *mesh.Model) error { return m.Put(renamed) }, true},
		{"a Secret as it was", &policy.Secret{Key: key("a", "b")}, func(m *mesh.Model) error { return m.Put(&policy.Secret{Key: key("a", "b")}) }, false},
		{"a Secret that changed", &policy.Secret{Key: key("a", "b")}, func(m *mesh.Model) error {
			return m.Put(&policy.Secret{Key: key("a", "b"), Sealed: true})
		}, true},
		{"a Certificate as it was", &policy.Certificate{Key: key("a", "b")}, func(m *mesh.Model) error {
			return m.Put(&policy.Certificate{Key: key("a", "b")})
		}, false},
		{"a Certificate that changed", &policy.Certificate{Key: key("a", "b")}, func(m *mesh.Model) error {
			return m.Put(&policy.Certificate{Key: key("a", "b"), Ready: true})
		}, true},
		{"a Gateway, which has a new generation", gateway("edge", "public"), func(m *mesh.Model) error { return m.Put(gateway("edge", "public")) }, true},
		{"a VirtualService", virtualService("edge", "web"), func(m *mesh.Model) error { return m.Put(virtualService("edge", "web")) }, true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t, tc.stored)
			var told []mesh.Change
			m.Subscribe(func(c mesh.Change) { told = append(told, c) })
			if err := tc.put(m); err != nil {
				t.Fatal(err)
			}
			switch {
			case !tc.told && len(told) > 0:
				t.Errorf("the observer is told of %s", told[0].Ref)
			case tc.told && (len(told) != 1 || told[0].Ref != tc.stored.Ref() || told[0].Before != tc.stored):
				t.Errorf("the observer hears %+v, want one change of %s with what was there before", told, tc.stored.Ref())
			}
			if got, _ := m.World().Object(tc.stored.Ref()); (got == tc.stored) == tc.told {
				t.Errorf("the model keeps what was stored: %t, want %t", got == tc.stored, !tc.told)
			}
			if got := m.Count(tc.stored.Ref().Kind); got != 1 {
				t.Errorf("Count(%s) = %d, want 1", tc.stored.Ref().Kind, got)
			}
		})
	}
}

func TestReplaceOneKindOfWorkloads(t *testing.T) {
	m := newModel(t, workload(policy.KindPod, "a", "w", nil), workload(policy.KindDeployment, "a", "w", nil), workload(policy.KindDeployment, "b", "w", nil))
	if err := m.Replace(policy.KindDeployment, []policy.Resource{workload(policy.KindDeployment, "c", "w", nil)}); err != nil {
		t.Fatal(err)
	}
	w := m.World()
	got := names(slices.Concat(w.Refs(policy.KindDeployment), w.Refs(policy.KindPod)))
	if diff := cmp.Diff([]string{"Deployment c/w", "Pod a/w"}, got); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	if d, p := m.Count(policy.KindDeployment), m.Count(policy.KindPod); d != 1 || p != 1 {
		t.Errorf("Count: %d Deployments and %d Pods, want 1 and 1", d, p)
	}
	if err := m.Remove(policy.Ref{Kind: policy.KindPod, Key: key("a", "w")}); err != nil {
		t.Fatal(err)
	}
	if got := m.Count(policy.KindPod); got != 0 {
		t.Errorf("Count of Pods after the last one is removed: %d", got)
	}
}

// TestConfigure holds that a world keeps the settings that were in force when it began, and who is told of new ones.
func TestConfigure(t *testing.T) {
	m := newModel(t)
	var told []mesh.Change
	m.Subscribe(func(c mesh.Change) { told = append(told, c) })
	scoped := policy.Settings{ScopeGateways: true, RootNamespace: "istio-system", DefaultExportTo: []string{"."}}
	configure := func(s policy.Settings) {
		if err := m.Configure(s); err != nil {
			t.Fatal(err)
		}
	}
	before := m.World()
	configure(policy.Settings{})
	if len(told) > 0 {
		t.Errorf("the observer is told of settings that are as they were: %+v", told)
	}
	configure(scoped)
	configure(policy.Settings{ScopeGateways: true, RootNamespace: "istio-system", DefaultExportTo: []string{"."}})
	if diff := cmp.Diff([]mesh.Change{{}}, told); diff != "" {
		t.Errorf("what the observer heard (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(policy.Settings{}, before.Settings()); diff != "" {
		t.Errorf("the settings of a world that began before (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(scoped, m.World().Settings()); diff != "" {
		t.Errorf("the settings now (-want +got):\n%s", diff)
	}
}

// foreign is an object of a kind that the model does not hold; impostor says that it is a Gateway.
type (
	foreign  struct{}
	impostor struct{}
)

func (foreign) Ref() policy.Ref  { return policy.Ref{Kind: "Namespace", Key: key("edge", "a")} }
func (impostor) Ref() policy.Ref { return policy.Ref{Kind: policy.KindGateway, Key: key("edge", "a")} }

func TestFailedChangesChangeNothing(t *testing.T) {
	tests := []struct {
		reason string
		change func(*mesh.Model) error
		want   string
	}{
		{
			"a kind that is not held, after one that is", func(m *mesh.Model) error { return m.Put(gateway("edge", "internal"), foreign{}) },
			"cannot change the model: put Namespace edge/a: the model holds no mesh_test.foreign as a Namespace",
		},
		{
			"a workload that says it is something else",
			func(m *mesh.Model) error { return m.Put(workload(policy.KindGateway, "edge", "a", nil)) },
			"cannot change the model: put Gateway edge/a: the model holds no *policy.Workload as a Gateway",
		},
		{
			"a value of another type, after a removal", func(m *mesh.Model) error { return m.Replace(policy.KindGateway, []policy.Resource{impostor{}}) },
			"cannot change the model: put Gateway edge/a: the model holds no mesh_test.impostor as a Gateway",
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t, gateway("edge", "public"), virtualService("edge", "web"))
			m.Subscribe(func(c mesh.Change) { t.Errorf("the observer is told of %s", c.Ref) })
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
	m.Subscribe(func(c mesh.Change) {
		if _, ok := m.World().Gateway(c.Ref.Key); !ok {
			t.Errorf("the observer is told of %s before the model has it", c.Ref)
		}
		first = append(first, c.Ref.Name)
	})
	put := func(name string) {
		if err := m.Put(gateway("edge", name)); err != nil {
			t.Fatal(err)
		}
	}
	put("a")
	m.Subscribe(func(c mesh.Change) { second = append(second, c.Ref.Name) })
	put("b")
	put("a")
	if diff := cmp.Diff([][]string{{"a", "b", "a"}, {"b", "a"}}, [][]string{first, second}); diff != "" {
		t.Errorf("what the observers heard (-want +got):\n%s", diff)
	}
}
