package suite

import (
	"cmp"
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
kind: Namespace
metadata: {name: declined, labels: {meshwarden.io/onboarding: disabled}}
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
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: guarded, name: allow-istio-communication}
spec: {podSelector: {}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: unlabelled, name: allow-istio-communication, labels: {app.kubernetes.io/managed-by: meshwarden}}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: cert-manager}
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

		{"the Lease of somebody else", patch("coordination.k8s.io/v1", "Lease", "meshwarden", "other", labels), `cannot patch resource "leases"`},
		{"the Lease of somebody else, read", get("coordination.k8s.io/v1", "Lease", "meshwarden", "other"), `cannot get resource "leases"`},
		{"a Lease of another namespace", create("apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {namespace: kube-system, name: l}"), `cannot create resource "leases"`},
		{"an Event of the older kind, about others", create("apiVersion: v1\nkind: Event\nmetadata: {namespace: guarded, name: e}"), `cannot create resource "events"`},
		{"Events, removed", removeAll("events.k8s.io/v1", "Event", "shop"), `cannot deletecollection resource "events"`},
		{"another webhook", create("apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {name: mine}"), `cannot create resource "mutatingwebhookconfigurations"`},
		{"somebody's webhook", patch("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "other", labels), `cannot patch resource "validatingwebhookconfigurations"`},
		{"its own webhook, removed", remove("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "", "meshwarden"), `cannot delete resource "validatingwebhookconfigurations"`},
		{"a guard", remove("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", "", "meshwarden-namespace-guard"), `cannot delete resource "validatingadmissionpolicybindings"`},
	}
}

// patchNetworkPolicy changes the one that RBAC lets Meshwarden change.
func patchNetworkPolicy(namespace, text string) func(context.Context, client.Client) error {
	return patch("networking.k8s.io/v1", "NetworkPolicy", namespace, "allow-istio-communication", client.RawPatch(types.MergePatchType, []byte(text)))
}

// networkPolicyLimits are those of RBAC by name, and of the ValidatingAdmissionPolicy by content. Meshwarden itself has nothing to
// do with namespace cert-manager, which it leaves alone by option.
func networkPolicyLimits() []limit {
	const anything = "podSelector: {}"
	const all = "podSelector: {}, ingress: [{}], egress: [{}], policyTypes: [Egress, Ingress]"
	policy := func(namespace, name, labels, spec string) string {
		return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n" +
			"metadata: {namespace: " + namespace + ", name: " + name + ", labels: {" + labels + "}}\nspec: {" + spec + "}"
	}
	own := func(namespace, spec string) string {
		return policy(namespace, "allow-istio-communication", "app.kubernetes.io/managed-by: meshwarden", spec)
	}
	removal := func(namespace, name string) func(context.Context, client.Client) error {
		return remove("networking.k8s.io/v1", "NetworkPolicy", namespace, name)
	}
	const others, content, label = "somebody else's NetworkPolicy", "may only write the default NetworkPolicy", "may only add its own label"
	const metadata, excluded = "may not write annotations, finalizers or owners", "of Kubernetes' namespaces nor of its own"
	return []limit{
		{"another policy where there is none", apply(own("cert-manager", anything)), content},
		{"the policy without its label", apply(policy("cert-manager", "allow-istio-communication", "", all)), label},
		{"the policy with another label", apply(policy("cert-manager", "allow-istio-communication", "app.kubernetes.io/managed-by: meshwarden, a: b", all)), label},
		{"the policy", apply(own("cert-manager", all)), ""},
		{"the policy once more", apply(own("cert-manager", all)), ""},
		{"traffic shut off", patchNetworkPolicy("cert-manager", `{"spec":{"ingress":null}}`), content},
		{"traffic of some pods", patchNetworkPolicy("cert-manager", `{"spec":{"podSelector":{"matchLabels":{"a":"b"}}}}`), content},
		{"its label away", patchNetworkPolicy("cert-manager", `{"metadata":{"labels":null}}`), label},
		{"what keeps it from being deleted", patchNetworkPolicy("cert-manager", `{"metadata":{"finalizers":["example.com/hold"]}}`), metadata},
		{"an annotation", patchNetworkPolicy("cert-manager", `{"metadata":{"annotations":{"a":"b"}}}`), metadata},
		{"the policy, removed", removal("cert-manager", "allow-istio-communication"), ""},

		{"the policy for Kubernetes", apply(own("kube-system", all)), excluded},
		{"the policy for itself", apply(own("meshwarden", all)), excluded},
		{"the policy where the owner has opted out", apply(own("edge", all)), "to a namespace that declines it"},
		{"the policy where it was declined", apply(own("older-with-policy", all)), "to a namespace that declines it"},
		{"the policy outside of the mesh", patchNetworkPolicy("unlabelled", `{"spec":{`+
			`"podSelector":{},"ingress":[{}],"egress":[{}],"policyTypes":["Egress","Ingress"]}}`), "to a namespace that stays out of the mesh"},
		{"what somebody makes theirs, removed", removal("unlabelled", "allow-istio-communication"), "that is as Meshwarden made it"},
		{"a team's policy of that name, changed", patchNetworkPolicy("guarded", `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"meshwarden"}}}`), others},
		{"a team's policy of that name, removed", removal("guarded", "allow-istio-communication"), others},

		{"a policy of another name, applied", apply(policy("guarded", "allow-all", "", all)), `cannot patch resource "networkpolicies"`},
		{"a policy, created: RBAC does not know its name then", create(own("cert-manager", all)), `cannot create resource "networkpolicies"`},
		{"a team's policy, changed", patch("networking.k8s.io/v1", "NetworkPolicy", "guarded", "default-deny", client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))), `cannot patch resource "networkpolicies"`},
		{"a team's policy, removed", removal("guarded", "default-deny"), `cannot delete resource "networkpolicies"`},
		{"all policies of a namespace, removed", removeAll("networking.k8s.io/v1", "NetworkPolicy", "guarded"), `cannot deletecollection resource "networkpolicies"`},
	}
}

