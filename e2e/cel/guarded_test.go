package cel

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// manifests is where the policies are.
func manifests(path ...string) string {
	return filepath.Join(append([]string{"..", "..", "manifests"}, path...)...)
}

// TestGuardsAreAboutMeshwarden: the guards hold Meshwarden's ServiceAccount in whatever namespace it is, and nobody else.
func TestGuardsAreAboutMeshwarden(t *testing.T) {
	for _, guard := range []struct {
		file string
		// refused is what Meshwarden may not delete, of the resource.
		resource schema.GroupVersionResource
		refused  client.Object
	}{
		{manifests("base", "namespace-guard.yaml"), corev1.SchemeGroupVersion.WithResource("namespaces"), namespace("shop", nil, nil)},
		{
			manifests("base", "network-policy-guard.yaml"), networkingv1.SchemeGroupVersion.WithResource("networkpolicies"),
			policy.DefaultNetworkPolicy("kube-system"),
		},
		{
			manifests("overlays", "self-managed", "webhook-guard.yaml"),
			admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations"), admission.Validating("meshwarden"),
		},
	} {
		p := compile(t, guard.file)
		for _, tc := range []struct {
			reason, user string
			held         bool
		}{
			{"where the manifests put it", "system:serviceaccount:meshwarden:meshwarden", true},
			{"where a kustomization put it", "system:serviceaccount:elsewhere:meshwarden", true},
			{"another ServiceAccount of its namespace", "system:serviceaccount:meshwarden:deployer", false},
			{"a ServiceAccount of a longer name", "system:serviceaccount:meshwarden:meshwarden-bootstrap", false},
			{"a user with a client certificate", "jane", false},
			{"a user of its name", "meshwarden", false},
			{"a controller", "system:serviceaccount:kube-system:namespace-controller", false},
		} {
			said := p.judge(t, as(tc.user, guard.resource, guard.refused, nil), namespace(guard.refused.GetNamespace(), nil, nil), tc.reason)
			if len(said) > 0 != tc.held {
				t.Errorf("%s, %s: %q is said, want it held: %t", p.policy.Name, tc.reason, said, tc.held)
			}
		}
	}
}

// TestOldestKubernetes: all policies, and the conditions of the webhooks, are written in what the oldest version of Kubernetes that
// README names has.
func TestOldestKubernetes(t *testing.T) {
	oldest := version.MajorMinor(1, 30)
	compiler := plugincel.NewCompiler(environment.MustBaseEnvSet(oldest))
	for _, w := range admission.Validating("meshwarden").Webhooks {
		for _, c := range w.MatchConditions {
			options := plugincel.OptionalVariableDeclarations{HasAuthorizer: true}
			if result := compiler.CompileCELExpression((*matchconditions.MatchCondition)(&c), options, environment.NewExpressions); result.Error != nil {
				t.Errorf("%s: %s: %v", w.Name, c.Name, result.Error)
			}
		}
	}
	var names []string
	noError(t, filepath.WalkDir(manifests(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("kind: ValidatingAdmissionPolicy\n")) {
			names = append(names, compileFor(t, path, oldest).policy.Name)
		}
		return err
	}))
	for _, name := range []string{"meshwarden-namespace-guard", "meshwarden-network-policy-guard", "meshwarden-secret-guard", "meshwarden-webhook-guard"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not among %v", name, names)
		}
	}
}
