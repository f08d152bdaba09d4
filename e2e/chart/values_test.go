package chart

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestValues says what each value does.
func TestValues(t *testing.T) {
	deployment, pod := "Deployment meshwarden/meshwarden", []string{"spec", "template", "spec"}
	args := func(args ...any) map[string]any { return map[string]any{"args": append([]any{"serve"}, args...)} }
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, tc := range []struct {
		reason, values, object string
		// path leads to a map, or to a list of which the first entry is meant.
		path []string
		// want are some of its fields; those that are nil must not be there.
		want map[string]any
	}{
		{"the image of the chart's version", "", deployment, append(pod, "containers"), map[string]any{"image": "meshwarden/webhook:v0.1.0", "imagePullPolicy": nil}},
		{
			"an image of one's own", "image: {repository: 'registry.example.com:5000/mesh/webhook', tag: v0.2.0, pullPolicy: Always}", deployment, append(pod, "containers"),
			map[string]any{"image": "registry.example.com:5000/mesh/webhook:v0.2.0", "imagePullPolicy": "Always"},
		},
		{"a digest beside the tag", "image: {digest: '" + digest + "'}", deployment, append(pod, "containers"), map[string]any{"image": "meshwarden/webhook:v0.1.0@" + digest}},
		{"secrets for the registry", "imagePullSecrets: [{name: registry}]", deployment, append(pod, "imagePullSecrets"), map[string]any{"name": "registry"}},
		{"replicas", "replicas: 3", deployment, []string{"spec"}, map[string]any{"replicas": int64(3)}},
		{
			"resources are merged with the default", "resources: {limits: {memory: 1Gi}}", deployment, append(pod, "containers"),
			map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "50m", "memory": "96Mi"}, "limits": map[string]any{"memory": "1Gi"}}},
		},
		{"no option is set by default", "", deployment, append(pod, "containers"), args()},
		{"no webhook that fails closed", "validation: false", "ValidatingWebhookConfiguration /meshwarden", nil, nil},
		{"the one that never blocks stays", "validation: false", "MutatingWebhookConfiguration /meshwarden", []string{"metadata"}, map[string]any{"name": "meshwarden"}},
		{"enforcement", "enforcement: warn", deployment, append(pod, "containers"), args("--enforcement=warn")},
		{"actions of rules, in their order", "ruleActions: {MW207: warn, MW101: audit}", deployment, append(pod, "containers"), args("--rule-action=MW101=audit", "--rule-action=MW207=warn")},
		{"rules that may be overridden", "overridable: [MW207, MW204]", deployment, append(pod, "containers"), args("--overridable=MW207,MW204")},
		{"no rule may be overridden", "overridable: []", deployment, append(pod, "containers"), args("--overridable=")},
		{"backfill", "backfill: none", deployment, append(pod, "containers"), args("--backfill=none")},
		{"excluded namespaces", "excludeNamespaces: [istio-system, monitoring]", deployment, append(pod, "containers"), args("--exclude-namespaces=istio-system,monitoring")},
		{"no namespace is excluded", "excludeNamespaces: []", deployment, append(pod, "containers"), args("--exclude-namespaces=")},
		{"Istio elsewhere", "istio: {namespace: mesh}", deployment, append(pod, "containers"), args("--istio-namespace=mesh")},
		{"a right in Istio's namespace", "istio: {namespace: mesh, revisions: true}", "Role mesh/meshwarden", []string{"metadata"}, map[string]any{"name": "meshwarden"}},
		{
			"the CA of those who may connect", "clientCA: {configMap: webhook-clients, names: [kube-apiserver, admission.example.com]}", deployment, append(pod, "containers"),
			args("--client-ca-file=/etc/meshwarden/client-ca/ca.crt", "--client-names=kube-apiserver,admission.example.com"),
		},
		{
			"a ConfigMap of another name", "clientCA: {configMap: webhook-clients}", deployment, append(pod, "volumes"),
			map[string]any{"name": "client-ca", "configMap": map[string]any{"name": "webhook-clients"}},
		},
		{"further options", "extraArgs: [--log-level=debug]", deployment, append(pod, "containers"), args("--log-level=debug")},
		{
			"a platform's own issuer", "certificate: {issuerRef: {kind: ClusterIssuer, name: platform}}", "Certificate meshwarden/meshwarden-certificate",
			[]string{"spec"},
			map[string]any{"issuerRef": map[string]any{"kind": "ClusterIssuer", "name": "platform"}},
		},
		{"no CA of Meshwarden's own then", "certificate: {issuerRef: {name: platform}}", "Issuer meshwarden/meshwarden-ca", nil, nil},
		{"a label of the pods", "podLabels: {team: mesh}", deployment, []string{"spec", "template", "metadata", "labels"}, map[string]any{"team": "mesh", "app.kubernetes.io/component": "webhook"}},
		{"an annotation of the pods", "podAnnotations: {team: mesh}", deployment, []string{"spec", "template", "metadata", "annotations"}, map[string]any{"team": "mesh"}},
		{"nodes", "nodeSelector: {pool: system}", deployment, append(pod, "nodeSelector"), map[string]any{"pool": "system", "kubernetes.io/os": "linux"}},
		{"tolerations", "tolerations: [{key: system, operator: Exists}]", deployment, append(pod, "tolerations"), map[string]any{"key": "system", "operator": "Exists"}},
		{"affinity", "affinity: {nodeAffinity: {a: b}}", deployment, append(pod, "affinity"), map[string]any{"nodeAffinity": map[string]any{"a": "b"}}},
		{"nothing about placement by default", "", deployment, pod, map[string]any{"tolerations": nil, "affinity": nil, "imagePullSecrets": nil, "priorityClassName": "meshwarden"}},
		{"no priority class", "priorityClass: {create: false}", deployment, pod, map[string]any{"priorityClassName": nil}},
		{"no priority class is made", "priorityClass: {create: false}", "PriorityClass /meshwarden", nil, nil},
		{"a platform's own priority class", "priorityClass: {create: false, name: platform}", deployment, pod, map[string]any{"priorityClassName": "platform"}},
		{
			"a label for the Prometheus that is to look", "monitoring: {serviceMonitor: true, labels: {release: prometheus}}", "ServiceMonitor meshwarden/meshwarden",
			[]string{"metadata", "labels"},
			map[string]any{"release": "prometheus", "app.kubernetes.io/name": "meshwarden"},
		},
		{"the same of the rules", "monitoring: {rules: true, labels: {release: prometheus}}", "PrometheusRule meshwarden/meshwarden", []string{"metadata", "labels"}, map[string]any{"release": "prometheus"}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			fields := mustRender(t, "meshwarden", parse(t, tc.values))[tc.object]
			if (fields != nil) != (tc.want != nil) {
				t.Fatalf("%s is there: %t", tc.object, fields != nil)
			}
			found, _, err := unstructured.NestedFieldNoCopy(fields, tc.path...)
			if err != nil {
				t.Fatal(err)
			}
			if list, ok := found.([]any); ok {
				found = list[0]
			}
			at, _ := found.(map[string]any)
			for name, want := range tc.want {
				if diff := cmp.Diff(want, at[name]); diff != "" {
					t.Errorf("%s of %s (-want +got):\n%s", name, tc.object, diff)
				}
			}
		})
	}
}

