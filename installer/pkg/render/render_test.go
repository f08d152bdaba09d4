package render_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"istio.io/istio/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// istioOperator returns an IstioOperator with a spec that is given as YAML.
func istioOperator(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	o := map[string]any{
		"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator",
		"metadata": map[string]any{"name": "istiocontrolplane", "namespace": "watched"},
	}
	var s any
	if err := yaml.Unmarshal([]byte(spec), &s); err != nil {
		t.Fatalf("the test's spec: %v", err)
	}
	o["spec"] = s
	return &unstructured.Unstructured{Object: o}
}

func names(r render.Rendering) map[string][]string {
	all := map[string][]string{}
	for _, c := range r.Components {
		for _, o := range c.Objects {
			all[c.Name] = append(all[c.Name], o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
		}
	}
	return all
}

func TestProfiles(t *testing.T) {
	want := []string{"ambient", "default", "demo", "empty", "minimal", "openshift", "openshift-ambient", "preview", "remote", "stable"}
	if diff := cmp.Diff(want, render.Profiles()); diff != "" {
		t.Errorf("profiles (-want +got):\n%s", diff)
	}
}

func TestRender(t *testing.T) {
	tests := []struct {
		reason, spec        string
		components          []string
		namespace, revision string
		warnings            []string
	}{
		{
			reason: "an IstioOperator without a spec is profile default", spec: `null`,
			components: []string{"Base", "Pilot", "IngressGateways"}, namespace: "istio-system", revision: "default",
		},
		{reason: "profile default", spec: `profile: default`, components: []string{"Base", "Pilot", "IngressGateways"}, namespace: "istio-system", revision: "default"},
		{
			reason: "the parts of ambient come in the order in which they need each other", spec: `profile: ambient`,
			components: []string{"Base", "Cni", "Pilot", "Ztunnel"}, namespace: "istio-system", revision: "default",
		},
		{
			reason: "gateways come last", spec: `profile: demo`,
			components: []string{"Base", "Pilot", "IngressGateways", "EgressGateways"}, namespace: "istio-system", revision: "default",
		},
		{reason: "an empty profile is no error", spec: `profile: empty`, namespace: "istio-system", revision: "default"},
		{
			reason: "Istio's namespace is that of the values, whichever namespace the IstioOperator is in", spec: `{profile: minimal, values: {global: {istioNamespace: mesh}}}`,
			components: []string{"Base", "Pilot"}, namespace: "mesh", revision: "default",
		},
		{
			reason: "a revision", spec: `{profile: minimal, revision: canary}`,
			components: []string{"Base", "Pilot"}, namespace: "istio-system", revision: "canary",
		},
		{
			reason: "what Istio finds doubtful is handed on, and not printed",
			spec:   `{profile: minimal, components: {pilot: {k8s: {replicaCount: 2}}}, values: {pilot: {autoscaleEnabled: true}}}`, components: []string{"Base", "Pilot"},
			namespace: "istio-system", revision: "default",
			warnings: []string{"components.pilot.k8s.replicaCount should not be set when values.pilot.autoscaleEnabled is true"},
		},
		{
			reason: "a typo in the mesh configuration is doubtful", spec: `{profile: minimal, values: {meshConfig: {accessLogFil: a}}}`, components: []string{"Base", "Pilot"},
			namespace: "istio-system", revision: "default",
			warnings: []string{"spec.values.meshConfig.accessLogFil: unknown key; did you mean accessLogFile? (istiod ignores it, unless it is newer than Istio's charts in this program)"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := render.Render(istioOperator(t, tc.spec), nil)
			if err != nil {
				t.Fatal(err)
			}
			var components []string
			for _, c := range got.Components {
				components = append(components, c.Name)
			}
			got.Components = nil
			if diff := cmp.Diff(tc.components, components); diff != "" {
				t.Errorf("components (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(render.Rendering{Namespace: tc.namespace, Revision: tc.revision, Warnings: tc.warnings}, got); diff != "" {
				t.Errorf("rendering (-want +got):\n%s", diff)
			}
		})
	}
}

// Objects can be applied in the order in which they come.
func TestRenderOrder(t *testing.T) {
	r, err := render.Render(istioOperator(t, `{profile: ambient}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ServiceAccount istio-system/istio-cni",
		"ClusterRole /istio-cni", "ClusterRole /istio-cni-ambient", "ClusterRole /istio-cni-repair-role",
		"ClusterRoleBinding /istio-cni", "ClusterRoleBinding /istio-cni-ambient", "ClusterRoleBinding /istio-cni-repair-rolebinding",
		"ConfigMap istio-system/istio-cni-config",
		"DaemonSet istio-system/istio-cni-node",
	}
	if diff := cmp.Diff(want, names(r)["Cni"]); diff != "" {
		t.Errorf("objects of Cni (-want +got):\n%s", diff)
	}
	base := names(r)["Base"]
	if !strings.HasPrefix(base[0], "CustomResourceDefinition ") || !slices.IsSorted(base[:len(base)-1]) {
		t.Errorf("Base begins with %q and must begin with the CustomResourceDefinitions, sorted", base[0])
	}
}

// Istio's renderer goes through maps: what comes out must not depend on their order.
func TestRenderIsStable(t *testing.T) {
	spec := `{profile: demo, revision: canary, components: {pilot: {k8s: {replicaCount: 3, env: [{name: A, value: b}], resources: {requests: {cpu: 7m}},
		nodeSelector: {a: b}, podAnnotations: {c: d}}}}}`
	first, err := render.Render(istioOperator(t, spec), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		again, err := render.Render(istioOperator(t, spec), nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatalf("rendered again (-first +again):\n%s", diff)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct{ reason, spec, want string }{
		{"an unknown profile, with the list", `profile: foo`, `spec.profile: unknown profile "foo"; use one of ambient, default, demo,`},
		{"a path in place of a profile", `profile: ../profiles/default`, `unknown profile "../profiles/default"`},
		{"a profile that is no string", `profile: 5`, `spec.profile: must be a string`},
		{"charts of the operator's own file system", `installPackagePath: /tmp`, `spec.installPackagePath: charts are taken from the program itself`},
		{"the same in any form", `installPackagePath: [a]`, `spec.installPackagePath`},
		{"a spec that is none", `5`, `spec: must be a mapping`},
		{"a list for a spec", `[a]`, `spec: must be a mapping`},
		{"components of a wrong type", `components: 5`, `spec.components: must be a mapping`},
		{"a null list, which makes Istio's renderer panic", `{components: {ingressGateways: null}}`, `spec.components.ingressGateways: must be a list, not null`},
		{"a null entry, which makes Istio's renderer panic", `{components: {egressGateways: [{name: a}, null]}}`, `spec.components.egressGateways[1]: must not be null`},
		{"a mapping where a list is expected", `{components: {ingressGateways: {}}}`, `ingressGateways`},
		{"a list where a mapping is expected", `{components: {pilot: []}}`, `components.pilot`},
		{"a component with a wrong type", `{components: {pilot: {enabled: perhaps}}}`, `enabled`},
		{"an unknown component", `{components: {unknown: {}}}`, `unknown field "unknown"`},
		{"an unknown key", `unknownKey: 1`, `unknown field "unknownKey"`},
		{"an unknown value", `{values: {nonsense: 1}}`, `spec.values.nonsense: unknown key`},
		{"values of a wrong type, which make Istio's renderer panic", `values: 5`, `spec.values: must be a mapping`},
		{"global values of a wrong type, which do too", `{values: {global: []}}`, `spec.values.global: must be a mapping, and is a list`},
		{"pilot values of a wrong type, which do too", `{values: {pilot: {cni: 5}}}`, `spec.values.pilot.cni: must be a mapping`},
		{"a null that the charts look into, in one line", `{values: {global: {proxy: null}}}`, `<.Values.global.proxy.autoInject>: nil pointer evaluating`},
		{"the same, with its path", `{values: {global: {proxy: null}}}`, `spec.values.global.proxy: helm render`},
		{"an environment that is no list", `{components: {pilot: {k8s: {env: {a: b}}}}}`, `k8s.env`},
		{"a null in an environment", `{components: {pilot: {k8s: {env: [null]}}}}`, `list element types are not identical`},
		{"a bad hub", `hub: "a b"`, `bad hub`},
		{"a bad tag", `tag: "a b"`, `bad tag`},
		{"a bad revision", `revision: a b`, `invalid revision`},
		{"a revision that Istio lets through and no Service can be named after", `revision: A`, `spec.revision: "A"`},
		{"a bad mesh configuration", `{meshConfig: {defaultConfig: 5}}`, `spec.meshConfig.defaultConfig: must be a mapping, and is 5`},
		{"a bad namespace", `{values: {global: {istioNamespace: No Name}}}`, `spec.values.global.istioNamespace: "No Name"`},
		{
			"an overlay that takes an object's name away",
			`{components: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: metadata, value: 7}]}]}}}}`, `a Deployment has no name left`,
		},
		{
			"an overlay that takes an object's kind away",
			`{components: {pilot: {k8s: {overlays: [{kind: Deployment, name: istiod, patches: [{path: kind}]}]}}}}`, `Object 'Kind' is missing`,
		},
		{"two gateways of one name", `{components: {ingressGateways: [{name: a}, {name: a}]}}`, `ServiceAccount istio-system/a-service-account is described twice`},
		{"a privileged port on an unprivileged gateway", `{components: {ingressGateways: [{name: a, k8s: {service: {ports: [{port: 80}]}}}]}}`, `requires root`},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := render.Render(istioOperator(t, tc.spec), nil)
			if invalid := new(render.InvalidError); !errors.As(err, &invalid) {
				t.Fatalf("error: %v (%T), want an *InvalidError", err, err)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error: %q, want %q in it, and one line", err, tc.want)
			}
		})
	}
}

// Each fault of the values comes by itself, with its path, be it ours or one that Istio's validation words.
func TestRenderRefusesWithFaults(t *testing.T) {
	tests := []struct {
		reason, spec string
		want         render.Faults
	}{
		{"one of ours", `{values: {pilot: {replicaCout: 1}}}`, render.Faults{{Path: "spec.values.pilot.replicaCout", Message: "unknown key; did you mean replicaCount?"}}},
		{
			"several of ours", `{values: {global: 5, pilot: {cni: []}}}`,
			render.Faults{{Path: "spec.values.global", Message: "must be a mapping, and is 5"}, {Path: "spec.values.pilot.cni", Message: "must be a mapping, and is a list"}},
		},
		{
			"several of Istio's", `{hub: "a b", values: {global: {proxy: {includeIPRanges: 10.0.0.0, excludeInboundPorts: "80,99999"}}, pilot: {affinity: {nodeAffinty: {}}}}}`,
			render.Faults{
				{Path: "spec.values.global.proxy.includeIPRanges", Message: `netip.ParsePrefix("10.0.0.0"): no '/'`},
				{Path: "spec.values.global.proxy.excludeInboundPorts", Message: `value global.proxy.excludeInboundPorts:99999 falls outside range [0, 65535]`},
				{Path: "spec.values.pilot.affinity", Message: `invalid schema for pilot.affinity: error unmarshaling JSON: while decoding JSON: json: unknown field "nodeAffinty"`},
				{Message: "bad hub: repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: a b/pilot"},
			},
		},
		{
			"what Istio says of a value that is somewhere in a list", `{values: {gateways: {istio-ingressgateway: {ingressPorts: [{port: 80}]}}}}`,
			render.Faults{{
				Path:    "spec.values.gateways.istio-ingressgateway",
				Message: "port 80 is invalid: targetPort is set to 0, which requires root. Set targetPort to be greater than 1024 or configure values.gateways.istio-ingressgateway.runAsRoot=true",
			}},
		},
		{
			"ours, and what Istio says of the rest", `{components: {pilto: {}}, values: {global: {proxy: {includeIPRanges: a, logLevel: 5, resources: {limits: {cpu: 1}}}, imagePullSecrets: [5]}}}`,
			render.Faults{
				{Path: "spec.values.global.imagePullSecrets[0]", Message: "must be a string: put 5 in quotes"},
				{Path: "spec.values.global.proxy.logLevel", Message: "must be a string: put 5 in quotes"},
				{Path: "spec.values.global.proxy.resources.limits.cpu", Message: "must be a string: put 1 in quotes"},
				{Message: `could not unmarshal: json: unknown field "pilto"`},
			},
		},
		{
			"ours, and Istio's about another value", `{values: {global: {proxy: {includeIPRanges: a, logLevel: 5}}}}`,
			render.Faults{
				{Path: "spec.values.global.proxy.logLevel", Message: "must be a string: put 5 in quotes"},
				{Path: "spec.values.global.proxy.includeIPRanges", Message: `netip.ParsePrefix("a"): no '/'`},
			},
		},
		{
			"ours, and not what Istio would accept by itself", `{profile: openshift, values: {pilot: {enabled: foo, cni: {enabled: foo}, replicaCount: many}}}`,
			render.Faults{{Path: "spec.values.pilot.replicaCount", Message: `must be a whole number, and is the string "many"`}},
		},
		{"what is no value", `{revision: a b}`, render.Faults{{Message: "invalid revision specified: a b"}}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := render.Render(istioOperator(t, tc.spec), nil)
			var got render.Faults
			errors.As(err, &got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// A status has room for the first faults, and each is a line.
func TestInvalidError(t *testing.T) {
	faults := make(render.Faults, 22)
	for i := range faults {
		faults[i] = render.Fault{Path: "spec.values.a", Message: "broken\n\tinto lines"}
	}
	got := (&render.InvalidError{Err: faults}).Error()
	line := "spec.values.a: broken into lines\n"
	if want := "invalid IstioOperator: " + strings.Repeat(line, 20) + "and 2 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// unreachable is a cluster that does not say its version.
type unreachable struct{ kube.Client }

func (unreachable) GetKubernetesVersion() (*version.Info, error) {
	return nil, errors.New("connection refused")
}

// A cluster that does not answer is no fault of the IstioOperator: trying again helps.
func TestRenderWithoutCluster(t *testing.T) {
	_, err := render.Render(istioOperator(t, `profile: default`), unreachable{})
	if invalid := new(render.InvalidError); err == nil || errors.As(err, &invalid) {
		t.Errorf("error: %v (%T), want one that is no *InvalidError", err, err)
	}
}

func TestRenderLeavesNoFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, spec := range []string{`profile: minimal`, `{profile: minimal, hub: "a b"}`, `{values: {global: 5}}`} {
		_, _ = render.Render(istioOperator(t, spec), nil)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
