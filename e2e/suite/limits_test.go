package suite

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// limitObjects are there to be read and written, or not.
const limitObjects = `
apiVersion: v1
kind: Namespace
metadata:
  name: guarded
  labels: {istio-injection: disabled, team: a}
  annotations: {meshwarden.io/onboarding: disabled, note: mine}
---
apiVersion: v1
kind: Namespace
metadata: {name: unlabelled, labels: {istio.io/dataplane-mode: none}}
---
apiVersion: v1
kind: Secret
metadata: {namespace: guarded, name: tls}
---
apiVersion: v1
kind: Secret
metadata: {namespace: meshwarden, name: meshwarden-ca}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: guarded, name: settings}
---
apiVersion: v1
kind: Service
metadata: {namespace: guarded, name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {namespace: guarded, name: default}
---
apiVersion: v1
kind: Pod
metadata: {namespace: guarded, name: web}
spec: {containers: [{name: web, image: web}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: guarded, name: default-deny}
spec: {podSelector: {}}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {namespace: meshwarden, name: other}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: other}
`

func readLimits() []limit {
	return []limit{
		{"Secrets of the cluster", list("v1", "SecretList", ""), `cannot list resource "secrets"`},
		{"Secrets beside its own certificate", list("v1", "SecretList", "meshwarden"), `cannot list resource "secrets"`},
		{"a Secret of a team", get("v1", "Secret", "guarded", "tls"), `cannot get resource "secrets"`},
		{"the key of the CA, which cert-manager keeps", get("v1", "Secret", "meshwarden", "meshwarden-ca"), `cannot get resource "secrets"`},
		{"a change of it", watch("SecretList", "meshwarden", "meshwarden-ca"), `cannot watch resource "secrets"`},
		{"Pods, which are of no interest", list("v1", "PodList", ""), `cannot list resource "pods"`},
		{"ConfigMaps but Istio's", get("v1", "ConfigMap", "guarded", "settings"), `cannot get resource "configmaps"`},
		{"ConfigMaps that are named like Istio's", watch("ConfigMapList", "istio-system", "istio"), ""},
		{"its own settings", get("v1", "ConfigMap", "meshwarden", "kube-root-ca.crt"), `cannot get resource "configmaps"`},
		{"ServiceAccounts", list("v1", "ServiceAccountList", ""), `cannot list resource "serviceaccounts"`},
		{"what verdicts depend on", list("networking.istio.io/v1", "GatewayList", ""), ""},
		{"what policies a namespace has", list("networking.k8s.io/v1", "NetworkPolicyList", "guarded"), ""},
	}
}

