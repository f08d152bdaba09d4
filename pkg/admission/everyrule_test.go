package admission_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// wrong is a request that one rule objects to.
type wrong struct {
	stored  []object
	request webhook.Request
	// names are what the answer names, besides the rule and its remedy.
	names []string
}

// ingress returns a Gateway "namespace/name" with one server on a port such as "443 HTTPS", which selects the pods labelled
// "istio: ingress".
func ingress(name, port, tls string, hosts ...string) object {
	number, protocol, _ := strings.Cut(port, " ")
	server := map[string]any{"port": map[string]any{"number": json.Number(number), "name": "p", "protocol": protocol}, "hosts": hosts}
	if tls != "" {
		server["tls"] = map[string]any{"mode": tls, "credentialName": "c"}
	}
	return newObject("Gateway", name, map[string]any{"selector": map[string]any{"istio": "ingress"}, "servers": []any{server}})
}

// created returns a copy that was created on that day.
func (o object) created(day string) object {
	return o.with("creationTimestamp", day+"T00:00:00Z")
}

// deployment returns a Deployment "namespace/name" of gateways with the label.
func deployment(name, istio string) object {
	o := newObject("Deployment", name, map[string]any{"template": map[string]any{
		"metadata": map[string]any{"labels": map[string]any{"istio": istio}, "annotations": map[string]any{"inject.istio.io/templates": "gateway"}},
	}})
	o["apiVersion"] = "apps/v1"
	return o
}

// certificate returns a Certificate "namespace/name" of cert-manager that writes a Secret for the hosts.
func certificate(name, secret string, hosts ...string) object {
	o := newObject("Certificate", name, map[string]any{"secretName": secret, "dnsNames": hosts})
	o["apiVersion"] = "cert-manager.io/v1"
	return o
}

// routing returns a copy of a VirtualService with these fields in its spec.
func (o object) routing(fields map[string]any) object {
	spec, _ := o["spec"].(map[string]any)
	for k, v := range spec {
		if _, ok := fields[k]; !ok && k != "http" {
			fields[k] = v
		}
	}
	c := maps.Clone(o)
	c["spec"] = fields
	return c
}

type anyMap = map[string]any

