package istio_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func gatewayOf(spec string) *istio.Gateway {
	return &istio.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "public"}, Spec: json.RawMessage(spec)}
}

func virtualServiceOf(spec string) *istio.VirtualService {
	return &istio.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: json.RawMessage(spec)}
}

func TestTranslateGateway(t *testing.T) {
	everyHost := []policy.ServerHost{{Namespace: "*", Name: "a"}}
	tests := []struct {
		reason, spec string
		want         []policy.Server
	}{
		{"no spec", "", []policy.Server{}},
		{"a null spec", "null", []policy.Server{}},
		{"an empty spec", "{}", []policy.Server{}},
		{"null servers", `{"servers":null}`, []policy.Server{}},
		{"a null server is an empty one", `{"servers":[null]}`, []policy.Server{{Hosts: []policy.ServerHost{}}}},
		{
			"a server", `{"servers":[{"port":{"number":443,"name":"tls","protocol":"TLS"},"hosts":["a"]}]}`,
			[]policy.Server{{Port: policy.Port{Number: 443, Name: "tls", Protocol: "TLS"}, Hosts: everyHost}},
		},
		{
			"the largest number of a port", `{"servers":[{"port":{"number":4294967295},"hosts":["a"]}]}`,
			[]policy.Server{{Port: policy.Port{Number: 4294967295}, Hosts: everyHost}},
		},
		{"a null port", `{"servers":[{"port":null,"hosts":["a"]}]}`, []policy.Server{{Hosts: everyHost}}},
		{
			"the Gateway's namespace takes the dot's place", `{"servers":[{"hosts":["./a"]}]}`,
			[]policy.Server{{Hosts: []policy.ServerHost{{Namespace: "edge", Name: "a"}}}},
		},
		{
			"fields that no rule reads", `{"selector":{"a":1},"servers":[{"hosts":["a"],"tls":{"mode":"SIMPLE"},"name":1}]}`,
			[]policy.Server{{Hosts: everyHost}},
		},
		{
			"field names are compared exactly, as the API server does", `{"Servers":[{"hosts":["a"]}],"servers":[{"Hosts":["a"]}]}`,
			[]policy.Server{{Hosts: []policy.ServerHost{}}},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.Translator{}.Gateway(gatewayOf(tc.spec))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Servers); diff != "" {
				t.Errorf("servers (-want +got):\n%s", diff)
			}
			if want := (policy.Key{Namespace: "edge", Name: "public"}); got.Key != want {
				t.Errorf("key %s, want %s", got.Key, want)
			}
		})
	}
}

func TestTranslateVirtualService(t *testing.T) {
	tests := []struct {
		reason, spec string
		want         policy.VirtualService
	}{
		{"no spec", "", policy.VirtualService{}},
		{"a null spec", "null", policy.VirtualService{}},
		{"null lists", `{"hosts":null,"gateways":null,"http":null,"tls":null,"tcp":null}`, policy.VirtualService{}},
		{"null entries are empty ones", `{"hosts":[null],"gateways":[null],"http":[null,{"match":[null]}]}`, policy.VirtualService{
			Hosts:    []policy.Host{{}},
			Gateways: []policy.GatewayRef{{Gateway: policy.Key{Namespace: "shop"}}},
		}},
		{"hosts and gateways are resolved", `{"hosts":["web","a.example.com"],"gateways":["mesh","public","public.edge"]}`, policy.VirtualService{
			Hosts: []policy.Host{{Written: "web", Name: "web.shop.svc.cluster.local"}, {Written: "a.example.com", Name: "a.example.com"}},
			Gateways: []policy.GatewayRef{
				{Written: "mesh", Mesh: true},
				{Written: "public", Gateway: policy.Key{Namespace: "shop", Name: "public"}},
				{Written: "public.edge", Gateway: policy.Key{Namespace: "edge", Name: "public"}},
			},
		}},
		{
			"the gateways of matches come in the order of http, tls and tcp",
			`{"tcp":[{"match":[{"gateways":["c"]}]}],"tls":[{},{"match":[{"gateways":["mesh"]}]}],"http":[{"match":[{},{"gateways":["a","b"]}]}]}`,
			policy.VirtualService{RouteGateways: []policy.RouteGateway{
				{GatewayRef: policy.GatewayRef{Written: "a", Gateway: policy.Key{Namespace: "shop", Name: "a"}}, Path: "spec.http[0].match[1].gateways[0]"},
				{GatewayRef: policy.GatewayRef{Written: "b", Gateway: policy.Key{Namespace: "shop", Name: "b"}}, Path: "spec.http[0].match[1].gateways[1]"},
				{GatewayRef: policy.GatewayRef{Written: "mesh", Mesh: true}, Path: "spec.tls[1].match[0].gateways[0]"},
				{GatewayRef: policy.GatewayRef{Written: "c", Gateway: policy.Key{Namespace: "shop", Name: "c"}}, Path: "spec.tcp[0].match[0].gateways[0]"},
			}},
		},
		{"fields that no rule reads", `{"exportTo":[1],"http":[{"route":"text"}]}`, policy.VirtualService{}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.Translator{ClusterDomain: "cluster.local"}.VirtualService(virtualServiceOf(tc.spec))
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Key = policy.Key{Namespace: "shop", Name: "web"}
			if diff := cmp.Diff(&tc.want, got); diff != "" {
				t.Errorf("VirtualService (-want +got):\n%s", diff)
			}
		})
	}
}

