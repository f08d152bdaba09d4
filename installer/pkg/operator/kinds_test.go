package operator

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	yamlvalues "sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// everything are specs that, with all profiles, bring out every object that the charts have.
func everything() []string {
	specs := []string{
		`values: {pilot: {autoscaleMin: 2}, global: {networkPolicy: {enabled: true}, platform: gke}, revisionTags: [prod]}`,
		`values: {experimental: {stableValidationPolicy: true}, defaultRevision: default}`,
		`values: {istiodRemote: {enabled: true, enabledLocalInjectorIstiod: true}, global: {remotePilotAddress: 10.0.0.1}}`,
		`{components: {cni: {enabled: true}, ztunnel: {enabled: true}, egressGateways: [{name: istio-egressgateway, enabled: true}]}, values: {cni: {resourceQuotas: {enabled: true}}, ztunnel: {resourceQuotas: {enabled: true}}}}`,
		`{components: {ingressGateways: [{name: istio-ingressgateway, enabled: true, k8s: {hpaSpec: {minReplicas: 2}}}]}}`,
	}
	for _, p := range render.Profiles() {
		specs = append(specs, "profile: "+p)
	}
	return specs
}

func rendered(t *testing.T, spec string) []*unstructured.Unstructured {
	t.Helper()
	o := ofKind(GroupVersionKind())
	if err := yamlvalues.Unmarshal([]byte("spec:\n  "+spec), &o.Object); err != nil {
		t.Fatal(err)
	}
	o.SetGroupVersionKind(GroupVersionKind())
	of, err := render.Render(o, nil)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	var all []*unstructured.Unstructured
	for _, c := range of.Components {
		all = append(all, c.Objects...)
	}
	return all
}

// What is rendered is watched and removed, and the manifests grant the rights to it; and what is watched is rendered by something.
func TestKinds(t *testing.T) {
	rules := grantedRules(t)
	seen := map[string]bool{}
	for _, spec := range everything() {
		for _, o := range rendered(t, spec) {
			kind := o.GroupVersionKind()
			if !slices.Contains(Kinds(), kind) {
				t.Errorf("%s: %s is not among the kinds", spec, kind)
			}
			seen[kind.String()] = true
			for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
				if !granted(rules, kind.Group, plural(kind.Kind), verb, o.GetName()) {
					t.Errorf("the manifests do not grant %s %s %s", verb, kind, o.GetName())
				}
			}
		}
	}
	for _, kind := range Kinds() {
		if !seen[kind.String()] {
			t.Errorf("nothing renders %s: watch and right are too many, or a spec is missing in this test", kind)
		}
	}
}

// No rule grants to read a Secret, or all there is.
func TestNarrow(t *testing.T) {
	for _, r := range grantedRules(t) {
		for _, resource := range r.Resources {
			istios := !slices.ContainsFunc(r.APIGroups, func(g string) bool { return !strings.HasSuffix(g, ".istio.io") })
			if resource == "secrets" || resource == "*" && (!istios || !slices.Equal(r.Verbs, []string{"list"})) {
				t.Errorf("too wide: %v", r)
			}
		}
		if slices.Contains(r.Verbs, "*") || slices.Contains(r.APIGroups, "*") || len(r.NonResourceURLs) > 0 {
			t.Errorf("too wide: %v", r)
		}
	}
}

// plural returns the resource of a kind.
func plural(kind string) string {
	switch kind {
	case "NetworkPolicy":
		return "networkpolicies"
	case "ValidatingAdmissionPolicy":
		return "validatingadmissionpolicies"
	case "NetworkAttachmentDefinition":
		return "network-attachment-definitions"
	}
	return strings.ToLower(kind) + "s"
}

func grantedRules(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	f, err := os.Open("../installation/manifests/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for decoder := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		role := &rbacv1.ClusterRole{}
		if err := decoder.Decode(role); errors.Is(err, io.EOF) {
			t.Fatal("no ClusterRole")
		} else if err != nil {
			t.Fatal(err)
		}
		if role.Kind == "ClusterRole" {
			return role.Rules
		}
	}
}

func granted(rules []rbacv1.PolicyRule, group, resource, verb, name string) bool {
	return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.APIGroups, group) && slices.Contains(r.Resources, resource) && slices.Contains(r.Verbs, verb) &&
			(len(r.ResourceNames) == 0 || slices.Contains(r.ResourceNames, name))
	})
}