// namespaceLimits are mostly those of the ValidatingAdmissionPolicy: RBAC lets any patch pass.
func namespaceLimits() []limit {
	const labels, annotations = "may only add the label istio-injection=enabled to a Namespace whose owner chose nothing else", "may only add its own annotations"
	return []limit{
		{"a new one", create("apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}"), `cannot create resource "namespaces"`},
		{"a new one by an apply", apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: mine}"), `cannot create resource "namespaces"`},
		{"none any more", remove("v1", "Namespace", "", "guarded"), `cannot delete resource "namespaces"`},
		{"its status", subresourcePatch("v1", "Namespace", "guarded", "status", `{"status":{"phase":"Terminating"}}`), `cannot patch resource "namespaces/status"`},

		{"the mark", patchNamespace("unlabelled", `{"metadata":{"annotations":{"meshwarden.io/onboarding":"enabled"}}}`), ""},
		{"a namespace that keeps its policies", patchNamespace("unlabelled", `{"metadata":{"annotations":{"meshwarden.io/network-policy":"disabled"}}}`), ""},
		{"nothing", patchNamespace("guarded", `{}`), ""},

		{"another label", patchNamespace("guarded", `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`), labels},
		{"another label of Istio", patchNamespace("guarded", `{"metadata":{"labels":{"istio.io/rev":"canary"}}}`), labels},
		{"another value of somebody's label", patchNamespace("guarded", `{"metadata":{"labels":{"team":"b"}}}`), labels},
		{"somebody's label taken away", patchNamespace("guarded", `{"metadata":{"labels":{"team":null}}}`), labels},
		{"a choice undone", patchNamespace("guarded", `{"metadata":{"labels":{"istio-injection":"enabled"}}}`), labels},
		{"a choice taken away", patchNamespace("guarded", `{"metadata":{"labels":{"istio-injection":null}}}`), labels},
		{"the label beside another choice", patchNamespace("unlabelled", `{"metadata":{"labels":{"istio-injection":"enabled"}}}`), labels},
		{"the label against the owner's no", patchNamespace("declined", `{"metadata":{"labels":{"istio-injection":"enabled"}}}`), labels},
		{"the mark against the owner's no", patchNamespace("declined", `{"metadata":{"annotations":{"meshwarden.io/onboarding":"enabled"}}}`), annotations},
		{"the label taken away again", patchNamespace("shop", `{"metadata":{"labels":{"istio-injection":null}}}`), labels},
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

// certificateLimits are what the overlays differ in. The self-managed one allows what is asked for, and of its webhook
// configurations no more than the caBundle: the ValidatingAdmissionPolicy is what narrows that. cert-manager's allows nothing.
func certificateLimits(refusal string) []limit {
	limits := []limit{
		{"its certificate", watch("SecretList", "meshwarden", "meshwarden-certificate"), refusal},
		{"a new certificate", apply("apiVersion: v1\nkind: Secret\nmetadata: {namespace: meshwarden, name: meshwarden-certificate}\ntype: kubernetes.io/tls"), refusal},
	}
	for _, kind := range []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} {
		change := func(operation string) func(context.Context, client.Client) error {
			return patch("admissionregistration.k8s.io/v1", kind, "", "meshwarden", client.RawPatch(types.JSONPatchType, []byte("["+operation+"]")))
		}
		bundles, metadata := cmp.Or(refusal, "may only change the caBundles"), cmp.Or(refusal, "may not change the metadata")
		limits = append(limits,
			limit{"whom the API server trusts, as it is", change(`{"op":"test","path":"/metadata/name","value":"meshwarden"}`), refusal},
			limit{"whom the API server trusts", change(`{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}`), refusal},
			limit{"whom the API server asks", change(`{"op":"replace","path":"/webhooks/0/clientConfig","value":{"url":"https://example.com/"}}`), bundles},
			limit{"what the API server asks about", change(`{"op":"replace","path":"/webhooks/0/rules/0/resources","value":["secrets"]}`), bundles},
			limit{"how long the API server waits", change(`{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":30}`), bundles},
			limit{"no question any more", change(`{"op":"remove","path":"/webhooks"}`), bundles},
			limit{"who else writes it", change(`{"op":"add","path":"/metadata/annotations","value":{"cert-manager.io/inject-ca-from":"a/b"}}`), metadata},
		)
	}
	return limits
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