// What Istio's own types take beyond the lean reading is taken, too: a CRD without a schema lets it through.
func TestTranslateSpellingsOfIstio(t *testing.T) {
	want := policy.NewGateway(policy.Key{Namespace: "edge", Name: "public"}, []policy.Server{{
		Port:  policy.Port{Number: 80, Name: "http"},
		Hosts: []policy.ServerHost{{Namespace: policy.EveryNamespace, Name: "a.example.com"}},
	}})
	for _, tc := range []struct{ reason, spec string }{
		{"a number in quotes", `{"servers":[{"port":{"number":"80","name":"http"},"hosts":["a.example.com"]}]}`},
		{"a null in a list elsewhere", `{"servers":[{"port":{"number":"80","name":"http"},"hosts":["a.example.com"],"bind":null}]}`},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.Translator{}.Gateway(gatewayOf(tc.spec))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
				t.Errorf("Gateway (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTranslateErrors(t *testing.T) {
	tests := []struct {
		reason string
		object any
		want   string
	}{
		{"servers of another type", gatewayOf(`{"servers":{}}`), "spec.servers: must be a list, not an object"},
		{"a host of another type", gatewayOf(`{"servers":[{"hosts":[1]}]}`), "spec.servers.hosts: must be a string, not a number"},
		{"hosts of another type", gatewayOf(`{"servers":[{"hosts":"a"}]}`), "spec.servers.hosts: must be a list, not a string"},
		{"a port's number as text that is none", gatewayOf(`{"servers":[{"port":{"number":"many"}}]}`), "spec.servers.port.number: must be a whole number from 0 to 4294967295, not a string"},
		{"a port's number below zero", gatewayOf(`{"servers":[{"port":{"number":-1}}]}`), "spec.servers.port.number: must be a whole number from 0 to 4294967295, not a number -1"},
		{"a port's number beyond 32 bits", gatewayOf(`{"servers":[{"port":{"number":4294967296}}]}`), "spec.servers.port.number: must be a whole number from 0 to 4294967295, not a number 4294967296"},
		{"a fraction of a port's number", gatewayOf(`{"servers":[{"port":{"number":80.5}}]}`), "spec.servers.port.number: must be a whole number from 0 to 4294967295, not a number 80.5"},
		{"a spec of another type", gatewayOf(`[]`), "spec: must be an object, not a list"},
		{"a spec that is text", virtualServiceOf(`"a"`), "spec: must be an object, not a string"},
		{"a spec that breaks off", virtualServiceOf(`{"hosts":`), "spec: unexpected end of JSON input"},
		{"hosts of another type in a VirtualService", virtualServiceOf(`{"hosts":"a"}`), "spec.hosts: must be a list, not a string"},
		{"a match of another type", virtualServiceOf(`{"http":[{"match":{}}]}`), "spec.http.match: must be a list, not an object"},
		{"a route of another type", virtualServiceOf(`{"tcp":[1]}`), "spec.tcp: must be an object, not a number"},
		{"a match's gateways of another type", virtualServiceOf(`{"tls":[{"match":[{"gateways":[{}]}]}]}`), "spec.tls.match.gateways: must be a string, not an object"},
		{"no object of the mesh", "text", "not an object of the mesh: string"},
		{"a value where a pointer is meant", istio.Gateway{}, "not an object of the mesh: istio.Gateway"},
		{"nothing", nil, "not an object of the mesh: <nil>"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.Translator{}.Translate(tc.object)
			if got != nil {
				t.Errorf("Translate returns %v beside its error", got)
			}
			if err == nil || err.Error() != tc.want {
				t.Errorf("Translate: %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTranslate(t *testing.T) {
	for _, o := range []istio.Object{gatewayOf("{}"), virtualServiceOf("{}")} {
		got, err := istio.Translator{}.Translate(o)
		if err != nil {
			t.Fatal(err)
		}
		want := policy.Key{Namespace: o.GetNamespace(), Name: o.GetName()}
		if got.Ref().Key != want {
			t.Errorf("Translate(%T) is %s, want %s", o, got.Ref(), want)
		}
	}
}
