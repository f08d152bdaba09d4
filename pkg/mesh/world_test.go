package mesh_test

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestWorldsAreIsolated holds what a judgement relies on: nobody sees what it tries, and it sees nobody else's changes.
func TestWorldsAreIsolated(t *testing.T) {
	m := newModel(t, gateway("edge", "public"))
	one, two := m.World(), m.World()
	if err := m.Put(gateway("edge", "later")); err != nil {
		t.Fatal(err)
	}
	if err := one.Put(gateway("edge", "tried")); err != nil {
		t.Fatal(err)
	}
	two.Remove(gateway("edge", "public").Ref())
	if err := m.Remove(gateway("edge", "public").Ref()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason string
		world  *mesh.World
		want   []string
	}{
		{"the world in which something was put", one, []string{"Gateway edge/public", "Gateway edge/tried"}},
		{"the world in which something was removed", two, nil},
		{"a world of now", m.World(), []string{"Gateway edge/later"}},
	}
	for _, tc := range tests {
		if diff := cmp.Diff(tc.want, stored(tc.world)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
		}
	}
	if got := m.Count(policy.KindGateway); got != 1 {
		t.Errorf("Count = %d, want 1: what happens in a world is not counted", got)
	}
}

func TestLookups(t *testing.T) {
	g, v := gateway("edge", "public"), virtualService("edge", "web")
	w := newModel(t, g, v).World()
	if got, ok := w.Gateway(g.Key); got != g || !ok {
		t.Errorf("Gateway(%s) = %v, %t, want the one that was put", g.Key, got, ok)
	}
	if got, ok := w.VirtualService(v.Key); got != v || !ok {
		t.Errorf("VirtualService(%s) = %v, %t, want the one that was put", v.Key, got, ok)
	}
	for _, absent := range []policy.Key{
		key("edge", "web"), key("edge", "publi"), key("edge", "public2"), key("shop", "public"), key("", ""), key("edge", ""), key("edge/public", ""), key("", "edge/public"),
	} {
		if got, ok := w.Gateway(absent); got != nil || ok {
			t.Errorf("Gateway(%s) = %v, %t, want none", absent, got, ok)
		}
	}
	if got, ok := w.VirtualService(g.Key); got != nil || ok {
		t.Errorf("VirtualService(%s) = %v, %t, want none", g.Key, got, ok)
	}
}

// TestOrder puts objects whose namespaces and names begin with one another: each list is in the order of the namespaces,
// and of the names within one.
func TestOrder(t *testing.T) {
	public := key("edge", "public")
	w := newModel(t,
		virtualService("team-a", "web", public), virtualService("team", "web-2", public), virtualService("team", "web", public),
		virtualService("team", "web.2", public), virtualService("team2", "a", public), virtualService("a", "web", public),
		gateway("team-a", "public"), gateway("team", "public"), gateway("team2", "public"), gateway("team", "public-2"),
		gateway("team", "publi"), gateway("a", "public"),
	).World()
	tests := []struct {
		reason    string
		got, want []string
	}{
		{"VirtualServices of a Gateway", namesOf(w.VirtualServicesOf(public)), []string{
			"VirtualService a/web", "VirtualService team/web", "VirtualService team/web-2", "VirtualService team/web.2",
			"VirtualService team-a/web", "VirtualService team2/a",
		}},
		{"all VirtualServices", names(w.Refs(policy.KindVirtualService)), []string{
			"VirtualService a/web", "VirtualService team/web", "VirtualService team/web-2", "VirtualService team/web.2",
			"VirtualService team-a/web", "VirtualService team2/a",
		}},
		{"Gateways of a name", namesOf(w.GatewaysNamed("public")), []string{
			"Gateway a/public", "Gateway team/public", "Gateway team-a/public", "Gateway team2/public",
		}},
		{"all Gateways", names(w.Refs(policy.KindGateway)), []string{
			"Gateway a/public", "Gateway team/publi", "Gateway team/public", "Gateway team/public-2", "Gateway team-a/public", "Gateway team2/public",
		}},
	}
	for _, tc := range tests {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
		}
	}
}

