package istio_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
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
	out := policy.Gateway{
		Key: policy.Key{Namespace: g.Namespace, Name: g.Name}, Created: createdOf(g), Selector: spec.Selector, Servers: []policy.Server{},
	}
	for _, s := range spec.Servers {
		server := policy.Server{
			Portless: s.GetPort() == nil,
			Port:     policy.Port{Number: s.GetPort().GetNumber(), Name: s.GetPort().GetName(), Protocol: s.GetPort().GetProtocol()},
			Bind:     s.GetBind(),
		}
		if s.GetTls() != nil {
			server.TLS = policy.TLSMode(s.GetTls().GetMode().String())
			server.Credentials, server.CA = credentialsByProto(s.GetTls())
		}
		server.Hosts, server.AnyHostAmongOthers, server.Unreadable = istio.ParseServerHosts(s.GetHosts(), g.Namespace)
		server.Unreadable = server.Unreadable && !server.Portless
		out.Servers = append(out.Servers, server)
	}
	return policy.NewGateway(out), nil
}

// credentialsByProto goes the way of BuildListenerTLSContext and ApplyCredentialSDSToServerCommonTLSContext.
func credentialsByProto(t *networkingv1.ServerTLSSettings) (pairs []policy.Credential, ca policy.Credential) {
	for i, name := range t.GetCredentialNames() {
		pairs = append(pairs, istio.ParseCredential(fmt.Sprintf("tls.credentialNames[%d]", i), name))
	}
	if pairs == nil && t.GetCredentialName() != "" {
		pairs = []policy.Credential{istio.ParseCredential("tls.credentialName", t.GetCredentialName())}
	}
	if name := t.GetCaCertCredentialName(); name != "" {
		ca = istio.ParseCredential("tls.caCertCredentialName", name)
	}
	return pairs, ca
}

// virtualServiceByProto translates a VirtualService by way of Istio's own type.
func virtualServiceByProto(v *istio.VirtualService) (*policy.VirtualService, error) {
	spec := &networkingv1.VirtualService{}
	if err := spec.UnmarshalJSON(v.Spec); err != nil {
		return nil, err
	}
	out := &policy.VirtualService{
		Key:   policy.Key{Namespace: v.Namespace, Name: v.Name},
		Kinds: policy.RouteKinds{HTTP: len(spec.Http) > 0, TLS: len(spec.Tls) > 0, TCP: len(spec.Tcp) > 0},
	}
	for _, h := range spec.Hosts {
		out.Hosts = append(out.Hosts, policy.Host{Written: h, Name: istio.ResolveHost(h, v.Namespace, clusterDomain)})
	}
	out.Gateways = resolved(spec.Gateways, v.Namespace)
	for _, e := range spec.ExportTo {
		if e == "." {
			e = v.Namespace
		}
		out.ExportTo = append(out.ExportTo, e)
	}
	for r, route := range spec.Http {
		if len(route.GetMatch()) == 0 {
			out.Matches = append(out.Matches, policy.Match{Kind: policy.HTTPRoute, Route: r, Entry: -1})
		}
		for i, m := range route.GetMatch() {
			out.Matches = append(out.Matches, policy.Match{
				Kind: policy.HTTPRoute, Route: r, Entry: i, Gateways: resolved(m.GetGateways(), v.Namespace), Port: m.GetPort(),
				SourceLabels: m.GetSourceLabels(), SourceNamespace: m.GetSourceNamespace(),
			})
		}
	}
	out.Matches = withoutFreeRepeats(out.Matches)
	for r, route := range spec.Tls {
		for i, m := range route.GetMatch() {
			out.Matches = append(out.Matches, policy.Match{
				Kind: policy.TLSRoute, Route: r, Entry: i, Gateways: resolved(m.GetGateways(), v.Namespace), Port: m.GetPort(),
				SNIHosts: hostNames(m.GetSniHosts()), Idle: len(route.GetRoute()) == 0,
			})
		}
	}
	for r, route := range spec.Tcp {
		idle := len(route.GetRoute()) == 0
		if len(route.GetMatch()) == 0 {
			out.Matches = append(out.Matches, policy.Match{Kind: policy.TCPRoute, Route: r, Entry: -1, Idle: idle})
		}
		for i, m := range route.GetMatch() {
			out.Matches = append(out.Matches, policy.Match{
				Kind: policy.TCPRoute, Route: r, Entry: i, Gateways: resolved(m.GetGateways(), v.Namespace), Port: m.GetPort(), Idle: idle,
			})
		}
	}
	return out, nil
}

