package audit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// server returns a server with one host.
func server(port uint32, protocol string, tls policy.TLSMode, namespace string, host policy.HostName) policy.Server {
	return policy.Server{
		Port: policy.Port{Number: port, Name: "p", Protocol: protocol}, TLS: tls,
		Hosts: []policy.ServerHost{{Namespace: namespace, Name: host}},
	}
}

// selecting returns a Gateway infra/name of that age with the selector.
func selecting(selector map[string]string, name string, age int64, servers ...policy.Server) *policy.Gateway {
	return policy.NewGateway(policy.Gateway{
		Key: policy.Key{Namespace: "infra", Name: name}, Created: age, Selector: selector, Servers: servers,
	})
}

// ingress is the same with the selector "istio: <istio>".
func ingress(name string, age int64, istio string, servers ...policy.Server) *policy.Gateway {
	return selecting(map[string]string{"istio": istio}, name, age, servers...)
}

// deployment returns a Deployment edge/name of gateways that are labelled "istio: <istio>".
func deployment(name, istio string) *policy.Workload {
	return &policy.Workload{
		Reference: policy.Ref{Kind: policy.KindDeployment, Key: policy.Key{Namespace: "edge", Name: name}},
		Labels:    map[string]string{"istio": istio}, Router: true,
	}
}

// service returns the Service edge/first of the pods labelled "istio: <istio>".
func service(istio string, ports ...policy.ServicePort) *policy.Service {
	return &policy.Service{
		Key: policy.Key{Namespace: "edge", Name: "first"}, Selector: map[string]string{"istio": istio}, Ports: ports,
	}
}

// passing returns a VirtualService shop/name with a tls route for its host.
func passing(name, host, gateway string) *policy.VirtualService {
	v := virtualService(name, host, gateway)
	v.Kinds = policy.RouteKinds{TLS: true}
	v.Matches = []policy.Match{{Kind: policy.TLSRoute, SNIHosts: []policy.HostName{policy.HostName(host)}}}
	return v
}

func exportedTo(v *policy.VirtualService, namespaces ...string) *policy.VirtualService {
	v.ExportTo = namespaces
	return v
}

// asking returns a Gateway infra/name of the ingress that asks for the Secret with the certificate of a.example.com.
func asking(name, secret string) *policy.Gateway {
	s := server(443+uint32(len(name)), "HTTPS", policy.TLSSimple, policy.EveryNamespace, "a.example.com")
	s.Credentials = []policy.Credential{{Field: "tls.credentialName", Name: secret}}
	return ingress(name, 1, "ingress", s)
}

// mutual is the same with a check of the clients' certificates.
func mutual(name, secret string) *policy.Gateway {
	g := *asking(name, secret)
	g.Servers[0].TLS = policy.TLSMutual
	return policy.NewGateway(g)
}

// certificate returns a Certificate of the Secret's name for the hosts.
func certificate(namespace, secret string, hosts ...string) *policy.Certificate {
	return &policy.Certificate{Key: policy.Key{Namespace: namespace, Name: secret}, SecretName: secret, Names: hosts}
}

// secret returns the Secret edge/name with the certificate, and with a CA that is valid at any time.
func secret(name string, pair policy.Material) *policy.Secret {
	return &policy.Secret{
		Key: policy.Key{Namespace: "edge", Name: name}, Pair: pair,
	}
}

// happening is what happens in the mesh, what is made known of it, and how many findings stand after it.
type happening struct {
	what     string
	do       func(*testing.T, *world)
	told     []string
	standing float64
}

