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
		{"a null server is an empty one", `{"servers":[null]}`, []policy.Server{{Portless: true, Hosts: []policy.ServerHost{}}}},
		{
			"a server", `{"servers":[{"port":{"number":443,"name":"tls","protocol":"TLS"},"hosts":["a"]}]}`,
			[]policy.Server{{Port: policy.Port{Number: 443, Name: "tls", Protocol: "TLS"}, Hosts: everyHost}},
		},
		{
			"the largest number of a port", `{"servers":[{"port":{"number":4294967295},"hosts":["a"]}]}`,
			[]policy.Server{{Port: policy.Port{Number: 4294967295}, Hosts: everyHost}},
		},
		{"a null port", `{"servers":[{"port":null,"hosts":["a"]}]}`, []policy.Server{{Portless: true, Hosts: everyHost}}},
		{
			"the Gateway's namespace takes the dot's place", `{"servers":[{"port":{},"hosts":["./a"]}]}`,
			[]policy.Server{{Hosts: []policy.ServerHost{{Namespace: "edge", Name: "a"}}}},
		},
		{
			"fields that no rule reads", `{"selector":{"a":"b"},"servers":[{"port":{},"hosts":["a"],"tls":{"minProtocolVersion":1},"name":1}]}`,
			[]policy.Server{{Hosts: everyHost, TLS: policy.TLSPassthrough}},
		},
		{
			"bind and tls", `{"servers":[{"port":{},"bind":"10.0.0.1","hosts":["a"],"tls":{"mode":"SIMPLE"}}]}`,
			[]policy.Server{{Hosts: everyHost, Bind: "10.0.0.1", TLS: policy.TLSSimple}},
		},
		{
			"a tls block without mode passes through, one that redirects too", `{"servers":[{"port":{},"hosts":["a"],"tls":{}},{"port":{},"hosts":["a"],"tls":{"httpsRedirect":true}}]}`,
			[]policy.Server{{Hosts: everyHost, TLS: policy.TLSPassthrough}, {Hosts: everyHost, TLS: policy.TLSPassthrough}},
		},
		{"a null tls block is none", `{"servers":[{"port":{},"hosts":["a"],"tls":null}]}`, []policy.Server{{Hosts: everyHost}}},
		{
			"a mode by its number, as Istio takes it", `{"servers":[{"port":{},"hosts":["a"],"tls":{"mode":4}}]}`,
			[]policy.Server{{Hosts: everyHost, TLS: policy.TLSIstioMutual}},
		},
		{
			"*/* beside other hosts", `{"servers":[{"port":{},"hosts":["*/*","shop/a"]},{"port":{},"hosts":["*/*","./a"]}]}`,
			[]policy.Server{
				{Hosts: []policy.ServerHost{{Namespace: "*", Name: "*"}}, AnyHostAmongOthers: true},
				{Hosts: []policy.ServerHost{{Namespace: "*", Name: "*"}}, AnyHostAmongOthers: true, Unreadable: true},
			},
		},
		{
			"field names are compared exactly, as the API server does", `{"Servers":[{"hosts":["a"]}],"servers":[{"Hosts":["a"]}]}`,
			[]policy.Server{{Portless: true, Hosts: []policy.ServerHost{}}},
		},
		{
			"without a port nothing is read", `{"servers":[{"hosts":["*/*","./a"]}]}`,
			[]policy.Server{{Portless: true, Hosts: []policy.ServerHost{{Namespace: "*", Name: "*"}}, AnyHostAmongOthers: true}},
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
		{"null entries are empty ones", `{"hosts":[null],"gateways":[null],"exportTo":[null],"http":[null,{"match":[null]}]}`, policy.VirtualService{
			Hosts:    []policy.Host{{}},
			Gateways: []policy.GatewayRef{{Gateway: policy.Key{Namespace: "shop"}}},
			ExportTo: []string{""},
			Matches:  []policy.Match{{Kind: policy.HTTPRoute, Entry: -1}},
			Kinds:    policy.RouteKinds{HTTP: true},
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
			"the dot in exportTo is the namespace, and nothing else is resolved", `{"exportTo":[".","*","~","edge","./a"]}`,
			policy.VirtualService{ExportTo: []string{"shop", "*", "~", "edge", "./a"}},
		},
		{
			"matches come in the order of http, tls and tcp",
			`{"tcp":[{"match":[{"gateways":["c"],"port":9}],"route":[{}]}],"tls":[{},{"match":[{"gateways":["mesh"],"sniHosts":["s"]}]}],
				"http":[{"match":[{},{"gateways":["a","b"]}]}]}`,
			policy.VirtualService{
				Kinds: policy.RouteKinds{HTTP: true, TLS: true, TCP: true},
				Matches: []policy.Match{
					{Kind: policy.HTTPRoute},
					{Kind: policy.HTTPRoute, Entry: 1, Gateways: []policy.GatewayRef{
						{Written: "a", Gateway: policy.Key{Namespace: "shop", Name: "a"}}, {Written: "b", Gateway: policy.Key{Namespace: "shop", Name: "b"}},
					}},
					{Kind: policy.TLSRoute, Route: 1, Idle: true, Gateways: []policy.GatewayRef{{Written: "mesh", Mesh: true}}, SNIHosts: []policy.HostName{"s"}},
					{Kind: policy.TCPRoute, Port: 9, Gateways: []policy.GatewayRef{{Written: "c", Gateway: policy.Key{Namespace: "shop", Name: "c"}}}},
				},
			},
		},
		{
			"of the http matches that ask for nothing, the first", `{"http":[{"match":[{"port":80},{"uri":{"prefix":"/"}}]},{"match":[{},{"sourceNamespace":"a"}]},{}]}`,
			policy.VirtualService{Kinds: policy.RouteKinds{HTTP: true}, Matches: []policy.Match{
				{Kind: policy.HTTPRoute, Port: 80},
				{Kind: policy.HTTPRoute, Entry: 1},
				{Kind: policy.HTTPRoute, Route: 1, Entry: 1, SourceNamespace: "a"},
			}},
		},
		{"an http route without match", `{"http":[{},{}]}`, policy.VirtualService{
			Kinds: policy.RouteKinds{HTTP: true}, Matches: []policy.Match{{Kind: policy.HTTPRoute, Entry: -1}},
		}},
		{
			"tcp routes without match, and one without destination", `{"tcp":[{"route":[{"destination":{}}]},{}]}`,
			policy.VirtualService{Kinds: policy.RouteKinds{TCP: true}, Matches: []policy.Match{
				{Kind: policy.TCPRoute, Entry: -1}, {Kind: policy.TCPRoute, Route: 1, Entry: -1, Idle: true},
			}},
		},
		{
			"a tls route without match has no way in", `{"tls":[{"route":[{"destination":{}}]}]}`, policy.VirtualService{Kinds: policy.RouteKinds{TLS: true}},
		},
		{
			"what a match asks of the source counts for http alone",
			`{"http":[{"match":[{"sourceLabels":{"a":"b"},"sourceNamespace":"n"}]}],"tls":[{"match":[{"sourceLabels":{"a":"b"},"sourceNamespace":"n"}],"route":[{}]}],
				"tcp":[{"match":[{"sourceLabels":{"a":"b"},"sourceNamespace":"n"}],"route":[{}]}]}`,
			policy.VirtualService{
				Kinds: policy.RouteKinds{HTTP: true, TLS: true, TCP: true},
				Matches: []policy.Match{
					{Kind: policy.HTTPRoute, SourceLabels: map[string]string{"a": "b"}, SourceNamespace: "n"},
					{Kind: policy.TLSRoute},
					{Kind: policy.TCPRoute},
				},
			},
		},
		{"fields that no rule reads", `{"http":[{"timeout":1,"match":[{"uri":1}]}]}`, policy.VirtualService{
			Kinds: policy.RouteKinds{HTTP: true}, Matches: []policy.Match{{Kind: policy.HTTPRoute}},
		}},
		{"fields that Istio has for other routes only", `{"http":[{"match":[{"sniHosts":1}]}]}`, policy.VirtualService{
			Kinds: policy.RouteKinds{HTTP: true}, Matches: []policy.Match{{Kind: policy.HTTPRoute}},
		}},
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
	want := policy.NewGateway(policy.Gateway{
		Key: policy.Key{Namespace: "edge", Name: "public"},
		Servers: []policy.Server{{
			Port:  policy.Port{Number: 80, Name: "http"},
			Hosts: []policy.ServerHost{{Namespace: policy.EveryNamespace, Name: "a.example.com"}},
		}},
	})
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
		{"a selector of another type", gatewayOf(`{"selector":"a"}`), "spec.selector: must be an object, not a string"},
		{"a selector's value of another type", gatewayOf(`{"selector":{"a":1}}`), "spec.selector: must be a string, not a number"},
		{"a mode of tls that there is not", gatewayOf(`{"servers":[{"tls":{"mode":"SIMPLE"}},{"tls":{"mode":"simple"}}]}`), `spec.servers[1].tls.mode: there is no mode "simple"`},
		{"tls that is text", gatewayOf(`{"servers":[{"tls":"SIMPLE"}]}`), "spec.servers.tls: must be an object, not a string"},
		{"exportTo of another type", virtualServiceOf(`{"exportTo":[1]}`), "spec.exportTo: must be a string, not a number"},
		{"destinations of another type", virtualServiceOf(`{"http":[{"route":"text"}]}`), "spec.http.route: must be a list, not a string"},
		{"a destination of another type", virtualServiceOf(`{"tcp":[{"route":[1]}]}`), "spec.tcp.route: must be an object, not a number"},
		{"a match's port of another type", virtualServiceOf(`{"http":[{"match":[{"port":"http"}]}]}`), "spec.http.match.port: must be a whole number from 0 to 4294967295, not a string"},
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
