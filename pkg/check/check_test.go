package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meshwarden/meshwarden/pkg/check"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// defaults are the options that the command has without flags.
func defaults() check.Options {
	return check.Options{
		Rules: policy.Rules(), Namespace: "default", IstioNamespace: "istio-system", Now: time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC),
	}
}

// write writes files into a new folder and makes it the working directory. A name that ends in "@" is a link to its text.
func write(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if link, ok := strings.CutSuffix(name, "@"); ok {
			err = os.Symlink(text, link)
		} else {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// run judges the paths.
func run(t *testing.T, o check.Options, stdin string, paths ...string) *check.Report {
	t.Helper()
	r, err := check.Run(o, paths, strings.NewReader(stdin))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// places lists the findings as "file:line rule".
func places(r *check.Report) []string {
	var list []string
	for _, f := range r.Findings {
		list = append(list, fmt.Sprintf("%s:%d %s", f.File, f.Line, f.Rule))
	}
	return list
}

func texts(problems []check.Problem) []string {
	var list []string
	for _, p := range problems {
		list = append(list, p.String())
	}
	return list
}

// gateway is a Gateway with the host, and virtualService a VirtualService on line 1 with the hosts that names gateway
// "public" and has line 6 for the first host.
func gateway(name, host string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: %s
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [%q]
`, name, host)
}

func virtualService(name string, hosts ...string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s}
spec:
  hosts:
  - %s
  gateways: [public]
  http:
  - route:
    - destination: {host: web}
`, name, strings.Join(hosts, "\n  - "))
}

func TestPlaces(t *testing.T) {
	public, bad := gateway("public", "a.example.com"), virtualService("web", "a.example.com", "b.example.com")
	asItem := func(text string) string {
		return "- " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
	}
	tests := []struct {
		reason string
		files  map[string]string
		want   []string
	}{
		{"an object alone in a file", map[string]string{"a.yaml": bad, "g.yaml": public}, []string{"a.yaml:7 MW102"}},
		{"documents with and without text around the separator", map[string]string{
			"a.yaml": "---\n# Source: shop/templates/web.yaml\n" + public + "--- # the second\n\n" + bad + "---\n---\n",
		}, []string{"a.yaml:19 MW102"}},
		{"the end that YAML knows, and directives", map[string]string{
			"a.yaml": "%YAML 1.1\n---\n" + public + "...\n%YAML 1.2\n---\n" + bad,
		}, []string{"a.yaml:20 MW102"}},
		{"line ends of Windows", map[string]string{"a.yaml": strings.ReplaceAll(public+"---\n"+bad, "\n", "\r\n")}, []string{"a.yaml:16 MW102"}},
		{"a byte order mark", map[string]string{"a.yaml": "\ufeff" + public, "b.yaml": "\ufeff---\n" + bad}, []string{"b.yaml:8 MW102"}},
		{"characters that end a line for YAML alone", map[string]string{
			"a.yaml": "# a\u0085# b\u2028# c\r# d\n" + public + "---\n" + strings.Replace(bad, "metadata", "# \u2029#\nmetadata", 1),
		}, []string{"a.yaml:18 MW102"}},
		{"no line end at the end", map[string]string{"a.yaml": public, "b.yaml": bad + "# last"}, []string{"b.yaml:7 MW102"}},
		{"a list", map[string]string{"a.yaml": "apiVersion: v1\nkind: List\nitems:\n" + asItem(public) + asItem(bad)}, []string{"a.yaml:18 MW102"}},
		{"a list of one kind, whose items don't say which", map[string]string{
			"a.yaml": public,
			"b.yaml": "apiVersion: networking.istio.io/v1beta1\nkind: VirtualServiceList\nitems:\n- metadata: {name: web}\n  spec:\n    hosts: [b.example.com]\n    gateways: [public]\n    http: [{}]\n",
		}, []string{"b.yaml:6 MW102"}},
		{"a list in a list", map[string]string{
			"a.yaml": "apiVersion: v1\nkind: List\nitems:\n" + asItem("apiVersion: v1\nkind: List\nitems:\n"+asItem(public)+asItem(bad)),
		}, []string{"a.yaml:21 MW102"}},
		{"JSON", map[string]string{
			"a.yaml": public,
			"b.json": "{\"apiVersion\": \"networking.istio.io/v1\",\n\t\"kind\": \"VirtualService\", \"metadata\": {\"name\": \"\\ud83d\\ude00\\/\"},\n \"spec\": {\n  \"gateways\": [\"public\"], \"hosts\": [\n   \"a.example.com\",\n   \"b.example.com\"], \"http\": [{}]}}",
		}, []string{"b.json:6 MW102"}},
		{"JSON values that follow each other", map[string]string{
			"a.yaml": public,
			"b.json": "{\"apiVersion\":\"v1\",\"kind\":\"X\"} {\"apiVersion\":\"v1\",\"kind\":\"X\"}\n\n{\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"VirtualService\", \"metadata\": {\"name\": \"web\"},\n\"spec\": {\"hosts\": [\"b.example.com\"], \"gateways\": [\"public\"], \"http\": [{}]}}\n",
		}, []string{"b.json:4 MW102"}},
		{"YAML that begins like JSON", map[string]string{
			"a.yaml": public + "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web},\nspec: {hosts: [b.example.com], gateways: [public],\nhttp: [{}]}}\n",
		}, []string{"a.yaml:11 MW102"}},
		{"anchors and merges: the line where the value is written", map[string]string{
			"a.yaml": public + "---\nx-spec: &spec\n  hosts: &hosts\n  - b.example.com\n  http: [{}]\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec:\n  <<: *spec\n  gateways: [public]\n",
		}, []string{"a.yaml:12 MW102"}},
		{"what the rule complains of is not written: the nearest field around it", map[string]string{
			"a.yaml": "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\nspec: {hosts: [a.example.com], gateways: [gone], http: [{}]}\n",
		}, []string{"a.yaml:4 MW101"}},
		{"several findings in several files come in the order of the input", map[string]string{
			"b.yaml": virtualService("three", "c.example.com") + "---\n" + public,
			"a.yaml": virtualService("one", "a.example.com", "b.example.com", "c.example.com") + "---\n" + virtualService("two", "d.example.com"),
		}, []string{"a.yaml:7 MW102", "a.yaml:8 MW102", "a.yaml:19 MW102", "b.yaml:6 MW102"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			write(t, tc.files)
			r := run(t, defaults(), "", ".")
			if diff := cmp.Diff(tc.want, places(r)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(r.Problems) > 0 {
				t.Errorf("problems: %q", texts(r.Problems))
			}
		})
	}
}

// TestVerdicts: what counts for a verdict besides the object itself.
func TestVerdicts(t *testing.T) {
	scoped := func(o *check.Options) { o.Namespace = "shop" }
	short := strings.Replace(virtualService("web", "web"), "[public]", "[edge/public]", 1)
	edge := func(host string) string {
		return strings.Replace(gateway("public", host), "name: public", "{name: public, namespace: edge}", 1)
	}
	tests := []struct {
		reason, input string
		options       func(*check.Options)
		want          []string
	}{
		{"objects without a namespace are in the same one", gateway("public", "a.example.com") + "---\n" + virtualService("web", "a.example.com"), nil, nil},
		{"and it can be given", strings.Replace(gateway("public", "a.example.com"), "  name: public", "  name: public\n  namespace: shop", 1) + "---\n" + virtualService("web", "a.example.com"), scoped, nil},
		{"the older versions count", strings.ReplaceAll(gateway("public", "a.example.com")+"---\n"+virtualService("web", "b.example.com"), "/v1\n", "/v1alpha3\n"), nil, []string{"-:15 MW102"}},
		{"a short host ends in the cluster's domain", edge("*.cluster.local") + "---\n" + short, nil, nil},
		{"which can be given", edge("*.cluster.local") + "---\n" + short, func(o *check.Options) { o.Mesh.ClusterDomain = "corp" }, []string{"-:15 MW102"}},
		{"or is istiod's", edge("*.corp") + "---\n" + short + "---\n" +
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}\n" +
			"spec: {template: {spec: {containers: [{name: discovery, args: [discovery, --domain, corp]}]}}}\n", nil, nil},
		{"a rule's action can be changed", virtualService("web", "a.example.com"), func(o *check.Options) {
			o.Rules, _ = policy.Configure(o.Rules, policy.Warn, nil)
		}, []string{"-:7 MW101"}},
		{"another group's Gateway is none of Istio's", strings.Replace(gateway("public", "a.example.com"), "networking.istio.io", "gateway.networking.k8s.io", 1) + "---\n" + virtualService("web", "a.example.com"), nil, []string{"-:16 MW101"}},
		{"of a field that is written twice, the last one counts, as for kubectl", gateway("public", "a.example.com") + "---\n" + virtualService("web", "b.example.com") + "spec: {hosts: [a.example.com], gateways: [public], http: [{}]}\n", nil, nil},
		{"a name is still to be generated", gateway("public", "a.example.com") + "---\n" + strings.Replace(virtualService("web-", "b.example.com"), "name:", "generateName:", 1) +
			"---\n" + strings.Replace(virtualService("web-", "c.example.com"), "name:", "generateName:", 1), nil, []string{"-:15 MW102", "-:26 MW102"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			o := defaults()
			if tc.options != nil {
				tc.options(&o)
			}
			if diff := cmp.Diff(tc.want, places(run(t, o, tc.input, "-"))); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCounts: each object of the input is counted once, as what it is.
func TestCounts(t *testing.T) {
	input := gateway("public", "a.example.com") + "---\n" + virtualService("web", "a.example.com") + `---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
---
apiVersion: v1
kind: List
items:
- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}}
- {apiVersion: networking.istio.io/v1, kind: DestinationRule}
- {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, spec: 5}
`
	got := run(t, defaults(), input, "-")
	want := &check.Report{Files: 1, Judged: 2, Read: 1, Others: 5}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(check.Report{})); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}