func writeLimits() []limit {
	const escalation = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: escalation}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, namespace: meshwarden, name: meshwarden}]`
	more := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/rules/-","value":{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}}]`))
	labels := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))
	policy := func(name string) string {
		return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: guarded, name: " + name + "}\nspec: {podSelector: {}}"
	}
	return []limit{
		{"a Gateway", create(gateway("guarded", "gw", "a.example.com")), `cannot create resource "gateways"`},
		{"a VirtualService", create(virtualService("guarded", "v", "a.example.com", "gw")), `cannot create resource "virtualservices"`},
		{"a Gateway that is there", patch("networking.istio.io/v1", "Gateway", "shop", "deployment-first", labels), `cannot patch resource "gateways"`},
		{"its own Deployment", patch("apps/v1", "Deployment", "meshwarden", "meshwarden", labels), `cannot patch resource "deployments"`},
		{"its own Service", patch("v1", "Service", "meshwarden", "meshwarden-webhook", labels), `cannot patch resource "services"`},
		{"somebody's Service", remove("v1", "Service", "guarded", "web"), `cannot delete resource "services"`},
		{"a ConfigMap", create("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: meshwarden, name: c}"), `cannot create resource "configmaps"`},
		{"a Pod", create("apiVersion: v1\nkind: Pod\nmetadata: {namespace: meshwarden, name: p}\nspec: {containers: [{name: c, image: i}]}"), `cannot create resource "pods"`},
		{"a command in a Pod", subresource("v1", "Pod", "guarded", "web", "exec", "apiVersion: v1\nkind: PodExecOptions"), `cannot create resource "pods/exec"`},
		{"a token of its own", subresource("v1", "ServiceAccount", "meshwarden", "meshwarden", "token", "apiVersion: authentication.k8s.io/v1\nkind: TokenRequest"), `cannot create resource "serviceaccounts/token"`},
		{"more rights by a binding", create(escalation), `cannot create resource "clusterrolebindings"`},
		{"more rights in its role", patch("rbac.authorization.k8s.io/v1", "ClusterRole", "", "meshwarden", more), `cannot patch resource "clusterroles"`},
		{"a Secret of another name", create("apiVersion: v1\nkind: Secret\nmetadata: {namespace: meshwarden, name: s}"), `cannot create resource "secrets"`},

		{"the policy, applied", apply(policy("allow-istio-communication")), ""},
		{"the policy, removed", remove("networking.k8s.io/v1", "NetworkPolicy", "guarded", "allow-istio-communication"), ""},
		{"a policy of another name, applied", apply(policy("allow-all")), `cannot patch resource "networkpolicies"`},
		{"a policy, created: RBAC does not know its name then", create(policy("allow-istio-communication")), `cannot create resource "networkpolicies"`},
		{"a team's policy, changed", patch("networking.k8s.io/v1", "NetworkPolicy", "guarded", "default-deny", labels), `cannot patch resource "networkpolicies"`},
		{"a team's policy, removed", remove("networking.k8s.io/v1", "NetworkPolicy", "guarded", "default-deny"), `cannot delete resource "networkpolicies"`},
		{"all policies of a namespace, removed", removeAll("networking.k8s.io/v1", "NetworkPolicy", "guarded"), `cannot deletecollection resource "networkpolicies"`},

		{"the Lease of somebody else", patch("coordination.k8s.io/v1", "Lease", "meshwarden", "other", labels), `cannot patch resource "leases"`},
		{"the Lease of somebody else, read", get("coordination.k8s.io/v1", "Lease", "meshwarden", "other"), `cannot get resource "leases"`},
		{"a Lease of another namespace", create("apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {namespace: kube-system, name: l}"), `cannot create resource "leases"`},
		{"an Event of the older kind, about others", create("apiVersion: v1\nkind: Event\nmetadata: {namespace: guarded, name: e}"), `cannot create resource "events"`},
		{"Events, removed", removeAll("events.k8s.io/v1", "Event", "shop"), `cannot deletecollection resource "events"`},
		{"another webhook", create("apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: mine}"), `cannot create resource "mutatingwebhookconfigurations"`},
		{"somebody's webhook", patch("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "other", labels), `cannot patch resource "validatingwebhookconfigurations"`},
		{"its own webhook, removed", remove("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "meshwarden"), `cannot delete resource "validatingwebhookconfigurations"`},
		{"the guard", remove("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "", "meshwarden-namespace-guard"), `cannot delete resource "validatingadmissionpolicybindings"`},
	}
}

// namespaceLimits are mostly those of the ValidatingAdmissionPolicy: RBAC lets any patch pass.
func namespaceLimits() []limit {
	const labels, annotations = "may only add the label istio-injection=enabled", "may only add its own annotations"
	return []limit{
		{"a new one", create("apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}"), `cannot create resource "namespaces"`},
		{"a new one by an apply", apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}"), `cannot create resource "namespaces"`},
		{"none any more", remove("v1", "Namespace", "", "guarded"), `cannot delete resource "namespaces"`},
		{"its status", subresourcePatch("v1", "Namespace", "guarded", "status", `{"status":{"phase":"Terminating"}}`), `cannot patch resource "namespaces/status"`},

		{"label and mark", patchNamespace("unlabelled", `{"metadata":{"labels":{"istio-injection":"enabled"},"annotations":{"meshwarden.io/onboarding":"enabled"}}}`), ""},
		{"a namespace that keeps its policies", patchNamespace("unlabelled", `{"metadata":{"annotations":{"meshwarden.io/network-policy":"disabled"}}}`), ""},
		{"nothing", patchNamespace("guarded", `{}`), ""},

		{"another label", patchNamespace("guarded", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`), labels},
		{"another label of Istio", patchNamespace("guarded", `{"metadata":{"labels":{"istio.io/rev":"canary"}}}`), labels},
		{"another value of somebody's label", patchNamespace("guarded", `{"metadata":{"labels":{"team":"b"}}}`), labels},
		{"somebody's label taken away", patchNamespace("guarded", `{"metadata":{"labels":{"team":null}}}`), labels},
		{"a choice undone", patchNamespace("guarded", `{"metadata":{"labels":{"istio-injection":"enabled"}}}`), labels},
		{"a choice taken away", patchNamespace("guarded", `{"metadata":{"labels":{"istio-injection":null}}}`), labels},
		{"the label taken away again", patchNamespace("unlabelled", `{"metadata":{"labels":{"istio-injection":null}}}`), labels},
		{"a no to injection", patchNamespace("shop", `{"metadata":{"labels":{"istio-injection":"disabled"}}}`), labels},
		{"another annotation", patchNamespace("guarded", `{"metadata":{"annotations":{"scheduler.alpha.kubernetes.io/node-selector":"a=b"}}}`), annotations},
		{"somebody's annotation", patchNamespace("guarded", `{"metadata":{"annotations":{"note":"yours"}}}`), annotations},
		{"somebody's annotation taken away", patchNamespace("guarded", `{"metadata":{"annotations":{"note":null}}}`), annotations},
		{"an opt-out undone", patchNamespace("guarded", `{"metadata":{"annotations":{"meshwarden.io/onboarding":"enabled"}}}`), annotations},
		{"an opt-out", patchNamespace("older-with-policy", `{"metadata":{"annotations":{"meshwarden.io/onboarding":"disabled"}}}`), annotations},
		{"a finalizer", patchNamespace("guarded", `{"metadata":{"finalizers":["example.com/hold"]}}`), "may not change a Namespace's finalizers or owners"},
		{"an owner", patchNamespace("guarded", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"shop","uid":"u"}]}}`), "may not change a Namespace's finalizers or owners"},
		{"Kubernetes' own", patchNamespace("kube-system", `{"metadata":{"labels":{"istio-injection":"enabled"}}}`), "may not change Kubernetes' namespaces nor its own"},
		{"its own", patchNamespace("meshwarden", `{"metadata":{"annotations":{"meshwarden.io/onboarding":"enabled"}}}`), "may not change Kubernetes' namespaces nor its own"},
	}
}

// certificateLimits are what the overlays differ in. The self-managed one allows it all. RBAC cannot narrow the patch of a
// webhook configuration to its caBundle, and admission policies are not asked about those: whoever has this token can have the
// API server ask Meshwarden about every object, and so read it. With cert-manager the token is of no such use.
func certificateLimits(refusal string) []limit {
	trust := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"test","path":"/metadata/name","value":"meshwarden"}]`))
	configuration := func(kind string) limit {
		return limit{"whom the API server trusts", patch("admissionregistration.k8s.io/v1", kind, "", "meshwarden", trust), refusal}
	}
	return []limit{
		{"its certificate", watch("SecretList", "meshwarden", "meshwarden-certificate"), refusal},
		{"a new certificate", apply("apiVersion: v1\nkind: Secret\nmetadata: {namespace: meshwarden, name: meshwarden-certificate}\ntype: kubernetes.io/tls"), refusal},
		configuration("ValidatingWebhookConfiguration"), configuration("MutatingWebhookConfiguration"),
	}
}

func named(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func get(apiVersion, kind, namespace, name string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		o := named(apiVersion, kind, namespace, name)
		return c.Get(ctx, client.ObjectKeyFromObject(o), o)
	}
}

func list(apiVersion, kind, namespace string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
		return c.List(ctx, l, client.InNamespace(namespace))
	}
}

// watch begins to watch one object of the core group.
func watch(kind, namespace, name string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		l := &unstructured.UnstructuredList{}
		l.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
		w, err := c.(client.WithWatch).Watch(ctx, l, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
		if err == nil {
			w.Stop()
		}
		return err
	}
}

func create(text string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error { return c.Create(ctx, documents(text)[0]) }
}

func apply(text string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(documents(text)[0]), client.FieldOwner("limits"))
	}
}

func patch(apiVersion, kind, namespace, name string, p client.Patch) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		return c.Patch(ctx, named(apiVersion, kind, namespace, name), p)
	}
}

func patchNamespace(name, text string) func(context.Context, client.Client) error {
	return patch("v1", "Namespace", "", name, client.RawPatch(types.MergePatchType, []byte(text)))
}

func remove(apiVersion, kind, namespace, name string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		return c.Delete(ctx, named(apiVersion, kind, namespace, name))
	}
}

func removeAll(apiVersion, kind, namespace string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		return c.DeleteAllOf(ctx, named(apiVersion, kind, namespace, ""), client.InNamespace(namespace))
	}
}

func subresource(apiVersion, kind, namespace, name, sub, text string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		return c.SubResource(sub).Create(ctx, named(apiVersion, kind, namespace, name), documents(text)[0])
	}
}

func subresourcePatch(apiVersion, kind, name, sub, text string) func(context.Context, client.Client) error {
	return func(ctx context.Context, c client.Client) error {
		return c.SubResource(sub).Patch(ctx, named(apiVersion, kind, "", name), client.RawPatch(types.MergePatchType, []byte(text)))
	}
}
