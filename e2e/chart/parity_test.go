package chart

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything has the chart install all that it can.
const everything = `
readSecrets: true
staticChecks: {enabled: true, forbidWildcards: true}
istio: {revisions: true}
clientCA: {configMap: meshwarden-client-ca}
monitoring: {serviceMonitor: true, rules: true, dashboard: true}`

// TestParity holds what the chart installs to what the manifests install, field by field.
func TestParity(t *testing.T) {
	components := []string{
		"components/read-secrets", "components/client-ca", "components/istio-revisions", "components/static-checks", "components/static-checks/wildcards",
	}
	// kustomize puts an empty line before an indented one of a folded text. CEL does not mind.
	emptyLines := regexp.MustCompile(`\n+`)
	text := cmp.Comparer(func(a, b string) bool {
		return emptyLines.ReplaceAllString(a, "\n") == emptyLines.ReplaceAllString(b, "\n")
	})
	for _, tc := range []struct {
		reason     string
		resources  []string
		components []string
		values     string
	}{
		{"the default", []string{"overlays/cert-manager"}, nil, ""},
		{"without cert-manager", []string{"overlays/self-managed"}, nil, "certificate: {mode: self-managed}"},
		{"all there is", []string{"overlays/cert-manager", "monitoring"}, components, everything},
		{"all there is, without cert-manager", []string{"overlays/self-managed", "monitoring"}, components, everything + "\ncertificate: {mode: self-managed}"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			want := build(t, tc.resources, tc.components)
			differ(t, want)
			got := mustRender(t, "meshwarden", parse(t, tc.values))
			for id := range got {
				if want[id] == nil {
					t.Errorf("the chart has %s besides", id)
				}
			}
			for id, fields := range want {
				if diff := cmp.Diff(fields, got[id], text); diff != "" {
					t.Errorf("%s, kustomize's (-) and the chart's (+):\n%s", id, diff)
				}
			}
		})
	}
}

// differ makes of the manifests' objects what the chart has in their place. These are all the differences; the chart's
// README gives their reasons.
func differ(t *testing.T, manifests objects) {
	t.Helper()
	delete(manifests, "Namespace /meshwarden")
	for id, fields := range manifests {
		if strings.HasPrefix(id, "ValidatingAdmissionPolicy ") && strings.HasSuffix(id, "-guard") {
			fields["spec"].(map[string]any)["matchConditions"] = []any{map[string]any{
				"name": "is-meshwarden", "expression": "request.userInfo.username == 'system:serviceaccount:meshwarden:meshwarden'",
			}}
		}
		labels, ok := fields["metadata"].(map[string]any)["labels"].(map[string]any)
		if !ok {
			t.Fatalf("%s of the manifests has no labels", id)
		}
		labels["app.kubernetes.io/instance"] = "meshwarden"
		labels["app.kubernetes.io/managed-by"] = "Helm"
		labels["app.kubernetes.io/version"] = "v0.1.0"
		labels["helm.sh/chart"] = "meshwarden-0.1.0"
	}
}

// TestNamespace finds what would still point to the namespace of the manifests when the chart is installed to another.
func TestNamespace(t *testing.T) {
	v := parse(t, everything)
	// A host name, a user name, a reference by namespace/name, a word of CEL, a command.
	of := regexp.MustCompile(`\.meshwarden\.svc|:meshwarden:|^meshwarden/meshwarden-|'meshwarden'|-n meshwarden`)
	var look func(t *testing.T, path string, field any)
	look = func(t *testing.T, path string, field any) {
		switch field := field.(type) {
		case map[string]any:
			for name, value := range field {
				look(t, path+"."+name, value)
				if name == "namespace" && value != "elsewhere" && value != "istio-system" {
					t.Errorf("%s.namespace is %v", path, value)
				}
			}
		case []any:
			for i, value := range field {
				look(t, fmt.Sprintf("%s[%d]", path, i), value)
			}
		case string:
			if of.MatchString(field) {
				t.Errorf("%s is %q", path, field)
			}
		}
	}
	for _, mode := range []string{"cert-manager", "self-managed"} {
		t.Run(mode, func(t *testing.T) {
			v["certificate"] = values{"mode": mode}
			for id, fields := range mustRender(t, "elsewhere", v) {
				look(t, id, fields)
			}
		})
	}
}
