package istio_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "istio.io/api/networking/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

const clusterDomain = "cluster.local"

// gatewayByProto translates a Gateway by way of Istio's own type, as istiod reads it.
func gatewayByProto(g *istio.Gateway) (*policy.Gateway, error) {
	spec := &networkingv1.Gateway{}
	if err := spec.UnmarshalJSON(g.Spec); err != nil {
		return nil, err
	}
	servers := []policy.Server{}
	for _, s := range spec.Servers {
		servers = append(servers, policy.Server{
			Port:  policy.Port{Number: s.GetPort().GetNumber(), Name: s.GetPort().GetName(), Protocol: s.GetPort().GetProtocol()},
			Hosts: istio.ParseServerHosts(s.GetHosts(), g.Namespace),
		})
	}
	return policy.NewGateway(policy.Key{Namespace: g.Namespace, Name: g.Name}, servers), nil
}

// virtualServiceByProto translates a VirtualService by way of Istio's own type.
func virtualServiceByProto(v *istio.VirtualService) (*policy.VirtualService, error) {
	spec := &networkingv1.VirtualService{}
	if err := spec.UnmarshalJSON(v.Spec); err != nil {
		return nil, err
	}
	out := &policy.VirtualService{Key: policy.Key{Namespace: v.Namespace, Name: v.Name}}
	for _, h := range spec.Hosts {
		out.Hosts = append(out.Hosts, policy.Host{Written: h, Name: istio.ResolveHost(h, v.Namespace, clusterDomain)})
	}
	for _, g := range spec.Gateways {
		out.Gateways = append(out.Gateways, istio.ResolveGateway(g, v.Namespace))
	}
	add := func(kind string, route, match int, gateways []string) {
		for i, g := range gateways {
			path := fmt.Sprintf("spec.%s[%d].match[%d].gateways[%d]", kind, route, match, i)
			out.RouteGateways = append(out.RouteGateways, policy.RouteGateway{GatewayRef: istio.ResolveGateway(g, v.Namespace), Path: path})
		}
	}
	for r, route := range spec.Http {
		for m, match := range route.GetMatch() {
			add("http", r, m, match.GetGateways())
		}
	}
	for r, route := range spec.Tls {
		for m, match := range route.GetMatch() {
			add("tls", r, m, match.GetGateways())
		}
	}
	for r, route := range spec.Tcp {
		for m, match := range route.GetMatch() {
			add("tcp", r, m, match.GetGateways())
		}
	}
	return out, nil
}

// compare translates the object both ways. What Istio reads, the package reads as well and to the same values; it may read
// more, because the fields that it skips can be wrong.
func compare(t *testing.T, o istio.Object) {
	t.Helper()
	var want policy.Resource
	var protoErr error
	switch o := o.(type) {
	case *istio.Gateway:
		want, protoErr = gatewayByProto(o)
	case *istio.VirtualService:
		want, protoErr = virtualServiceByProto(o)
	}
	got, err := istio.Translator{ClusterDomain: clusterDomain}.Translate(o)
	if protoErr != nil {
		return
	}
	if err != nil {
		t.Fatalf("Istio reads what we do not: %v", err)
	}
	if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("values (-Istio +ours):\n%s", diff)
	}
}

// fixtureObjects returns every object of every fixture, and demands that Istio's own types read it.
func fixtureObjects(tb testing.TB) []istio.Object {
	tb.Helper()
	fixtures, err := fixture.Load(os.DirFS("../../testdata/rules"))
	if err != nil {
		tb.Fatal(err)
	}
	var objects []istio.Object
	for _, f := range fixtures {
		for _, u := range append(f.Stored, f.Submitted) {
			o, ok := istio.NewObject(policy.Kind(u.GetKind()))
			if !ok {
				tb.Fatalf("%s: %s is no object of the mesh", f.Path, u.GetKind())
			}
			raw, err := u.MarshalJSON()
			if err == nil {
				err = utiljson.Unmarshal(raw, o)
			}
			if err != nil {
				tb.Fatalf("%s: %v", f.Path, err)
			}
			objects = append(objects, o)
		}
	}
	return objects
}

func TestSameValuesAsIstiosTypes(t *testing.T) {
	for _, o := range fixtureObjects(t) {
		var err error
		switch o := o.(type) {
		case *istio.Gateway:
			_, err = gatewayByProto(o)
		case *istio.VirtualService:
			_, err = virtualServiceByProto(o)
		}
		if err != nil {
			t.Errorf("Istio cannot read %s/%s: %v", o.GetNamespace(), o.GetName(), err)
		}
		compare(t, o)
	}
}

// asStored returns the text as an API server hands it out, or false where it would not store it: its reader keeps the last
// of several fields of one name, and its schema takes no port number in quotes, which Istio's types would.
func asStored(text []byte) ([]byte, bool) {
	var value map[string]any
	if utiljson.Unmarshal(text, &value) != nil || value == nil {
		return nil, false
	}
	stored, err := json.Marshal(value)
	return stored, err == nil
}

func FuzzTranslateVirtualService(f *testing.F) {
	fuzzTranslate(f, policy.KindVirtualService,
		`{"hosts":["web"],"gateways":["mesh"],"tls":[{"match":[{"sniHosts":["a"],"gateways":["b.c"]}]}]}`, `{"http":[{"timeout":"x"}]}`, `null`, `{"hosts":null}`)
}

func FuzzTranslateGateway(f *testing.F) {
	fuzzTranslate(f, policy.KindGateway,
		`{"servers":[{"port":{"number":80.0},"hosts":["*/*","./a"]}]}`, `{"servers":[{"port":{"number":"80"}}]}`, `{"servers":[null]}`, `{"servers":null}`)
}

// fuzzTranslate feeds any text as a spec: nothing may panic, and what Istio reads is read to the same values.
func fuzzTranslate(f *testing.F, kind policy.Kind, more ...string) {
	seen := map[string]bool{}
	for _, o := range fixtureObjects(f) {
		var spec json.RawMessage
		switch o := o.(type) {
		case *istio.Gateway:
			spec = o.Spec
		case *istio.VirtualService:
			spec = o.Spec
		}
		if same, _ := istio.NewObject(kind); reflect.TypeOf(same) == reflect.TypeOf(o) && !seen[string(spec)] {
			seen[string(spec)] = true
			f.Add([]byte(spec))
		}
	}
	for _, spec := range more {
		f.Add([]byte(spec))
	}
	f.Fuzz(func(t *testing.T, spec []byte) {
		o, _ := istio.NewObject(kind)
		o.SetNamespace("shop")
		o.SetName("web")
		setSpec(o, spec)
		_, _ = istio.Translator{ClusterDomain: clusterDomain}.Translate(o)
		if stored, ok := asStored(spec); ok {
			setSpec(o, stored)
			compare(t, o)
		}
	})
}

func setSpec(o istio.Object, spec []byte) {
	switch o := o.(type) {
	case *istio.Gateway:
		o.Spec = bytes.Clone(spec)
	case *istio.VirtualService:
		o.Spec = bytes.Clone(spec)
	}
}
