package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// What is in the way of an installation is named before anything is changed.
func TestBootstrapRefused(t *testing.T) {
	t.Parallel()
	b := startBootstrap(t, controlplane.Options{Roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer}})
	before := b.stored(t)
	t.Run("documents", func(t *testing.T) { testBadDocuments(t, b) })
	t.Run("rights", func(t *testing.T) { testMissingRights(t, b) })
	if changed := changes(before, b.stored(t)); !slices.Equal(changed, []string{"clusterroles /meshwarden-bootstrap"}) {
		t.Errorf("changed: %v, want what this test itself wrote", changed)
	}
	t.Run("collisions", func(t *testing.T) { testCollisions(t, b) })
}

// testBadDocuments runs every bad document of the installer's own tests, whose faults are in a file beside it.
func testBadDocuments(t *testing.T, b *bootstrapped) {
	files, err := filepath.Glob(repository("installer", "testdata", "documents", "bad", "*.yaml"))
	noError(t, "find the bad documents", err)
	if len(files) == 0 {
		t.Fatal("there are no bad documents")
	}
	for _, file := range files {
		document, err := os.ReadFile(file)
		noError(t, "read a bad document", err)
		faults, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".txt")
		noError(t, "read the faults of a bad document", err)
		b.run(t, string(document), localRegistry).want(t, 78, strings.TrimSpace(string(faults)))
	}
}

// everyKind is a profile, and values beside it, that bring out every kind of object that Istio's charts have.
const everyKind = `profile: openshift-ambient
      values:
        pilot: {autoscaleMin: 2}
        global: {networkPolicy: {enabled: true}, remotePilotAddress: 10.0.0.1}
        istiodRemote: {enabled: true, enabledLocalInjectorIstiod: true}
        cni: {resourceQuotas: {enabled: true}}
        experimental: {stableValidationPolicy: true}`

// testMissingRights takes one right after the other from the Job.
func testMissingRights(t *testing.T, b *bootstrapped) {
	all := &rbacv1.ClusterRole{}
	noError(t, "read the Job's rights", b.client.Get(t.Context(), client.ObjectKey{Name: "meshwarden-bootstrap"}, all))
	for i, rule := range all.Rules {
		for j, verb := range rule.Verbs {
			role := all.DeepCopy()
			role.ResourceVersion = ""
			if role.Rules[i].Verbs = slices.Delete(role.Rules[i].Verbs, j, j+1); len(role.Rules[i].Verbs) == 0 {
				role.Rules = slices.Delete(role.Rules, i, i+1) // a rule needs a verb
			}
			noError(t, "take a right", b.client.Update(t.Context(), role))
			if rule.APIGroups[0] == "sailoperator.io" {
				// The cluster does not have the kind: then nobody needs the right.
				b.run(t, reference(t), localRegistry, "--dry-run").want(t, 0, "+kind: IstioOperator")
				continue
			}
			o := b.run(t, reference(t, "profile: default", everyKind), localRegistry)
			o.want(t, 1, "nothing was changed")
			for _, resource := range rule.Resources {
				if group := rule.APIGroups[0]; group != "" {
					resource += "." + group
				}
				if !strings.Contains(o.output, fmt.Sprintf("no right to %s %s", verb, resource)) {
					t.Errorf("the right to %s %s was not missed:\n%s", verb, resource, o.output)
				}
			}
		}
	}
	role := all.DeepCopy()
	role.ResourceVersion = ""
	noError(t, "give all rights back", b.client.Update(t.Context(), role))
}

// made is an object as another installer leaves it, with what the preflight says of it.
type made struct{ name, reason, objects, want string }

// collisions returns them in an order in which those that stay come last.
func collisions() []made {
	const owned = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: istiod
  namespace: istio-system
  %s
spec:
  selector: {matchLabels: {istio: pilot}}
  template: {metadata: {labels: {istio: pilot}}, spec: {containers: [{name: discovery, image: pilot}]}}`
	const webhooks = `
apiVersion: admissionregistration.k8s.io/v1
kind: %sWebhookConfiguration
metadata: {name: %s}
webhooks:
- name: %s
  sideEffects: None
  admissionReviewVersions: [v1]
  failurePolicy: Fail
  clientConfig: {service: {namespace: elsewhere, name: nobody}}
  rules: [{operations: [CREATE], apiGroups: [%q], apiVersions: [v1], resources: [%s]}]
  namespaceSelector: {matchLabels: {%s}}`
	const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.networking.istio.io, annotations: %[3]s}
spec:
  group: networking.istio.io
  scope: Namespaced
  names: {kind: %[2]s, plural: %[1]s}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`
	const clusterRole = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: istio-reader-clusterrole-istio-system, annotations: %s}
