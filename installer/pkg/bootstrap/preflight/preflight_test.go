package preflight

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

func object(text string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		panic(err)
	}
	return o
}

// target returns what a document of the profile leads to, as far as a preflight looks at it.
func target(t *testing.T, profile string) Target {
	t.Helper()
	operator := object(`
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: istiocontrolplane, namespace: istio-system}
spec: {profile: ` + profile + `, values: {global: {istioNamespace: istio-system}}}`)
	rendering, err := render.Render(operator, nil)
	if err != nil {
		t.Fatal(err)
	}
	plan := installation.Plan{
		IstioOperator: operator,
		Namespaces: []*unstructured.Unstructured{
			object(`{apiVersion: v1, kind: Namespace, metadata: {name: istio-operator, labels: {meshwarden.io/onboarding: disabled}}}`),
			object(`{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {meshwarden.io/onboarding: disabled}}}`),
		},
		Operator: []*unstructured.Unstructured{
			object(`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: istio-operator, namespace: istio-system}}`),
			object(`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: istio-operator, namespace: istio-system},
				roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: istio-operator}}`),
			object(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: istio-operator, namespace: istio-operator}, spec: {template: {spec: {
				securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}},
				containers: [{name: installer, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]}}}}`),
		},
	}
	return Target{Plan: plan, Watched: []string{"istio-system", "team"}, Rendering: rendering}
}

// istioSystem returns Istio's namespace as one that exists.
func istioSystem(labels map[string]string) map[string]*corev1.Namespace {
	return map[string]*corev1.Namespace{"istio-system": {ObjectMeta: metav1.ObjectMeta{Name: "istio-system", Labels: labels}}}
}

func istioOperator(namespace, name string, ours bool) *unstructured.Unstructured {
	o := object(`{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, metadata: {name: ` + name + `, namespace: ` + namespace + `}}`)
	if ours {
		o.SetLabels(map[string]string{installation.ManagedByLabel: installation.ManagedBy})
	}
	return o
}

// injector returns a MutatingWebhookConfiguration for pods of namespaces with the labels.
func injector(name, selector string) []admissionv1.MutatingWebhookConfiguration {
	c := admissionv1.MutatingWebhookConfiguration{}
	text := `
metadata: {name: ` + name + `}
webhooks:
- name: namespace.sidecar-injector.istio.io
  failurePolicy: Ignore
  clientConfig: {service: {namespace: mesh, name: istiod-old}}
  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  namespaceSelector: {` + selector + `}`
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	return []admissionv1.MutatingWebhookConfiguration{c}
}

// guard returns a webhook that looks at such objects.
func guard(rest string) []admissionv1.ValidatingWebhookConfiguration {
	c := admissionv1.ValidatingWebhookConfiguration{}
	text := `
metadata: {name: guard}
webhooks:
- name: guard.example.com
  clientConfig: {service: {namespace: policy, name: guard}}
` + rest
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	return []admissionv1.ValidatingWebhookConfiguration{c}
}

const everything = `  rules: [{operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"]}]` + "\n"

func TestJudge(t *testing.T) {
	defaults, ambient := target(t, "default"), target(t, "ambient")
	ours := istioSystem(nil)
	going := istioSystem(nil)
	going["istio-system"].DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1, 0)))
	sailIstio := func(name, namespace string) []*unstructured.Unstructured {
		return []*unstructured.Unstructured{object(`{apiVersion: sailoperator.io/v1, kind: Istio, metadata: {name: ` + name + `}, spec: {namespace: ` + namespace + `}}`)}
	}

	cases := map[string]struct {
		reason string
		judge  func(Target, snapshot) []Finding
		target Target
		given  snapshot
		want   []string
	}{
		"Kubernetes":          {reason: "supported", judge: kubernetes, given: snapshot{version: &version.Info{GitVersion: "v1.32.0"}}},
		"KubernetesOfAVendor": {reason: "a vendor's addition", judge: kubernetes, given: snapshot{version: &version.Info{GitVersion: "v1.33.4-eks-a1b2"}}},
		"KubernetesTooOld": {
			reason: "istioctl's own limit", judge: kubernetes, given: snapshot{version: &version.Info{GitVersion: "v1.31.9"}},
			want: []string{"Kubernetes v1.31.9 is too old for this Istio, which needs 1.32"},
		},
		"KubernetesUnreadable": {
			reason: "no version", judge: kubernetes, given: snapshot{version: &version.Info{GitVersion: "main"}},
			want: []string{`the version of Kubernetes, "main", cannot be read`},
		},
		"Permissions": {
			reason: "the verbs on an object are one finding", judge: permissions,
			given: snapshot{denied: []Right{
				{Verb: "create", Group: "apps", Resource: "deployments", Namespace: "istio-operator", Name: operatorName},
				{Verb: "patch", Group: "apps", Resource: "deployments", Namespace: "istio-operator", Name: operatorName},
				{Verb: "list", Resource: "pods"},
			}},
			want: []string{"no right to create, patch deployments.apps istio-operator in namespace istio-operator", "no right to list pods"},
		},
		"Terminating": {
			reason: "nothing can be created there", judge: terminating, target: defaults, given: snapshot{namespaces: going},
			want: []string{"namespace istio-system is being deleted"},
		},
		"IstioOperatorTerminating": {
			reason: "what is applied to it would go with it", judge: terminating, target: defaults,
			given: snapshot{istioOperators: []*unstructured.Unstructured{object(`{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator,
				metadata: {name: istiocontrolplane, namespace: istio-system, deletionTimestamp: "2026-01-01T00:00:00Z"}}`)}},
			want: []string{"IstioOperator istio-system/istiocontrolplane is being deleted"},
		},
		"OwnOperator": {
			reason: "the second run", judge: otherOperators, target: defaults, given: snapshot{operators: operatorIn("istio-operator", map[string]string{installation.ManagedByLabel: installation.ManagedBy})},
		},
		"OldOperator": {
			reason: "Istio's own, where ours is to be", judge: otherOperators, target: defaults, given: snapshot{operators: operatorIn("istio-operator", nil)},
			want: []string{"Deployment istio-operator/istio-operator is an operator of somebody else, such as Istio's own until 1.23, and would work against this one"},
		},
		"MovedOperator": {
			reason: "namespaces.operator was changed", judge: otherOperators, target: defaults, given: snapshot{operators: operatorIn("before", map[string]string{installation.ManagedByLabel: installation.ManagedBy})},
			want: []string{"Meshwarden's operator runs in namespace before already, and two would work against each other"},
		},
		"Unwatched": {
			reason: "a watched namespace left the document while its control plane lives; those of other people are theirs", judge: unwatched, target: defaults,
			given: snapshot{istioOperators: []*unstructured.Unstructured{
				istioOperator("left", "istiocontrolplane", true), istioOperator("theirs", "x", false), istioOperator("istio-system", "istiocontrolplane", true),
			}},
			want: []string{"IstioOperator left/istiocontrolplane is in a namespace that the document does not watch any more"},
		},
		"UnwatchedCanary": {
			reason: "one that the user wrote, held by the finalizer where the operator would lose its rights; not one that it never took up, nor one of another operator",
			judge:  unwatched, target: defaults,
			given: snapshot{
				roles: []rbacv1.Role{{ObjectMeta: metav1.ObjectMeta{Namespace: "left", Name: operatorName}}},
				istioOperators: []*unstructured.Unstructured{
					held(istioOperator("left", "canary", false)), istioOperator("left", "invalid", false), held(istioOperator("theirs", "x", false)),
				},
			},
			want: []string{"IstioOperator left/canary is in a namespace that the document does not watch any more"},
		},
		"Renamed": {
			reason: "istio_spec.name was changed; a control plane that the user made beside ours is described elsewhere", judge: secondControlPlanes, target: defaults,
			given: snapshot{istioOperators: []*unstructured.Unstructured{
				istioOperator("istio-system", "before", true), istioOperator("team", "canary", false), istioOperator("istio-system", "istiocontrolplane", true),
			}},
			want: []string{"IstioOperator istio-system/before describes a control plane as well, and the document does not name it any more"},
		},
		"Unchanged": {
			reason: "the second run removes nothing", judge: leaving, target: defaults, given: snapshot{istioOperators: []*unstructured.Unstructured{profiled("default")}},
		},
		"FirstRun": {reason: "there is nothing to remove", judge: leaving, target: defaults},
		"FewerGateways": {
			reason: "a profile with less", judge: leaving, target: defaults, given: snapshot{istioOperators: []*unstructured.Unstructured{profiled("demo")}},
			want: []string{"the change removes Deployment istio-system/istio-egressgateway"},
		},
		"UnreadableBefore": {
			reason: "what Istio refuses tells nothing", judge: leaving, target: defaults, given: snapshot{istioOperators: []*unstructured.Unstructured{profiled("nonsense")}},
		},
		"KindUnserved": {
			reason: "what OpenShift has and other clusters do not", judge: unserved, target: target(t, "openshift"),
			given: snapshot{unserved: []schema.GroupKind{{Group: "k8s.cni.cncf.io", Kind: "NetworkAttachmentDefinition"}}},
			want:  []string{"component Cni has NetworkAttachmentDefinition default/istio-cni, and the cluster has no kind NetworkAttachmentDefinition.k8s.cni.cncf.io"},
		},
		"Sail": {
			reason: "its control plane is where ours is to be", judge: sail, target: defaults, given: snapshot{sail: sailIstio("prod", "istio-system")},
			want: []string{"Istio prod of the Sail operator has its control plane in namespace istio-system, and would collide with this one"},
		},
		"SailDefault": {
			reason: "both inject the same pods", judge: sail, target: defaults, given: snapshot{sail: sailIstio("default", "mesh")},
			want: []string{"Istio default of the Sail operator has its control plane in namespace mesh, and would collide with this one"},
		},
		"SailElsewhere": {reason: "another revision in another namespace", judge: sail, target: defaults, given: snapshot{sail: sailIstio("prod", "mesh")}},
		"InjectorOfTag": {
			reason: "a default revision tag", judge: injectors, target: defaults, given: snapshot{mutating: injector("istio-revision-tag-default", "matchLabels: {istio-injection: enabled}")},
			want: []string{"webhook namespace.sidecar-injector.istio.io of MutatingWebhookConfiguration istio-revision-tag-default injects pods that this control plane would inject as well"},
		},
		"InjectorOfRevision":   {reason: "another revision", judge: injectors, target: defaults, given: snapshot{mutating: injector("istio-sidecar-injector-1-30", "matchLabels: {istio.io/rev: 1-30}, matchExpressions: [{key: istio-injection, operator: DoesNotExist}]")}},
		"InjectorOfTheSame":    {reason: "installations are judged by who made them", judge: injectors, target: defaults, given: snapshot{mutating: injector("istio-sidecar-injector", "matchLabels: {istio-injection: enabled}")}},
		"DeadWebhookElsewhere": {reason: "it does not look at what is created", judge: deadWebhooks, target: defaults, given: snapshot{validating: guard(strings.Replace(everything, `resources: ["*"]`, "resources: [cronjobs]", 1))}},
		"DeadWebhookOpen":      {reason: "it fails open", judge: deadWebhooks, target: defaults, given: snapshot{validating: guard("  failurePolicy: Ignore\n" + everything)}},
		"DeadWebhookCondition": {reason: "what its conditions let pass is not known", judge: deadWebhooks, target: defaults, given: snapshot{validating: guard("  matchConditions: [{name: x, expression: 'false'}]\n" + everything)}},
		"DeadWebhookURL":       {reason: "nobody knows what is behind a URL", judge: deadWebhooks, target: defaults, given: snapshot{validating: guard(strings.Replace(everything, "  rules", "  clientConfig: {url: 'https://x'}\n  rules", 1))}},
		"LiveWebhook": {
			reason: "somebody answers", judge: deadWebhooks, target: defaults,
			given: snapshot{validating: guard(everything), served: map[types.NamespacedName]bool{{Namespace: "policy", Name: "guard"}: true}},
		},
		"DeadWebhook": {
			reason: "it would refuse the first object already", judge: deadWebhooks, target: defaults, given: snapshot{validating: guard(everything)},
			want: []string{"webhook guard.example.com of ValidatingWebhookConfiguration guard fails closed while its Service policy/guard has no ready endpoint: it would refuse Namespace istio-operator and N more"},
		},
		"DeadWebhookPods": {
			reason: "only pods come by it, and Istio's namespace is none of its own", judge: deadWebhooks, target: defaults,
			given: snapshot{namespaces: ours, validating: guard(`  rules: [{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
  namespaceSelector: {matchExpressions: [{key: meshwarden.io/onboarding, operator: DoesNotExist}]}`)},
			want: []string{"webhook guard.example.com of ValidatingWebhookConfiguration guard fails closed while its Service policy/guard has no ready endpoint: it would refuse the pods of Deployment istio-system/istiod and 1 more"},
		},
		"DeadWebhookCreations": {
			reason: "what is there is updated", judge: deadWebhooks, target: defaults,
			given: snapshot{
				existing: []*unstructured.Unstructured{
					istiod(""), found("Deployment", "istio-system/istio-ingressgateway", ""), found("Deployment", "istio-operator/istio-operator", ""),
				},
				validating: guard(`  rules: [{operations: [CREATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}]`),
			},
		},
		"DeadWebhookUpdates": {
			reason: "only what is there is updated", judge: deadWebhooks, target: defaults,
			given: snapshot{
				existing:   []*unstructured.Unstructured{istiod("")},
				validating: guard(`  rules: [{operations: [UPDATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}]`),
			},
			want: []string{"webhook guard.example.com of ValidatingWebhookConfiguration guard fails closed while its Service policy/guard has no ready endpoint: it would refuse Deployment istio-system/istiod"},
		},
		"DeadWebhookMissing": {
			reason: "where Istio is, its Service need not be", judge: deadWebhooks, target: defaults,
			given: snapshot{
				existing:   []*unstructured.Unstructured{istiod(""), found("Service", "istio-system/istio-ingressgateway", "")},
				validating: guard(`  rules: [{operations: [UPDATE], apiGroups: [""], apiVersions: [v1], resources: [services]}]`),
			},
			want: []string{"webhook guard.example.com of ValidatingWebhookConfiguration guard fails closed while its Service policy/guard has no ready endpoint: it would refuse Service istio-system/istio-ingressgateway"},
		},
		"DeadWebhookUpdatesAtFirst": {
			reason: "where nothing is, nothing is updated", judge: deadWebhooks, target: defaults,
			given: snapshot{validating: guard(strings.Replace(everything, `["*"]`, "[UPDATE]", 1))},
		},
		"DeadWebhookNamespaces": {
			reason: "namespaces that are there are not written", judge: deadWebhooks, target: defaults,
			given: snapshot{
				namespaces: map[string]*corev1.Namespace{"istio-operator": {}, "istio-system": {}},
				validating: guard(`  rules: [{operations: ["*"], apiGroups: [""], apiVersions: [v1], resources: [namespaces]}]`),
			},
		},
		"DeadWebhookWebhooks": {
			reason: "the API server asks no webhook about webhooks", judge: deadWebhooks, target: defaults,
			given: snapshot{validating: guard(strings.Replace(everything, `apiGroups: ["*"]`, "apiGroups: [admissionregistration.k8s.io]", 1))},
		},
		"OwnDeadWebhook": {
			reason: "an istiod that is down is what the installation repairs", judge: deadWebhooks, target: defaults,
			given: snapshot{validating: guard(strings.Replace(everything, "  rules", "  clientConfig: {service: {namespace: istio-system, name: istiod}}\n  rules", 1))},
		},
		"PodSecurityBaseline": {
			reason: "sidecars without CNI need no more than that in Istio's own namespace", judge: podSecurity, target: defaults,
			given: snapshot{namespaces: istioSystem(map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})},
		},
		"PodSecurityAmbient": {
			reason: "CNI and ztunnel work on the node", judge: podSecurity, target: ambient,
			given: snapshot{namespaces: istioSystem(map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})},
			want: []string{`namespace istio-system enforces pod security "baseline", which refuses the pods of DaemonSet istio-system/istio-cni-node ` +
				`(forbidden AppArmor profile, non-default capabilities, hostPath volumes), DaemonSet istio-system/ztunnel (non-default capabilities, hostPath volumes)`},
		},
		"PodSecurityNone": {reason: "no label", judge: podSecurity, target: ambient, given: snapshot{namespaces: ours}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range c.judge(c.target, c.given) {
				got = append(got, f.Problem)
			}
			for i, want := range c.want {
				// How many objects a profile has is of no interest here.
				if before, found := strings.CutSuffix(want, " N more"); found && i < len(got) && strings.HasPrefix(got[i], before) {
					got[i] = want
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestPodSecurityRemedy(t *testing.T) {
	restricted := map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	for profile, want := range map[string]string{"default": "baseline", "ambient": "privileged"} {
		got := podSecurity(target(t, profile), snapshot{namespaces: istioSystem(restricted)})
		if len(got) != 1 || got[0].Remedy != "kubectl label namespace istio-system --overwrite pod-security.kubernetes.io/enforce="+want {
			t.Errorf("profile %s: findings %v, want one whose remedy is level %s", profile, got, want)
		}
	}
}

func TestStale(t *testing.T) {
	in := func(namespace string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: operatorName}
	}
	got := stale(target(t, "default"), snapshot{
		roles:    []rbacv1.Role{{ObjectMeta: in("istio-system")}, {ObjectMeta: in("left")}, {ObjectMeta: metav1.ObjectMeta{Namespace: "left", Name: "another"}}},
		bindings: []rbacv1.RoleBinding{{ObjectMeta: in("left")}, {ObjectMeta: in("istio-system")}},
	})
	var titles []string
	for _, o := range got {
		titles = append(titles, title(o))
	}
	if diff := cmp.Diff([]string{"RoleBinding left/istio-operator", "Role left/istio-operator"}, titles); diff != "" {
		t.Errorf("stale objects (-want +got):\n%s", diff)
	}
}