// TestAuditorFollowsWhatGatewaysRunOn: whatever an object's verdict depends on, a change of it has the object judged again.
func TestAuditorFollowsWhatGatewaysRunOn(t *testing.T) {
	put := func(objects ...policy.Resource) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { t.Helper(); w.put(t, objects...) }
	}
	remove := func(o policy.Resource) func(*testing.T, *world) {
		return func(t *testing.T, w *world) { t.Helper(); w.remove(t, o.Ref()) }
	}
	configure := func(s policy.Settings) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			t.Helper()
			if err := w.model.Configure(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	https := func(host policy.HostName) policy.Server {
		return server(443, "HTTPS", policy.TLSSimple, policy.EveryNamespace, host)
	}
	http := server(80, "HTTP", policy.NoTLS, policy.EveryNamespace, "*.example.com")
	public := ingress("public", 1, "ingress", http)
	bound := func(s policy.Server) policy.Server {
		s.Bind = "0.0.0.0"
		return s
	}
	passThrough := server(443, "TLS", policy.TLSPassthrough, policy.EveryNamespace, "*.example.com")
	automatic := func(namespace string) policy.Server {
		return server(15443, "TLS", policy.TLSAutoPassthrough, namespace, "*.local")
	}
	app, ingressApp := map[string]string{"app": "gw"}, map[string]string{"istio": "ingress", "app": "gw"}
	tests := []struct {
		reason string
		events []happening
	}{
		{"a workload that is relabelled leaves the Gateway that selected it, and the VirtualServices of that", []happening{
			{"in order", put(public, deployment("in", "ingress"), deployment("out", "egress"), exportedTo(virtualService("web", "a.example.com", "public"), "edge")), nil, 0},
			{"relabelled", put(deployment("in", "other")), []string{"WorkloadNotFound infra/public", "NotExported shop/web"}, 2},
			{"back", put(deployment("in", "ingress")), nil, 0},
			{"gone", remove(deployment("in", "ingress")), []string{"WorkloadNotFound infra/public", "NotExported shop/web"}, 2},
		}},
		{"the first workload that is a gateway says that the others are known as well", []happening{
			{"nothing is known", put(public), nil, 0},
			{"something is", put(deployment("out", "egress")), []string{"WorkloadNotFound infra/public"}, 1},
			{"nothing again", remove(deployment("out", "egress")), nil, 0},
		}},
		{"an older Gateway that takes a younger one's host: the younger one has lost", []happening{
			{"in order", put(ingress("old", 1, "ingress", https("a.example.com")), ingress("young", 2, "ingress", https("b.example.com"))), nil, 0},
			{"taken", put(ingress("old", 1, "ingress", https("b.example.com"))), []string{"TlsHostTaken infra/young"}, 1},
			{"to other workloads", put(ingress("old", 1, "egress", https("b.example.com"))), nil, 0},
			{"and back", put(ingress("old", 1, "ingress", https("b.example.com"))), []string{"TlsHostTaken infra/young"}, 1},
			{"gone", remove(ingress("old", 1, "ingress")), nil, 0},
		}},
		{"a workload that two Gateways come to share", []happening{
			{"apart", put(
				deployment("in", "ingress"), ingress("old", 1, "ingress", https("a.example.com")),
				selecting(app, "young", 2, https("a.example.com")),
				&policy.Workload{Reference: deployment("apart", "").Reference, Labels: app, Router: true},
			), nil, 0},
			{"together", put(&policy.Workload{Reference: deployment("in", "").Reference, Labels: ingressApp, Router: true}), []string{"TlsHostTaken infra/young"}, 1},
			{"apart again", put(deployment("in", "ingress")), nil, 0},
		}},
		{"most Gateways at once, one of which takes the host of one that stays as it is", []happening{
			{"in order", put(
				ingress("old", 1, "ingress", https("a.example.com")), ingress("young", 2, "ingress", https("b.example.com")),
				ingress("third", 3, "ingress", http), ingress("fourth", 4, "ingress", http),
			), nil, 0},
			{"taken", put(
				ingress("old", 1, "ingress", https("b.example.com")), ingress("third", 3, "ingress", http), ingress("fourth", 4, "ingress", http),
			), []string{"TlsHostTaken infra/young"}, 1},
		}},
		{"Gateways of unrelated selectors that share a workload", []happening{
			{"in order", put(
				&policy.Workload{Reference: deployment("in", "").Reference, Labels: ingressApp, Router: true},
				ingress("old", 1, "ingress", https("a.example.com")), selecting(app, "young", 2, https("b.example.com")),
			), nil, 0},
			{"taken", put(ingress("old", 1, "ingress", https("b.example.com"))), []string{"TlsHostTaken infra/young"}, 1},
		}},
		{"Gateways that share what nobody knows: the one that changes asks for less", []happening{
			{"in order", put(ingress("old", 1, "ingress", https("a.example.com")), selecting(ingressApp, "young", 2, https("b.example.com"))), nil, 0},
			{"taken", put(ingress("old", 1, "ingress", https("b.example.com"))), []string{"TlsHostTaken infra/young"}, 1},
		}},
		{"Gateways that share what nobody knows: the one that changes asks for more", []happening{
			{"in order", put(selecting(ingressApp, "old", 1, https("a.example.com")), ingress("young", 2, "ingress", https("b.example.com"))), nil, 0},
			{"taken", put(selecting(ingressApp, "old", 1, https("b.example.com"))), []string{"TlsHostTaken infra/young"}, 1},
		}},
		{"a Service that leads two ports to one", []happening{
			{"apart", put(
				deployment("in", "ingress"), service("ingress", policy.ServicePort{Number: 80, Protocol: "TCP", Target: 8080}, policy.ServicePort{Number: 9000, Protocol: "TCP", Target: 9000}),
				public, ingress("young", 2, "ingress", server(9000, "TCP", policy.NoTLS, policy.EveryNamespace, "*")),
			), nil, 0},
			{"to one", put(service("ingress", policy.ServicePort{Number: 80, Protocol: "TCP", Target: 9000})), []string{"PortConflict infra/young"}, 1},
			{"gone", remove(service("ingress")), nil, 0},
		}},
		{"a Service that exposes a port no longer", []happening{
			{"in order", put(deployment("in", "ingress"), service("ingress", policy.ServicePort{Number: 80, Protocol: "TCP", Target: 80}), public), nil, 0},
			{"another port", put(service("ingress", policy.ServicePort{Number: 443, Protocol: "TCP", Target: 443})), []string{"PortNotExposed infra/public"}, 1},
			{"of other pods", put(service("egress", policy.ServicePort{Number: 443, Protocol: "TCP", Target: 443})), nil, 0},
		}},
		{"a VirtualService whose tls route doubles a filter chain", []happening{
			{"in order", put(
				ingress("old", 1, "ingress", passThrough), ingress("young", 2, "ingress", bound(passThrough)), passing("first", "a.example.com", "old"),
			), nil, 0},
			{"the second one", put(passing("second", "a.example.com", "young")), []string{"DuplicateFilterChain infra/young"}, 1},
			{"moves on", put(passing("second", "b.example.com", "young")), nil, 0},
			{"and back", put(passing("second", "a.example.com", "young")), []string{"DuplicateFilterChain infra/young"}, 1},
			{"the first one goes", remove(passing("first", "", "")), nil, 0},
		}},
		{"any Service, where two servers have chains for all of them", []happening{
			{"in order", put(ingress("old", 1, "ingress", automatic("infra")), ingress("young", 2, "ingress", automatic("shop"))), nil, 0},
			{"one for both", put(&policy.Service{
				Key: policy.Key{Namespace: "shop", Name: "web"}, Ports: []policy.ServicePort{{Number: 80, Protocol: "TCP"}},
			}), []string{"DuplicateFilterChain infra/young"}, 1},
		}},
		{"a Certificate that writes the Secret elsewhere, and then where the workload runs", []happening{
			{"in order", put(deployment("in", "ingress"), asking("public", "tls"), asking("other", "tls-2")), nil, 0},
			{"elsewhere", put(certificate("infra", "tls", "a.example.com")), []string{"Credential infra/public"}, 1},
			{"for another Gateway", put(certificate("infra", "tls-2", "a.example.com")), []string{"Credential infra/other"}, 2},
			{"not any more", remove(certificate("infra", "tls-2")), nil, 1},
			{"here, with another host", put(certificate("edge", "tls", "b.example.com")), []string{"Credential infra/public"}, 1},
			{"and with this one", put(certificate("edge", "tls", "a.example.com")), nil, 0},
		}},
		{"a Secret that breaks, and goes", []happening{
			{"in order", put(deployment("in", "ingress"), asking("public", "tls"), secret("tls", policy.Material{Names: []string{"a.example.com"}})), nil, 0},
			{"broken", put(secret("tls", policy.Material{Fault: "tls.key is missing"})), []string{"Credential infra/public"}, 1},
			{"not known any more", remove(secret("tls", policy.Material{})), nil, 0},
		}},
		{"a Secret with the CA alone, which counts before the other one", []happening{
			{"in order", put(deployment("in", "ingress"), mutual("public", "tls"), secret("tls", policy.Material{Names: []string{"a.example.com"}})), nil, 0},
			{"broken", put(&policy.Secret{Key: policy.Key{Namespace: "edge", Name: "tls-cacert"}, CA: policy.Material{Fault: "no PEM"}}), []string{"Credential infra/public"}, 1},
			{"gone", remove(secret("tls-cacert", policy.Material{})), nil, 0},
		}},
		{"the mesh's settings", []happening{
			{"in order", put(public, deployment("in", "ingress"), virtualService("web", "a.example.com", "public")), nil, 0},
			{"hidden by default", configure(policy.Settings{ClusterDomain: "cluster.local", DefaultExportTo: []string{"."}}), []string{"NotExported shop/web"}, 1},
			{"and shown", configure(policy.Settings{ClusterDomain: "cluster.local"}), nil, 0},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				configure(policy.Settings{ClusterDomain: "cluster.local"})(t, w)
				w.lead(t)
				for _, e := range tc.events {
					e.do(t, w)
					w.settle()
					w.tick(3)
					if diff := cmp.Diff(e.told, w.told()); diff != "" {
						t.Errorf("%s: told (-want +got):\n%s", e.what, diff)
					}
					if got := w.standing(t); got != e.standing {
						t.Errorf("%s: %v findings stand instead of %v", e.what, got, e.standing)
					}
				}
			})
		})
	}
}

