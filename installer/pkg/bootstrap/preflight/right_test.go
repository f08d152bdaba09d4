package preflight

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// referenceTarget returns what the Job's own document leads to, with another profile.
func referenceTarget(t *testing.T, profile string) Target {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "manifests", "bootstrap", "document.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := document.Read("document.yaml", []byte(strings.Replace(string(text), "profile: default", "profile: "+profile, 1)))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := installation.New(d, installation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rendering, err := render.Render(plan.IstioOperator, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Plan: plan, Watched: d.Watched, Rendering: rendering}
}

// manifestRights returns what the manifest of the Job's ClusterRole grants.
func manifestRights(t *testing.T) []Right {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "manifests", "bootstrap", "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	role := rbacv1.ClusterRole{}
	for part := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(part, "\nkind: ClusterRole\n") {
			if err := yaml.UnmarshalStrict([]byte(part), &role); err != nil {
				t.Fatal(err)
			}
		}
	}
	var rights []Right
	for _, rule := range role.Rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						rights = append(rights, Right{Verb: verb, Group: group, Resource: resource, Name: name})
					}
				}
			}
		}
	}
	return rights
}

// covers says whether a right of the ClusterRole is enough for another.
func covers(granted, wanted Right) bool {
	return granted.Verb == wanted.Verb && granted.Group == wanted.Group && granted.Resource == wanted.Resource &&
		(granted.Name == "" || granted.Name == wanted.Name)
}

// everyKind is a profile, and values beside it, that bring out every kind of object that Istio's charts have.
const everyKind = `openshift-ambient
      values:
        pilot: {autoscaleMin: 2}
        global: {networkPolicy: {enabled: true}, remotePilotAddress: 10.0.0.1}
        istiodRemote: {enabled: true, enabledLocalInjectorIstiod: true}
        cni: {resourceQuotas: {enabled: true}}
        experimental: {stableValidationPolicy: true}`

// The preflight looks at what the operator installs, all of it.
func TestRightsOnEveryKind(t *testing.T) {
	rights := referenceTarget(t, everyKind).Rights()
	for _, kind := range operator.Kinds() {
		resource := resourceOf(kind)
		if !slices.ContainsFunc(rights, func(r Right) bool {
			return r.Group == resource.Group && r.Resource == resource.Resource && (r.Verb == "get" || r.Verb == "list")
		}) {
			t.Errorf("no right to read %s", resource)
		}
	}
}

// The Job may do what the preflight asks for, whatever the profile, and nothing else.
func TestManifestGrantsRights(t *testing.T) {
	granted := manifestRights(t)
	wanted := slices.Concat(referenceTarget(t, "default").Rights(), referenceTarget(t, everyKind).Rights())
	for _, w := range wanted {
		if !slices.ContainsFunc(granted, func(g Right) bool { return covers(g, w) }) {
			t.Errorf("manifests/bootstrap/rbac.yaml does not grant what is needed: %s", w)
		}
	}
	for _, g := range granted {
		if !slices.ContainsFunc(wanted, func(w Right) bool { return covers(g, w) }) {
			t.Errorf("manifests/bootstrap/rbac.yaml grants what nobody needs: %s", g)
		}
	}
}

func TestRights(t *testing.T) {
	target := referenceTarget(t, "minimal")
	var got []string
	for _, r := range target.Rights() {
		if r.Group == "rbac.authorization.k8s.io" && strings.HasPrefix(r.Resource, "role") {
			got = append(got, r.String())
		}
	}
	const group = ".rbac.authorization.k8s.io"
	var want []string
	for _, resource := range []string{"rolebindings", "roles"} {
		want = append(want, "list "+resource+group)
		for _, name := range []string{"istio-operator", "istio-operator-watched"} {
			want = append(want, "delete "+resource+group+" "+name)
		}
		for _, of := range []string{"istio-operator in namespace istio-operator", "in namespace istio-system", "istio-operator-watched in namespace istio-system"} {
			verbs := []string{"create", "get", "patch"}
			if resource == "roles" {
				verbs = []string{"bind", "create", "escalate", "get", "patch"}
			}
			if strings.HasPrefix(of, "in ") { // what there is of Istio's own
				verbs = []string{"get"}
			}
			for _, verb := range verbs {
				want = append(want, verb+" "+resource+group+" "+of)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rights on roles and their bindings, sorted, each once (-want +got):\n%s", diff)
	}
}

func TestNeeded(t *testing.T) {
	pods, sail := Right{Verb: "list", Resource: "pods"}, Right{Verb: "list", Group: "sailoperator.io", Resource: "istios"}
	for has, want := range map[bool][]Right{true: {pods, sail}, false: {pods}} {
		if diff := cmp.Diff(want, needed([]Right{pods, sail}, has)); diff != "" {
			t.Errorf("rights in a cluster that has the Sail operator's kind: %t (-want +got):\n%s", has, diff)
		}
	}
}

func TestRightsOnEvents(t *testing.T) {
	target := referenceTarget(t, "minimal")
	target.IstioOperator.SetNamespace("mesh-config")
	want := Right{Verb: "list", Resource: "events", Namespace: "mesh-config"}
	if !slices.Contains(target.Rights(), want) {
		t.Errorf("rights lack %q: the Events of the IstioOperator are in its own namespace", want)
	}
}