// wrongByRule is a request for each rule.
func wrongByRule() map[string]wrong {
	public, second := gateway("infra/public", "*.example.com"), gateway("infra/second", "*.second.com")
	web := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	used := virtualService("shop/used", []string{"used.example.com"}, "infra/public")
	destination := []any{anyMap{"destination": anyMap{"host": "web"}}}
	sni := func(hosts ...string) anyMap {
		return anyMap{"tls": []any{anyMap{"match": []any{anyMap{"port": 443, "sniHosts": hosts}}, "route": destination}}}
	}
	pass := ingress("infra/public", "443 TLS", "PASSTHROUGH", "*.example.com")
	older, younger := ingress("infra/older", "443 HTTPS", "SIMPLE", "a.example.com"), ingress("shop/younger", "443 HTTPS", "SIMPLE", "a.example.com")
	return map[string]wrong{
		"MW101": {nil, creation(virtualService("shop/web", []string{"a.example.com"}, "infra/gone")), []string{"infra/gone"}},
		"MW102": {[]object{public}, creation(virtualService("shop/web", []string{"a.other.com"}, "infra/public")), []string{"a.other.com", "infra/public"}},
		"MW103": {[]object{public}, creation(web.routing(sni("a.example.com"))), []string{"a.example.com", "infra/public"}},
		"MW104": {
			[]object{ingress("infra/public", "80 HTTP", "", "*.example.com"), deployment("edge/ingress", "ingress")},
			creation(web.routing(anyMap{"exportTo": []string{"."}, "http": []any{anyMap{}}})),
			[]string{"a.example.com", "edge", "infra/public"},
		},
		"MW105": {
			[]object{public, second},
			creation(virtualService("shop/web", []string{"a.example.com"}, "infra/public", "infra/second")),
			[]string{"infra/second", "a.example.com"},
		},
		"MW106": {[]object{public, second}, creation(web.matching("infra/second")), []string{"infra/second"}},
		"MW107": {[]object{pass}, creation(web.routing(sni("a.example.com", "b.other.com"))), []string{"b.other.com", "infra/public"}},
		"MW114": {
			[]object{public},
			creation(web.routing(anyMap{"http": []any{anyMap{"match": []any{anyMap{"port": 8080}}}}})),
			[]string{"a.example.com", "infra/public"},
		},
		"MW201": {
			[]object{older.created("2026-01-01")},
			creation(younger.created("2026-01-02")),
			[]string{"a.example.com", "infra/older"},
		},
		"MW202": {
			[]object{ingress("infra/public", "80 HTTP", "", "*.example.com").created("2026-01-01")},
			creation(ingress("shop/tcp", "80 TCP", "", "*").created("2026-01-02")),
			[]string{"infra/public", "80"},
		},
		"MW203": {
			[]object{ingress("infra/older", "443 HTTPS", "SIMPLE", "shop/a.example.com").created("2026-01-01")},
			creation(younger.created("2026-01-02")),
			[]string{"a.example.com", "infra/older"},
		},
		"MW204": {nil, creation(gateway("shop/web", "*/*", "./a.example.com")), []string{"*/*"}},
		"MW205": {
			[]object{deployment("edge/egress", "egress")}, creation(ingress("infra/public", "80 HTTP", "", "*.example.com")), []string{"ingress"},
		},
		"MW206": {
			[]object{deployment("edge/ingress", "ingress"), newObject("Service", "edge/lb", anyMap{
				"selector": anyMap{"istio": "ingress"}, "ports": []any{anyMap{"port": 443}},
			})},
			creation(ingress("infra/public", "80 HTTP", "", "*.example.com")),
			[]string{"80", "edge/lb"},
		},
		"MW209": {
			[]object{certificate("edge/web", "c", "a.other.com"), deployment("edge/ingress", "ingress")},
			creation(ingress("infra/public", "443 HTTPS", "SIMPLE", "a.example.com")),
			[]string{"edge/web", "a.other.com", "a.example.com"},
		},
		"MW207": {[]object{public, used}, replacement(public, gateway("infra/public", "*.other.com")), []string{"used.example.com", "shop/used"}},
	}
}

// TestEveryRule: each answer says which rule, what is wrong with what, and what to do. What the rule rests on is read again
// first, whatever its kind.
func TestEveryRule(t *testing.T) {
	cases := wrongByRule()
	for _, rule := range policy.Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			c, ok := cases[rule.ID]
			if !ok {
				t.Fatal("the test has no request that this rule objects to")
			}
			w := newWorld(t)
			w.cache(t, c.stored...)
			w.store(t, c.stored...)
			r := w.Handle(t.Context(), c.request)
			want, text := answer{Code: 422, Denied: []string{rule.ID}}, ""
			if rule.Action == policy.Warn {
				want = answer{Allowed: true, Warned: []string{rule.ID}}
			}
			if diff := cmp.Diff(want, summary(r)); diff != "" {
				t.Fatalf("answer (-want +got):\n%s%v%v", diff, r.Warnings, r.Result)
			}
			if rule.Action == policy.Warn {
				text = r.Warnings[0]
			} else {
				text = r.Result.Details.Causes[0].Message
				if !strings.Contains(r.Result.Message, text) || r.Result.Details.Causes[0].Field == "" {
					t.Errorf("message %q lacks the cause %q, or it names no field", r.Result.Message, text)
				}
			}
			for _, part := range append(c.names, rule.ID, rule.Name, rule.Remedy) {
				if !strings.Contains(text, part) {
					t.Errorf("%q lacks %q", text, part)
				}
			}
		})
	}
}