`
	return []made{
		{
			name: "istioctl", reason: "its labels name an IstioOperator that is nowhere",
			objects: fmt.Sprintf(owned, `labels: {operator.istio.io/managed: Reconcile, operator.istio.io/component: Pilot, operator.istio.io/version: 1.30.0,
    install.operator.istio.io/owning-resource: installed-state, install.operator.istio.io/owning-resource-namespace: istio-system}`),
			want: "Istio is installed here already, by istioctl (istio-system/installed-state): Deployment istio-system/istiod",
		},
		{
			name: "helm", reason: "Helm's annotations",
			objects: fmt.Sprintf(owned, `labels: {app.kubernetes.io/managed-by: Helm, install.operator.istio.io/owning-resource: unknown}
  annotations: {meta.helm.sh/release-name: istiod, meta.helm.sh/release-namespace: istio-system}`),
			want: "Istio is installed here already, by Helm (release istio-system/istiod): Deployment istio-system/istiod",
		},
		{
			name: "helm base", reason: "what a release leaves behind that was uninstalled is no collision, what it still has is one",
			objects: fmt.Sprintf(crd, "destinationrules", "DestinationRule", "{helm.sh/resource-policy: keep, meta.helm.sh/release-name: istio-base, meta.helm.sh/release-namespace: istio-system}") +
				fmt.Sprintf(clusterRole, "{meta.helm.sh/release-name: istiod, meta.helm.sh/release-namespace: istio-system}"),
			want: "Istio is installed here already, by Helm (release istio-system/istiod): ClusterRole istio-reader-clusterrole-istio-system\n    take that out of",
		},
		{
			name: "helm definitions", reason: "they would go with their release, and all objects with them",
			objects: fmt.Sprintf(crd, "destinationrules", "DestinationRule", "{meta.helm.sh/release-name: mesh, meta.helm.sh/release-namespace: default}"),
			want:    "to uninstall Helm (release default/mesh) would delete CustomResourceDefinition destinationrules.networking.istio.io",
		},
		{
			name: "sail", reason: "its own object, of a kind that is there only with it",
			objects: `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: istios.sailoperator.io}
spec:
  group: sailoperator.io
  scope: Cluster
  names: {kind: Istio, plural: istios}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: sailoperator.io/v1
kind: Istio
metadata: {name: default}
spec: {version: v1.30.0, namespace: istio-system}`,
			want: "Istio default of the Sail operator has its control plane in namespace istio-system",
		},
		{
			name: "old operator", reason: "Istio's own operator, until 1.23",
			objects: `
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-operator, namespace: istio-operator}
spec:
  selector: {matchLabels: {name: istio-operator}}
  template: {metadata: {labels: {name: istio-operator}}, spec: {containers: [{name: istio-operator, image: operator}]}}`,
			want: "Deployment istio-operator/istio-operator is an operator of somebody else",
		},
		{
			name: "injector", reason: "a revision tag that is the default",
			objects: fmt.Sprintf(webhooks, "Mutating", "istio-revision-tag-default", "namespace.sidecar-injector.istio.io", "", "pods", "istio-injection: enabled"),
			want:    "of MutatingWebhookConfiguration istio-revision-tag-default injects pods that this control plane would inject as well",
		},
		{
			name: "dead webhook", reason: "it fails closed on Deployments of the operator's namespace, and nobody is there",
			objects: fmt.Sprintf(webhooks, "Validating", "guard", "guard.example.com", "apps", "deployments", "kubernetes.io/metadata.name: istio-operator"),
			want:    "its Service elsewhere/nobody has no ready endpoint: it would refuse Deployment istio-operator/istio-operator",
		},
		{
			name: "pod security", reason: "istiod's pods do not fulfil the highest level",
			objects: "{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {pod-security.kubernetes.io/enforce: restricted}}}",
			want:    `namespace istio-system enforces pod security "restricted", which refuses the pods of Deployment istio-system/istiod`,
		},
		{
			name: "terminating", reason: "without a controller manager the namespace stays so",
			objects: "{apiVersion: v1, kind: Namespace, metadata: {name: istio-operator, finalizers: [example.com/hold]}}",
			want:    "namespace istio-operator is being deleted",
		},
	}
}

// testCollisions installs beside what others have installed. The namespaces are there, and stay.
func testCollisions(t *testing.T, b *bootstrapped) {
	b.namespace(t, "istio-system")
	b.namespace(t, "istio-operator")
	for _, c := range collisions() {
		t.Run(c.name, func(t *testing.T) {
			var objects []*unstructured.Unstructured
			for _, o := range documents(c.objects) {
				b.eventually(t, "make "+o.GetName(), func(ctx context.Context) error {
					return b.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner("another"), client.ForceOwnership)
				})
				objects = append(objects, o)
			}
			if c.name == "terminating" {
				b.remove(t, objects[0])
			}
			before := b.stored(t)
			b.run(t, reference(t), localRegistry).want(t, 1, "nothing was changed", c.want)
			b.run(t, reference(t), localRegistry, "--dry-run").want(t, 1, c.want, "# What the bootstrap changes", "the installation would be refused")
			if changed := changes(before, b.stored(t)); len(changed) > 0 {
				t.Errorf("%s: changed: %v", c.reason, changed)
			}
			for _, o := range slices.Backward(objects) {
				if o.GetKind() != "Namespace" {
					b.remove(t, o)
					b.waitGone(t, o)
				}
			}
		})
	}
}