// TestAuditorRemembersWhatWas: two changes within one period are one, and what the first version touched is judged too.
func TestAuditorRemembersWhatWas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		public := ingress("public", 1, "ingress", server(80, "HTTP", policy.NoTLS, policy.EveryNamespace, "*.example.com"))
		w.put(t, public, deployment("in", "ingress"), deployment("out", "egress"))
		w.lead(t)
		w.settle()
		w.put(t, deployment("in", "between"))
		w.put(t, deployment("in", "other"))
		w.settle()
		if diff := cmp.Diff([]string{"WorkloadNotFound infra/public"}, w.told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestAuditorRoundIsBounded: a change that touches everything on a workload is judged in several rounds, and what the first
// ones find is told before the last one has begun.
func TestAuditorRoundIsBounded(t *testing.T) {
	const gateways = 200
	inWorld(t, func(t *testing.T, w *world) {
		https := server(443, "HTTPS", policy.TLSSimple, policy.EveryNamespace, "a.example.com")
		w.put(t, ingress("g000", 1, "ingress", server(443, "HTTPS", policy.TLSSimple, policy.EveryNamespace, "b.example.com")))
		for i := 1; i < gateways; i++ {
			https.Hosts = []policy.ServerHost{{Namespace: policy.EveryNamespace, Name: policy.HostName(fmt.Sprintf("h%d.example.com", i))}}
			w.put(t, ingress(fmt.Sprintf("g%03d", i), 1+int64(i), "ingress", https))
		}
		w.lead(t)
		w.settle()
		if got := w.told(); len(got) > 0 {
			t.Fatalf("told %v", got)
		}
		all := policy.Server{Port: https.Port, TLS: https.TLS}
		for i := 1; i < gateways; i++ {
			all.Hosts = append(all.Hosts, policy.ServerHost{Namespace: policy.EveryNamespace, Name: policy.HostName(fmt.Sprintf("h%d.example.com", i))})
		}
		w.put(t, ingress("g000", 1, "ingress", all))
		w.tick(1)
		w.cluster.change(func(c *fakeCluster) {
			c.judged = nil
			c.judging = func() { w.clock.Step(100 * time.Millisecond) }
		})
		w.clock.Step(period)
		synctest.Wait()
		first := w.recorder.events[0]
		if got := first.judged; got == 0 || got > 40 {
			t.Errorf("%d objects were judged before the first was told of", got)
		}
		if got := len(w.told()); got != gateways-1 || w.standing(t) != gateways-1 {
			t.Errorf("told of %d", got)
		}
	})
}