func TestVirtualServicesOf(t *testing.T) {
	public := key("edge", "public")
	mesh := virtualService("shop", "mesh")
	mesh.Gateways = []policy.GatewayRef{{Written: "mesh", Mesh: true}}
	tests := []struct {
		reason string
		stored *policy.VirtualService
		want   []string
	}{
		{"one that names the Gateway", virtualService("shop", "web", public), []string{"VirtualService shop/web"}},
		{"among others", virtualService("shop", "web", key("edge", "a"), public), []string{"VirtualService shop/web"}},
		{"twice is once", virtualService("shop", "web", public, public), []string{"VirtualService shop/web"}},
		{"another Gateway", virtualService("shop", "web", key("edge", "internal")), nil},
		{"the same name in another namespace", virtualService("shop", "web", key("shop", "public")), nil},
		{"a name that goes on", virtualService("shop", "web", key("edge", "public2")), nil},
		{"a name that goes on after a NUL", virtualService("shop", "web", key("edge", "public\x00")), nil},
		{"a name that goes on as an index entry does", virtualService("shop", "web", key("edge", "public\x00shop\x00web")), nil},
		{"a name that holds namespace and name", virtualService("shop", "web", key("", "edge/public"), key("edge/public", "")), nil},
		{"a NUL between namespace and name", virtualService("shop", "web", key("edge\x00public", ""), key("", "edge\x00public")), nil},
		{"a NUL, and the Gateway as well", virtualService("shop", "web", key("edge", "public\x00a"), public), []string{"VirtualService shop/web"}},
		{"no gateway", virtualService("shop", "web"), nil},
		{"the mesh", mesh, nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t, tc.stored)
			if diff := cmp.Diff(tc.want, namesOf(m.World().VirtualServicesOf(public))); diff != "" {
				t.Errorf("VirtualServicesOf(%s) (-want +got):\n%s", public, diff)
			}
			// A new version without gateways leaves nothing behind in the index.
			if err := m.Put(virtualService(tc.stored.Namespace, tc.stored.Name)); err != nil {
				t.Fatal(err)
			}
			if got := namesOf(m.World().VirtualServicesOf(public)); got != nil {
				t.Errorf("VirtualServicesOf(%s) = %v after the gateways are gone", public, got)
			}
		})
	}
}

// TestNamesWithNUL asks for what a reference in a VirtualService may say and no object can be called: the beginning of an
// index entry is no match.
func TestNamesWithNUL(t *testing.T) {
	public := key("edge", "public")
	w := newModel(t, gateway("edge", "public"), virtualService("shop", "web", public)).World()
	if got := namesOf(w.GatewaysNamed("public\x00edge")); got != nil {
		t.Errorf("Gateways of a name that no Gateway has: %v", got)
	}
	for _, k := range []policy.Key{key("edge", "public\x00shop"), key("edge\x00public", "shop"), key("edge\x00public", ""), key("", "edge\x00public")} {
		if got := namesOf(w.VirtualServicesOf(k)); got != nil {
			t.Errorf("VirtualServices of %q: %v", k, got)
		}
		if g, ok := w.Gateway(k); ok {
			t.Errorf("Gateway(%q) = %s", k, g.Key)
		}
	}
}

// TestStopEarly takes the first of each sequence only.
func TestStopEarly(t *testing.T) {
	public := key("edge", "public")
	w := newModel(t, gateway("a", "public"), gateway("b", "public"), virtualService("a", "web", public), virtualService("b", "web", public)).World()
	for g := range w.GatewaysNamed("public") {
		if g.Namespace != "a" {
			t.Errorf("the first Gateway is %s", g.Key)
		}
		break
	}
	for v := range w.VirtualServicesOf(public) {
		if v.Namespace != "a" {
			t.Errorf("the first VirtualService is %s", v.Key)
		}
		break
	}
}

// TestConcurrentUse has readers and writers at once, for the race detector. A reader must never see half of a write: the
// two objects of each Put exist together or not at all.
func TestConcurrentUse(t *testing.T) {
	m := newModel(t)
	public := gateway("edge", "public")
	web := virtualService("shop", "web", public.Key)
	const rounds = 200
	var group sync.WaitGroup
	group.Go(func() {
		for range rounds {
			if err := m.Put(public, web); err != nil {
				t.Error(err)
			}
			if err := m.Replace(policy.KindGateway, nil); err != nil {
				t.Error(err)
			}
			if err := m.Remove(web.Ref()); err != nil {
				t.Error(err)
			}
		}
	})
	group.Go(func() {
		for range rounds {
			if err := m.Put(virtualService("shop", "other", key("edge", "internal"))); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		group.Go(func() {
			for range rounds {
				w := m.World()
				_, gatewayThere := w.Gateway(public.Key)
				_, webThere := w.VirtualService(web.Key)
				if gatewayThere && !webThere {
					// Between Replace and Remove the VirtualService is alone; the Gateway never is.
					t.Error("a reader sees the first object of a write without the second")
				}
				if (len(namesOf(w.VirtualServicesOf(public.Key))) == 1) != webThere {
					t.Error("a world contradicts itself")
				}
				if err := w.Put(gateway("edge", "tried")); err != nil {
					t.Error(err)
				}
				_ = m.Count(policy.KindGateway)
			}
		})
	}
	group.Wait()
}
