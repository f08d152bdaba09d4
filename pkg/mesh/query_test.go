package mesh_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// labels is a selector, or what it is compared with.
type labels = map[string]string

func selecting(name string, selector labels) *policy.Gateway {
	return policy.NewGateway(policy.Gateway{Key: key("edge", name), Selector: selector})
}

func workload(kind policy.Kind, namespace, name string, l labels) *policy.Workload {
	return &policy.Workload{Reference: policy.Ref{Kind: kind, Key: key(namespace, name)}, Labels: l}
}

func router(kind policy.Kind, namespace, name string, l labels) *policy.Workload {
	w := workload(kind, namespace, name, l)
	w.Router = true
	return w
}

func service(namespace, name string, selector labels) *policy.Service {
	return &policy.Service{Key: key(namespace, name), Selector: selector}
}

// sorted are the names of what comes in no particular order. One that comes twice is there twice.
func sorted[R policy.Resource](objects iter.Seq[R]) []string {
	found := namesOf(objects)
	slices.Sort(found)
	return found
}

// bothWays builds the world of the objects twice: stored in the model, and put into an empty world.
func bothWays(t *testing.T, objects ...policy.Resource) map[string]*mesh.World {
	t.Helper()
	put := newModel(t).World()
	for _, o := range objects {
		if err := put.Put(o); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]*mesh.World{"stored": newModel(t, objects...).World(), "put": put}
}

func TestWorkloadsSelectedBy(t *testing.T) {
	objects := []policy.Resource{
		router(policy.KindDeployment, "edge", "public", labels{"istio": "ingress", "app": "public"}),
		router(policy.KindDaemonSet, "edge", "public", labels{"istio": "ingress", "app": "node"}),
		router(policy.KindDeployment, "a", "z", labels{"istio": "ingress"}),
		workload(policy.KindStatefulSet, "edge", "public", labels{"istio": "ingressgateway"}),
		workload(policy.KindPod, "shop", "web", labels{"istio": "ingress", "app": "web"}),
		workload(policy.KindPod, "shop", "bare", nil),
		workload(policy.KindPod, "shop", "equals", labels{"a=b": "c", "a": "b=c"}),
	}
	tests := []struct {
		reason   string
		selector labels
		want     []string
	}{
		{"ordered by kind, namespace and name", labels{"istio": "ingress"}, []string{
			"DaemonSet edge/public", "Deployment a/z", "Deployment edge/public", "Pod shop/web",
		}},
		{"all pairs count", labels{"istio": "ingress", "app": "public"}, []string{"Deployment edge/public"}},
		{"a pair that no workload has, before one that some have", labels{"app": "none", "istio": "ingress"}, nil},
		{"the beginning of a value", labels{"istio": "ingres"}, nil},
		{"no value", labels{"istio": ""}, nil},
		{"a label alone is not enough", labels{"app": "public", "other": ""}, nil},
		{"no selector takes those that are known to be gateways", nil, []string{"DaemonSet edge/public", "Deployment a/z", "Deployment edge/public"}},
		{"an empty selector does so as well", labels{}, []string{"DaemonSet edge/public", "Deployment a/z", "Deployment edge/public"}},
		{"an equals sign in a label", labels{"a=b": "c"}, []string{"Pod shop/equals"}},
		{"an equals sign elsewhere", labels{"a=b=c": ""}, nil},
	}
	for way, w := range bothWays(t, objects...) {
		for _, tc := range tests {
			t.Run(way+"/"+tc.reason, func(t *testing.T) {
				if diff := cmp.Diff(tc.want, namesOf(w.WorkloadsSelectedBy(tc.selector))); diff != "" {
					t.Errorf("WorkloadsSelectedBy(%v) (-want +got):\n%s", tc.selector, diff)
				}
			})
		}
	}
}

func TestRouters(t *testing.T) {
	tests := []struct {
		reason  string
		objects []policy.Resource
		want    bool
	}{
		{"nothing", nil, false},
		{"a workload that is none", []policy.Resource{workload(policy.KindPod, "edge", "a", labels{"istio": "ingress"})}, false},
		{"one that is", []policy.Resource{router(policy.KindPod, "edge", "a", nil)}, true},
	}
	for _, tc := range tests {
		for way, w := range bothWays(t, tc.objects...) {
			if got := w.Routers(); got != tc.want {
				t.Errorf("%s (%s): Routers() = %t", tc.reason, way, got)
			}
		}
	}
}