// withoutFreeRepeats leaves out the http matches that ask for nothing, but for the first one.
func withoutFreeRepeats(matches []policy.Match) []policy.Match {
	free := false
	return slices.DeleteFunc(matches, func(m policy.Match) bool {
		if len(m.Gateways) > 0 || m.Port != 0 || len(m.SourceLabels) > 0 || m.SourceNamespace != "" {
			return false
		}
		repeated := free
		free = true
		return repeated
	})
}

func resolved(written []string, namespace string) []policy.GatewayRef {
	var refs []policy.GatewayRef
	for _, w := range written {
		refs = append(refs, istio.ResolveGateway(w, namespace))
	}
	return refs
}

func hostNames(written []string) []policy.HostName {
	var names []policy.HostName
	for _, w := range written {
		names = append(names, policy.HostName(w))
	}
	return names
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

// fixtureObjects returns the objects of every fixture that are of one of the kinds.
func fixtureObjects(tb testing.TB, kinds ...policy.Kind) []istio.Object {
	tb.Helper()
	fixtures, err := fixture.Load(os.DirFS("../../testdata/rules"))
	if err != nil {
		tb.Fatal(err)
	}
	var objects []istio.Object
	for _, f := range fixtures {
		for _, u := range append(f.Stored, f.Submitted) {
			kind, ok := istio.KindOf(u.GroupVersionKind().GroupKind())
			if !ok {
				tb.Fatalf("%s: %s is no object of the mesh", f.Path, u.GroupVersionKind())
			}
			if !slices.Contains(kinds, kind) {
				continue
			}
			o, _ := istio.NewObject(kind)
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
	for _, o := range fixtureObjects(t, policy.KindGateway, policy.KindVirtualService) {
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
		`{"hosts":["web"],"gateways":["mesh"],"tls":[{"match":[{"sniHosts":["a"],"gateways":["b.c"]}]}]}`, `{"http":[{"timeout":"x"}]}`, `null`, `{"hosts":null}`,
		`{"exportTo":[".","*"],"http":[{"match":[{"port":80,"sourceLabels":{"a":"b"},"sourceNamespace":"n"},{}],"route":[{}]},{"delegate":{"name":"a"}},{}]}`,
		`{"tls":[{"match":[{"sniHosts":["a"],"port":443}],"route":[{"destination":{"host":"a"}}]},{}],"tcp":[{"match":[{"port":9}],"route":[null]},{"route":[{}]}]}`)
}

func FuzzTranslateGateway(f *testing.F) {
	fuzzTranslate(f, policy.KindGateway,
		`{"servers":[{"port":{"number":80.0},"hosts":["*/*","./a"]}]}`, `{"servers":[{"port":{"number":"80"}}]}`, `{"servers":[null]}`, `{"servers":null}`,
		`{"selector":{"istio":"ingress"},"servers":[{"bind":"10.0.0.1","tls":{}},{"tls":{"mode":"MUTUAL"}},{"tls":{"mode":4}},{"tls":{"httpsRedirect":true}}]}`,
		`{"servers":[{"tls":{"credentialName":"a","credentialNames":["b","c/d"]}},{"tls":{"credentialNames":[],"credentialName":"sds://e","caCertCredentialName":"f"}}]}`)
}

// fuzzTranslate feeds any text as a spec: nothing may panic, and what Istio reads is read to the same values.
func fuzzTranslate(f *testing.F, kind policy.Kind, more ...string) {
	seen := map[string]bool{}
	for _, o := range fixtureObjects(f, kind) {
		if spec := *specOf(o); !seen[string(spec)] {
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
		*specOf(o) = bytes.Clone(spec)
		_, _ = istio.Translator{ClusterDomain: clusterDomain}.Translate(o)
		if stored, ok := asStored(spec); ok {
			*specOf(o) = stored
			compare(t, o)
		}
	})
}

func specOf(o istio.Object) *json.RawMessage {
	switch o := o.(type) {
	case *istio.Gateway:
		return &o.Spec
	case *istio.VirtualService:
		return &o.Spec
	case *istio.Service:
		return &o.Spec
	case *istio.Deployment:
		return &o.Spec
	case *istio.Pod:
		return &o.Spec
	}
	return nil
}

// createdOf is the second in which the object was created, or 0 when it does not say so.
func createdOf(o istio.Object) int64 {
	if created := o.GetCreationTimestamp(); !created.IsZero() {
		return created.Unix()
	}
	return 0
}
