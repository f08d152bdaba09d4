package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/istio"
)

// ingress is a gateway's workload in the namespace edge, a Gateway on it in the namespace default, and a VirtualService.
const ingress = `apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress, namespace: edge}
spec: {template: {metadata: {labels: {istio: ingress}}, spec: {containers: [{name: proxy, args: [proxy, router]}]}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public}
spec: {selector: {istio: ingress}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example.com]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [a.example.com], gateways: [public], http: [{}]}
`

// TestSettings: the mesh-wide settings are read from the input, and options go before them.
func TestSettings(t *testing.T) {
	config := func(text string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio-1-30, namespace: istio-system}\ndata:\n  mesh: |\n    " + text + "\n"
	}
	istiod := func(labels, container string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {" + labels + "}}\n" +
			"spec: {template: {spec: {containers: [" + container + "]}}}\n"
	}
	const scope = "{name: discovery, env: [{name: PILOT_SCOPE_GATEWAY_TO_NAMESPACE, value: 'true'}]}"
	everywhere, no := []string{"*"}, false
	tests := []struct {
		reason, input string
		given         istio.MeshSettings
		want          []string
		problems      []string
	}{
		{"none", "", istio.MeshSettings{}, nil, nil},
		{"the default export", config("defaultVirtualServiceExportTo: ['.']"), istio.MeshSettings{}, []string{"-:14 MW104"}, nil},
		{"an option before it", config("defaultVirtualServiceExportTo: ['.']"), istio.MeshSettings{DefaultExportTo: everywhere}, nil, nil},
		{"a mesh configuration in another namespace", strings.Replace(config("defaultVirtualServiceExportTo: ['.']"), "istio-system", "shop", 1), istio.MeshSettings{}, nil, nil},
		{"an empty one", config(""), istio.MeshSettings{}, nil, nil},
		{"the scope of Gateways", istiod("app: istiod", scope), istio.MeshSettings{}, []string{"-:9 MW205"}, nil},
		{"an option before it, too", istiod("app: istiod", scope), istio.MeshSettings{ScopeGateways: &no}, nil, nil},
		{"another Deployment", istiod("app: other", scope), istio.MeshSettings{}, nil, nil},
		{"of two, the first", istiod("app: istiod", scope) + strings.Replace(istiod("app: istiod", strings.Replace(scope, "true", "false", 1)), "name: istiod", "name: istiod-2", 1), istio.MeshSettings{}, []string{"-:9 MW205"}, nil},
		{"an istiod that cannot be read", istiod("app: istiod", "{name: 5}"), istio.MeshSettings{}, nil, []string{
			"standard input:19: Deployment istio-system/istiod cannot be judged: spec.template.spec.containers.name: must be a string, not a number",
		}},
		{"a mesh configuration that cannot be read", config("rootNamespace: [a]"), istio.MeshSettings{}, nil, []string{
			"standard input:20: ConfigMap istio-system/istio-1-30 cannot be judged: data.mesh: rootNamespace: must be a string, not a list",
		}},
		{"one that is no YAML", config("a: [b"), istio.MeshSettings{}, nil, []string{
			"standard input:20: ConfigMap istio-system/istio-1-30 cannot be judged: data.mesh: yaml: line 1: did not find expected ',' or ']'",
		}},
		{
			"one that blows up",
			config("a: &a [" + strings.Repeat("x,", 1000) + "]\n    b: &b [" + strings.Repeat("*a,", 1000) + "]\n    c: [" + strings.Repeat("*b,", 1000) + "]"),
			istio.MeshSettings{},
			nil,
			[]string{"standard input:20: ConfigMap istio-system/istio-1-30 cannot be judged: data.mesh: the object is larger than 3 MiB, which is more than an API server stores"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			o := defaults()
			o.Mesh = tc.given
			r := run(t, o, ingress+tc.input, "-")
			if diff := cmp.Diff([][]string{tc.want, tc.problems}, [][]string{places(r), texts(r.Problems)}); diff != "" {
				t.Errorf("findings and problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAge: who loses a conflict is the younger one, and an object that was never stored is younger than all before it.
func TestAge(t *testing.T) {
	secure := func(name, created string) string {
		return "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: " + name + ", creationTimestamp: " + created + "}\n" +
			"spec: {selector: {istio: ingress}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE}, hosts: [a.example.com]}]}\n---\n"
	}
	const earlier, later = "'2020-01-01T00:00:00Z'", "'2030-01-01T00:00:00Z'"
	tests := []struct {
		reason, input, want string
	}{
		{"neither was stored: the order of the input", secure("b", "null") + secure("a", "null"), "default/a"},
		{"both were stored: their times", secure("a", later) + secure("b", earlier), "default/a"},
		{"one was stored, and comes last", secure("a", "null") + secure("b", later), "default/a"},
		{"both were stored at once: their names", secure("b", later) + secure("a", later), "default/b"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			r := run(t, defaults(), tc.input, "-")
			if len(r.Findings) != 1 || r.Findings[0].Rule != "MW201" || r.Findings[0].Object.Key.String() != tc.want {
				t.Errorf("findings %+v, want MW201 on %s alone", r.Findings, tc.want)
			}
		})
	}
	t.Run("in files, their order", func(t *testing.T) {
		write(t, map[string]string{"b.yaml": secure("a", "null"), "a.yaml": secure("b", "null")})
		if diff := cmp.Diff([]string{"b.yaml:4 MW201"}, places(run(t, defaults(), "", "."))); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a.yaml:4 MW201"}, places(run(t, defaults(), "", "b.yaml", "a.yaml"))); diff != "" {
			t.Errorf("findings (-want +got):\n%s", diff)
		}
	})
}