func TestGatewaysBySelector(t *testing.T) {
	objects := []policy.Resource{
		selecting("every", nil),
		selecting("empty", labels{}),
		selecting("ingress", labels{"istio": "ingress"}),
		selecting("public", labels{"istio": "ingress", "app": "public"}),
		selecting("app", labels{"app": "public"}),
		selecting("other", labels{"istio": "egress"}),
		selecting("bare", labels{"": ""}),
		selecting("nul", labels{"istio": "ingress\x00", "istio\x07ingress": ""}),
	}
	tests := []struct {
		reason             string
		labels             labels
		selecting, holding []string
	}{
		{
			"one pair",
			labels{"istio": "ingress"},
			[]string{"empty", "every", "ingress"},
			[]string{"ingress", "public"},
		},
		{
			"several pairs",
			labels{"istio": "ingress", "app": "public", "version": "1"},
			[]string{"app", "empty", "every", "ingress", "public"},
			nil,
		},
		{
			"several pairs of one selector",
			labels{"istio": "ingress", "app": "public"},
			[]string{"app", "empty", "every", "ingress", "public"},
			[]string{"public"},
		},
		{
			"nothing", nil,
			[]string{"empty", "every"},
			[]string{"app", "bare", "empty", "every", "ingress", "nul", "other", "public"},
		},
		{"the empty label", labels{"": ""}, []string{"bare", "empty", "every"}, []string{"bare"}},
		{"a value that nothing selects", labels{"istio": "none"}, []string{"empty", "every"}, nil},
	}
	names := func(short []string) []string {
		var full []string
		for _, s := range short {
			full = append(full, "Gateway edge/"+s)
		}
		return full
	}
	for way, w := range bothWays(t, objects...) {
		for _, tc := range tests {
			t.Run(way+"/"+tc.reason, func(t *testing.T) {
				if diff := cmp.Diff(names(tc.selecting), sorted(w.GatewaysSelecting(tc.labels))); diff != "" {
					t.Errorf("GatewaysSelecting(%v) (-want +got):\n%s", tc.labels, diff)
				}
				if diff := cmp.Diff(names(tc.holding), sorted(w.GatewaysWithin(tc.labels))); diff != "" {
					t.Errorf("GatewaysWithin(%v) (-want +got):\n%s", tc.labels, diff)
				}
			})
		}
	}
}

func TestServices(t *testing.T) {
	objects := []policy.Resource{
		service("edge", "public", labels{"istio": "ingress"}),
		service("edge", "both", labels{"istio": "ingress", "app": "public"}),
		service("edge", "other", labels{"istio": "egress"}),
		service("edge", "headless", nil),
		service("edge", "empty", labels{}),
		service("shop", "elsewhere", labels{"istio": "ingress"}),
	}
	tests := []struct {
		reason, namespace string
		labels            labels
		want              []string
	}{
		{"one pair", "edge", labels{"istio": "ingress"}, []string{"Service edge/public"}},
		{"more pairs than the selector has", "edge", labels{"istio": "ingress", "app": "public", "a": "b"}, []string{"Service edge/both", "Service edge/public"}},
		{"another namespace", "shop", labels{"istio": "ingress", "app": "public"}, []string{"Service shop/elsewhere"}},
		{"a namespace without any", "none", labels{"istio": "ingress"}, nil},
		{"no labels", "edge", nil, nil},
	}
	for way, w := range bothWays(t, objects...) {
		for _, tc := range tests {
			t.Run(way+"/"+tc.reason, func(t *testing.T) {
				if diff := cmp.Diff(tc.want, sorted(w.ServicesSelecting(tc.namespace, tc.labels))); diff != "" {
					t.Errorf("ServicesSelecting(%s, %v) (-want +got):\n%s", tc.namespace, tc.labels, diff)
				}
			})
		}
		all := []string{"Service edge/both", "Service edge/empty", "Service edge/headless", "Service edge/other", "Service edge/public", "Service shop/elsewhere"}
		if diff := cmp.Diff(all, namesOf(w.Services())); diff != "" {
			t.Errorf("Services (%s) (-want +got):\n%s", way, diff)
		}
	}
}

// TestRefsOfOneKind holds that the workloads, which share a table, are told apart by kind.
func TestRefsOfOneKind(t *testing.T) {
	objects := []policy.Resource{
		workload(policy.KindPod, "a", "w", nil), workload(policy.KindDeployment, "b", "w", nil), workload(policy.KindDeployment, "a", "w", nil),
		service("a", "w", nil), gateway("a", "w"), virtualService("a", "w"),
	}
	tests := []struct {
		kind policy.Kind
		want []string
	}{
		{policy.KindDeployment, []string{"Deployment a/w", "Deployment b/w"}},
		{policy.KindPod, []string{"Pod a/w"}},
		{policy.KindDaemonSet, nil},
		{policy.KindStatefulSet, nil},
		{policy.KindService, []string{"Service a/w"}},
		{policy.KindGateway, []string{"Gateway a/w"}},
		{policy.KindVirtualService, []string{"VirtualService a/w"}},
		{"Workload", nil},
		{"Settings", nil},
		{"", nil},
	}
	for way, w := range bothWays(t, objects...) {
		for _, tc := range tests {
			if diff := cmp.Diff(tc.want, names(w.Refs(tc.kind))); diff != "" {
				t.Errorf("Refs(%s) (%s) (-want +got):\n%s", tc.kind, way, diff)
			}
			ref := policy.Ref{Kind: tc.kind, Key: key("a", "w")}
			if o, ok := w.Object(ref); ok != slices.Contains(names(w.Refs(tc.kind)), ref.String()) || ok && o.Ref() != ref {
				t.Errorf("Object(%s) (%s) = %v, %t", ref, way, o, ok)
			}
		}
	}
}
