package policy

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// carriesNaively is what hostIndex.carries stands for.
func carriesNaively(servers []Server, host HostName, namespace string) bool {
	for _, s := range servers {
		for _, h := range s.Hosts {
			if (h.Namespace == "*" || h.Namespace == namespace) && h.Name.Overlaps(host) {
				return true
			}
		}
	}
	return false
}

// randomHost returns a name of few letters, so that names meet often.
func randomHost(r *rand.Rand) HostName {
	const letters = "aAb.."
	name := make([]byte, r.IntN(7))
	for i := range name {
		name[i] = letters[r.IntN(len(letters))]
	}
	switch r.IntN(4) {
	case 0:
		return HostName("*" + string(name))
	case 1:
		return HostName("*." + string(name))
	}
	return HostName(name)
}

func TestCarriesLikeALinearSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	namespaces := []string{"*", "shop", "edge", ""}
	carried := 0
	const meshes, questions = 2000, 50
	for range meshes {
		servers := make([]Server, r.IntN(4))
		for i := range servers {
			for range r.IntN(4) {
				h := ServerHost{Namespace: namespaces[r.IntN(len(namespaces))], Name: randomHost(r)}
				servers[i].Hosts = append(servers[i].Hosts, h)
			}
		}
		g := NewGateway(Gateway{Key: Key{"edge", "public"}, Servers: servers})
		for range questions {
			host, namespace := randomHost(r), namespaces[1+r.IntN(len(namespaces)-1)]
			want := carriesNaively(servers, host, namespace)
			if want {
				carried++
			}
			if got := g.Carries(host, namespace); got != want {
				t.Fatalf("%v carries %q for namespace %q: %t, want %t", servers, host, namespace, got, want)
			}
		}
	}
	if carried < meshes*questions/10 || carried > meshes*questions*9/10 {
		t.Errorf("%d of %d random hosts were carried: the test has no force", carried, meshes*questions)
	}
}

func TestNearMiss(t *testing.T) {
	everywhere := func(name HostName) ServerHost { return ServerHost{Namespace: EveryNamespace, Name: name} }
	in := func(namespace string, name HostName) ServerHost { return ServerHost{Namespace: namespace, Name: name} }
	tests := []struct {
		reason    string
		entries   []ServerHost
		host      HostName
		want      ServerHost
		otherCase bool
		found     bool
	}{
		{"nothing is near", []ServerHost{everywhere("b.example.com"), in("edge", "c.example.com")}, "a.example.com", ServerHost{}, false, false},
		{"no entry at all", nil, "a.example.com", ServerHost{}, false, false},
		{"the namespace part", []ServerHost{everywhere("b"), in("edge", "a")}, "a", in("edge", "a"), false, true},
		{"a pattern for another namespace", []ServerHost{in("edge", "*.example.com")}, "a.example.com", in("edge", "*.example.com"), false, true},
		{"letter case of the entry", []ServerHost{everywhere("A.example.com")}, "a.example.com", everywhere("A.example.com"), true, true},
		{"letter case of the host", []ServerHost{everywhere("a.example.com")}, "A.example.com", everywhere("a.example.com"), true, true},
		{"letter case of a pattern", []ServerHost{everywhere("*.Example.com")}, "a.example.com", everywhere("*.Example.com"), true, true},
		{"letter case of a pattern that is asked for", []ServerHost{everywhere("a.example.com")}, "*.Example.com", everywhere("a.example.com"), true, true},
		{"letter case where the namespace fits", []ServerHost{in("shop", "A")}, "a", in("shop", "A"), true, true},
		{"the namespace part before letter case", []ServerHost{everywhere("A"), in("edge", "a")}, "a", in("edge", "a"), false, true},
		{"the first of several", []ServerHost{in("edge", "a"), in("team-a", "a")}, "a", in("edge", "a"), false, true},
		{"two things wrong at once are not near", []ServerHost{in("edge", "A")}, "a", ServerHost{}, false, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, otherCase, found := NewGateway(Gateway{Servers: []Server{{Hosts: tc.entries}}}).hosts.nearMiss(tc.host, "shop")
			if got != tc.want || otherCase != tc.otherCase || found != tc.found {
				t.Errorf("nearMiss(%q) = %v, %t, %t, want %v, %t, %t", tc.host, got, otherCase, found, tc.want, tc.otherCase, tc.found)
			}
		})
	}
}

// largeMesh holds one Gateway and one VirtualService.
type largeMesh struct {
	Mesh

	gateway        *Gateway
	virtualService *VirtualService
}

func (m largeMesh) Settings() Settings { return Settings{} }

func (m largeMesh) Routers() bool { return false }

func (m largeMesh) WorkloadsSelectedBy(map[string]string) iter.Seq[*Workload] {
	return slices.Values[[]*Workload](nil)
}

func (m largeMesh) GatewaysSelecting(map[string]string) iter.Seq[*Gateway] {
	return slices.Values([]*Gateway{m.gateway})
}

func (m largeMesh) GatewaysWithin(map[string]string) iter.Seq[*Gateway] {
	return slices.Values([]*Gateway{m.gateway})
}

func (m largeMesh) Gateway(k Key) (*Gateway, bool) { return m.gateway, k == m.gateway.Key }

func (m largeMesh) GatewaysNamed(string) iter.Seq[*Gateway] {
	return slices.Values([]*Gateway{m.gateway})
}

func (m largeMesh) VirtualServicesOf(Key) iter.Seq[*VirtualService] {
	return slices.Values([]*VirtualService{m.virtualService})
}

// TestLargeObjects judges ten thousand hosts against ten thousand: were the entries searched one after the other, the run
// would not end in a test's time.
func TestLargeObjects(t *testing.T) {
	const n = 10_000
	carrying := func(format string) *Gateway {
		http := Port{Number: 80, Name: "http", Protocol: "HTTP"}
		servers := []Server{{Port: http}, {Port: http, Hosts: []ServerHost{{Namespace: "other", Name: "*"}}}}
		for i := range n {
			servers[0].Hosts = append(servers[0].Hosts, ServerHost{Namespace: "shop", Name: HostName(fmt.Sprintf(format, i))})
		}
		return NewGateway(Gateway{Key: Key{"edge", "public"}, Servers: servers})
	}
	v := &VirtualService{
		Key: Key{"shop", "web"}, Kinds: RouteKinds{HTTP: true}, Matches: []Match{{Kind: HTTPRoute, Entry: -1}}, Gateways: []GatewayRef{{Gateway: Key{"edge", "public"}}},
	}
	for i := range n {
		name := fmt.Sprintf("h%d.example.com", i)
		v.Hosts = append(v.Hosts, Host{Written: name, Name: HostName(name)})
	}
	served, patterns, unserved := carrying("h%d.example.com"), carrying("*%d.example.com"), carrying("x%d.example.com")
	tests := []struct {
		reason string
		mesh   largeMesh
		object Object
		want   int
	}{
		{"all served", largeMesh{gateway: served, virtualService: v}, Object{VirtualService: v}, 0},
		{"all served by patterns", largeMesh{gateway: patterns, virtualService: v}, Object{VirtualService: v}, 0},
		{"none served", largeMesh{gateway: unserved, virtualService: v}, Object{VirtualService: v}, n},
		{"all orphaned", largeMesh{gateway: unserved, virtualService: v}, Object{Gateway: unserved, Replaced: served}, n},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, len(Evaluate(tc.mesh, tc.object, Rules()))); diff != "" {
				t.Errorf("number of findings (-want +got):\n%s", diff)
			}
		})
	}
}