// TestValuesAreComplete finds a value that no template uses, one that is used but not in values.yaml, and one without an
// explanation.
func TestValuesAreComplete(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(folder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	var walk func(path string, node *yaml.Node, explained bool)
	walk = func(path string, node *yaml.Node, explained bool) {
		// Resources are passed on as a whole.
		if node.Kind != yaml.MappingNode || len(node.Content) == 0 || path == "resources" {
			defined[path] = true
			if !explained {
				t.Errorf("values.yaml does not explain %s", path)
			}
			return
		}
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			// The pods' fields share an explanation.
			shared := slices.Contains([]string{"podAnnotations", "nodeSelector", "tolerations", "affinity"}, key.Value)
			walk(strings.TrimPrefix(path+"."+key.Value, "."), node.Content[i+1], key.HeadComment != "" || shared)
		}
	}
	walk("", document.Content[0], false)

	used := map[string]bool{}
	templates, err := filepath.Glob(filepath.Join(folder, "templates", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range templates {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`\.Values\.([a-zA-Z.]+)`).FindAllStringSubmatch(string(text), -1) {
			used[match[1]] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(defined)), slices.Sorted(maps.Keys(used))); diff != "" {
		t.Errorf("values.yaml (-) and what the templates use (+):\n%s", diff)
	}
}
