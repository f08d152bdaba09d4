package render_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"istio.io/istio/istioctl/pkg/cli"
	"istio.io/istio/operator/cmd/mesh"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// What the operator applies is what `istioctl manifest generate` prints for the same file, object by object.
func TestRenderEqualsIstioctl(t *testing.T) {
	tests := []struct{ reason, spec string }{
		{"no spec at all", `null`},
		{"what the bootstrap makes of the reference document", `{profile: default, hub: registry.istio.io/release, tag: 1.31.1, values: {global: {istioNamespace: istio-system}}}`},
		{"a local registry", `{profile: default, hub: "registry.example:5000/istio", tag: 1.31.1}`},
		{"a registry with an IPv6 address", `{profile: minimal, hub: "[fd00::1]:5000/istio"}`},
		{"a tag that looks like a number", `{profile: minimal, tag: "1.31"}`},
		{"a tag that is a number", `{profile: minimal, tag: 1.31}`},
		{"another namespace", `{profile: demo, values: {global: {istioNamespace: mesh}}}`},
		{"a revision", `{profile: default, revision: 1-31-1}`},
		{"a revision that is the default one", `{profile: minimal, revision: canary, values: {defaultRevision: canary, revisionTags: [prod, test]}}`},
		{"a component switched off", `{components: {ingressGateways: [{name: istio-ingressgateway, enabled: false}]}}`},
		{"a component switched on by values", `{values: {gateways: {istio-egressgateway: {enabled: true}}}}`},
		{"replicas and resources of istiod", `{components: {pilot: {k8s: {replicaCount: 3, resources: {requests: {cpu: 7m, memory: 128Mi}}}}}}`},
		{"autoscaling of istiod, with a PodDisruptionBudget", `{components: {pilot: {k8s: {hpaSpec: {minReplicas: 2, maxReplicas: 9}, podDisruptionBudget: {maxUnavailable: 1}}}}}`},
		{"environment, probes and placement of istiod", `{components: {pilot: {k8s: {env: [{name: PILOT_TRACE_SAMPLING, value: "5"}], nodeSelector: {a: b},
			tolerations: [{key: k, operator: Exists}], podAnnotations: {c: d}, priorityClassName: high, imagePullPolicy: Always, strategy: {rollingUpdate: {maxSurge: 1}},
			readinessProbe: {periodSeconds: 9}, securityContext: {runAsNonRoot: true}, affinity: {nodeAffinity: {}}}}}}`},
		{"a gateway's ports and annotations", `{components: {ingressGateways: [{name: istio-ingressgateway, enabled: true, k8s: {serviceAnnotations: {lb: internal},
			service: {type: NodePort, ports: [{name: http2, port: 80, targetPort: 8080, nodePort: 30080}, {name: tcp, port: 31400, targetPort: 31400}]}}}]}}`},
		{"two gateways, in two namespaces", `{components: {ingressGateways: [{name: istio-ingressgateway}, {name: internal, namespace: gateways, enabled: true, label: {istio: internal}}]}}`},
		{"overlays", `{components: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: "spec.template.spec.containers.[name:discovery].args.[-1]", value: --x}]},
			{kind: HorizontalPodAutoscaler, name: istiod, patches: [{path: spec.minReplicas, value: 4}]}]}}}}`},
		{"mesh configuration", `{meshConfig: {accessLogFile: /dev/stdout, rootNamespace: root, defaultConfig: {holdApplicationUntilProxyStarts: true, proxyMetadata: {A: "true"}}}}`},
		{"mesh configuration among the values", `{values: {meshConfig: {enableTracing: true}}}`},
		{"the CNI plugin", `{components: {cni: {enabled: true, namespace: kube-system}}, values: {cni: {excludeNamespaces: [a], chained: false}}}`},
		{"ambient, with a ztunnel of one's own", `{profile: ambient, components: {ztunnel: {k8s: {resources: {requests: {cpu: 10m}}}}}, values: {ztunnel: {logLevel: debug}}}`},
		{"values", `{values: {global: {proxy: {resources: {limits: {memory: 1Gi}}, logLevel: debug}, imagePullSecrets: [pull]}, pilot: {autoscaleEnabled: false, env: {A: b}}}}`},
		{"values that nothing validates", `{unvalidatedValues: {pilot: {replicaCount: 2}}}`},
		{"an older version's behaviour", `{compatibilityVersion: "1.30"}`},
		{"a value with lines that look like the end of a document", `{values: {sidecarInjectorWebhook: {templates: {mine: "a: |\n  ---\n---\nb: c\n"}}}}`},
		{"text beyond ASCII, and markup", `{meshConfig: {accessLogFormat: "<é\u2028🛂 & %REQ(:PATH)%>\n"}}`},
		{"large numbers", `{values: {pilot: {keepaliveMaxServerConnectionAge: 10000h}, gateways: {istio-ingressgateway: {autoscaleMax: 1000000}}}}`},
	}
	dir := t.TempDir() // here, because istioctl takes the comma in the name of a test for the end of the file's
	for _, p := range render.Profiles() {
		tests = append(tests, struct{ reason, spec string }{"profile " + p, "{profile: " + p + ", hub: registry.istio.io/release, tag: 1.31.1}"})
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			o := istioOperator(t, tc.spec)
			r, err := render.Render(o, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			for _, c := range r.Components {
				for _, o := range c.Objects {
					got[key(o)] = o.Object
				}
			}
			if diff := cmp.Diff(istioctl(t, dir, o), got); diff != "" {
				t.Errorf("objects by name (-istioctl +Meshwarden):\n%s", diff)
			}
		})
	}
}

func key(o *unstructured.Unstructured) string {
	return o.GroupVersionKind().String() + " " + o.GetNamespace() + "/" + o.GetName()
}

// istioctl returns what `istioctl manifest generate` writes.
func istioctl(t *testing.T, dir string, o *unstructured.Unstructured) map[string]any {
	t.Helper()
	in, out := filepath.Join(dir, "in.yaml"), filepath.Join(dir, "out.yaml")
	content, err := yaml.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	// istioctl cuts a file at each line that begins with three hyphens, in values as well; indented, as YAML writes it, there is none.
	if err := os.WriteFile(in, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c := mesh.ManifestCmd(cli.NewCLIContext(nil))
	c.SetArgs([]string{"generate", "-f", in, "-o", out})
	c.SetOut(io.Discard)
	if err := c.Execute(); err != nil {
		t.Fatalf("istioctl manifest generate: %v", err)
	}
	written, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]any{}
	for _, document := range strings.Split(string(written), mesh.YAMLSeparator) {
		o := &unstructured.Unstructured{}
		if strings.TrimSpace(document) == "" {
			continue
		}
		if err := yaml.Unmarshal([]byte(document), o); err != nil {
			t.Fatalf("istioctl wrote: %v", err)
		}
		objects[key(o)] = o.Object
	}
	return objects
}
