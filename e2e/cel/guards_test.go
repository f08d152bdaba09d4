package cel

import (
	"maps"
	"path/filepath"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiadmission "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// asMeshwarden is a request of Meshwarden's ServiceAccount.
func asMeshwarden(resource schema.GroupVersionResource, before, after client.Object) *apiadmission.VersionedAttributes {
	return as("system:serviceaccount:meshwarden:meshwarden", resource, before, after)
}

// as is a request of a user. A creation has no object before, a deletion none after.
func as(name string, resource schema.GroupVersionResource, before, after client.Object) *apiadmission.VersionedAttributes {
	v := &apiadmission.VersionedAttributes{}
	operation, named := apiadmission.Update, after
	var object, old runtime.Object
	if before != nil {
		old, v.VersionedOldObject = before, apiadmission.NewLazyObject(before)
	} else {
		operation = apiadmission.Create
	}
	if after != nil {
		object, v.VersionedObject = after, apiadmission.NewLazyObject(after)
	} else {
		operation, named = apiadmission.Delete, before
	}
	v.VersionedKind = named.GetObjectKind().GroupVersionKind()
	v.Attributes = apiadmission.NewAttributesRecord(object, old, v.VersionedKind, named.GetNamespace(), named.GetName(), resource, "",
		operation, nil, false, &user.DefaultInfo{Name: name})
	return v
}

// networkPolicyGuard is the policy about Meshwarden's NetworkPolicies.
type networkPolicyGuard struct{ compiled }

func newNetworkPolicyGuard(t *testing.T) networkPolicyGuard {
	t.Helper()
	return networkPolicyGuard{compile(t, filepath.Join("..", "..", "manifests", "base", "network-policy-guard.yaml"))}
}

// allows says whether Meshwarden may write after in place of before, in the namespace. Nil stands for none.
func (g networkPolicyGuard) allows(t *testing.T, before, after *networkingv1.NetworkPolicy, namespace *corev1.Namespace) bool {
	t.Helper()
	var from, to client.Object
	if before != nil {
		from = before
	}
	if after != nil {
		to = after
	}
	attributes := asMeshwarden(networkingv1.SchemeGroupVersion.WithResource("networkpolicies"), from, to)
	return len(g.judge(t, attributes, namespace, after)) == 0
}

// storedPolicies are NetworkPolicies of Meshwarden's name that may be in a namespace.
func storedPolicies() map[string]*networkingv1.NetworkPolicy {
	by := func(manager string, operation metav1.ManagedFieldsOperationType) []metav1.ManagedFieldsEntry {
		return []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: metav1.ManagedFieldsOperationUpdate}, {Manager: manager, Operation: operation}}
	}
	stored := map[string]*networkingv1.NetworkPolicy{}
	add := func(reason string, change func(*networkingv1.NetworkPolicy)) {
		p := policy.DefaultNetworkPolicy("shop")
		p.ManagedFields = by(policy.FieldManager, metav1.ManagedFieldsOperationApply)
		change(p)
		stored[reason] = p
	}
	add("as it was made", func(*networkingv1.NetworkPolicy) {})
	add("with labels and annotations of others", func(p *networkingv1.NetworkPolicy) {
		p.Labels["team"], p.Annotations, p.Finalizers = "a", map[string]string{"note": "b"}, []string{"example.com/hold"}
	})
	add("without egress", func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = nil })
	add("with no rule for ingress", func(p *networkingv1.NetworkPolicy) { p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{} })
	add("for some pods", func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels = map[string]string{"app": "web"} })
	add("for ingress alone", func(p *networkingv1.NetworkPolicy) {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	})
	add("with empty fields", func(p *networkingv1.NetworkPolicy) {
		p.Spec.PodSelector.MatchLabels, p.Spec.Ingress[0].From = map[string]string{}, []networkingv1.NetworkPolicyPeer{}
	})
	add("without the label", func(p *networkingv1.NetworkPolicy) { p.Labels = nil })
	add("labelled as another's", func(p *networkingv1.NetworkPolicy) { p.Labels[policy.ManagedByLabel] = "Helm" })
	add("with the label alone", func(p *networkingv1.NetworkPolicy) { p.ManagedFields = nil })
	add("somebody else's", func(p *networkingv1.NetworkPolicy) { p.Labels, p.ManagedFields = nil, nil })
	add("somebody else's, by another manager", func(p *networkingv1.NetworkPolicy) {
		p.Labels, p.ManagedFields = nil, by("helm", metav1.ManagedFieldsOperationApply)
	})
	add("somebody else's, by an update", func(p *networkingv1.NetworkPolicy) {
		p.Labels, p.ManagedFields = nil, by(policy.FieldManager, metav1.ManagedFieldsOperationUpdate)
	})
	return stored
}

// repaired is what an apply makes of the policy.
func repaired(have *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	after, want := have.DeepCopy(), policy.DefaultNetworkPolicy(have.Namespace)
	if after.Labels == nil {
		after.Labels = map[string]string{}
	}
	maps.Copy(after.Labels, want.Labels)
	after.Spec = want.Spec
	return after
}

// TestNetworkPolicyGuard: Meshwarden may create, repair and remove what onboarding creates, repairs and removes, and nothing else.
func TestNetworkPolicyGuard(t *testing.T) {
	guard, onboarded := newNetworkPolicyGuard(t), namespace("shop", nil, nil)
	if !guard.allows(t, nil, policy.DefaultNetworkPolicy("shop"), onboarded) {
		t.Error("the policy cannot be created")
	}
	for reason, have := range storedPolicies() {
		step := policy.NextNetworkPolicyStep(true, have)
		if want := step != policy.ReportForeignPolicy; guard.allows(t, have, repaired(have), onboarded) != want {
			t.Errorf("%s: repairing it: allowed %t, want %t", reason, !want, want)
		}
		removed := policy.NextNetworkPolicyStep(false, have) == policy.RemovePolicy
		declined := namespace("shop", nil, map[string]string{policy.OnboardingKey: policy.ValueDisabled})
		if guard.allows(t, have, nil, declined) != removed {
			t.Errorf("%s: removing it: allowed %t, want %t", reason, !removed, removed)
		}
		if step == policy.RepairPolicy && guard.allows(t, policy.DefaultNetworkPolicy("shop"), have, onboarded) {
			t.Errorf("%s: it may be written", reason)
		}
	}
}

// TestNetworkPolicyGuardOnMetadata: what others may write to a NetworkPolicy is not Meshwarden's to write.
func TestNetworkPolicyGuardOnMetadata(t *testing.T) {
	guard, onboarded := newNetworkPolicyGuard(t), namespace("shop", nil, nil)
	rich := policy.DefaultNetworkPolicy("shop")
	rich.Labels["team"], rich.Annotations, rich.Finalizers = "a", map[string]string{"note": "b"}, []string{"example.com/hold"}
	for reason, change := range map[string]func(*networkingv1.NetworkPolicy){
		"another label":          func(p *networkingv1.NetworkPolicy) { p.Labels["other"] = "a" },
		"somebody's label":       func(p *networkingv1.NetworkPolicy) { p.Labels["team"] = "b" },
		"its label with another": func(p *networkingv1.NetworkPolicy) { p.Labels[policy.ManagedByLabel] = "helm" },
		"no label of its own":    func(p *networkingv1.NetworkPolicy) { delete(p.Labels, policy.ManagedByLabel) },
		"an annotation":          func(p *networkingv1.NetworkPolicy) { p.Annotations = map[string]string{"note": "c"} },
		"a finalizer":            func(p *networkingv1.NetworkPolicy) { p.Finalizers = []string{"example.com/other"} },
		"an owner": func(p *networkingv1.NetworkPolicy) {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "a", UID: "u"}}
		},
	} {
		created, updated := policy.DefaultNetworkPolicy("shop"), rich.DeepCopy()
		change(created)
		change(updated)
		if guard.allows(t, nil, created, onboarded) {
			t.Errorf("%s: it may be created", reason)
		}
		if guard.allows(t, rich, updated, onboarded) {
			t.Errorf("%s: it may be written", reason)
		}
	}
	for reason, change := range map[string]func(*networkingv1.NetworkPolicy){
		"somebody's label":       func(p *networkingv1.NetworkPolicy) { delete(p.Labels, "team") },
		"somebody's annotations": func(p *networkingv1.NetworkPolicy) { p.Annotations = nil },
		"somebody's finalizer":   func(p *networkingv1.NetworkPolicy) { p.Finalizers = nil },
	} {
		bare := rich.DeepCopy()
		change(bare)
		if guard.allows(t, rich, bare, onboarded) {
			t.Errorf("%s may be taken away", reason)
		}
	}
	if !guard.allows(t, rich, rich, onboarded) {
		t.Error("what others wrote may not stay")
	}
}

func namespace(name string, labels, annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: annotations}}
}

// TestNetworkPolicyGuardOnNamespaces: the policy comes into a namespace just where onboarding, which adds what the owner has left
// open, would have one. So the guard knows an owner's no, and lets nothing wait for Meshwarden's own yes.
func TestNetworkPolicyGuardOnNamespaces(t *testing.T) {
	guard, allowed, refused := newNetworkPolicyGuard(t), 0, 0
	try := func(name string, labels, annotations map[string]string) {
		n := policy.Namespace{Name: name, Labels: maps.Clone(labels), Annotations: maps.Clone(annotations)}
		excluded := policy.NewExclusions("meshwarden")
		add := policy.AdmitNamespace(n, excluded)
		maps.Copy(n.Labels, add.Labels)
		maps.Copy(n.Annotations, add.Annotations)
		want := n.WantsNetworkPolicy(excluded)
		if want {
			allowed++
		} else {
			refused++
		}
		if got := guard.allows(t, nil, policy.DefaultNetworkPolicy(name), namespace(name, labels, annotations)); got != want {
			t.Errorf("namespace %s, labels %v, annotations %v: allowed %t, want %t", name, labels, annotations, got, want)
		}
	}
	for _, name := range []string{"shop", "kube-system", "kube-public", "kube-node-lease", "kube-prometheus", "meshwarden", "default"} {
		try(name, map[string]string{}, map[string]string{})
	}
	const absent = "absent"
	set := func(m map[string]string, key, value string) {
		if value != absent {
			m[key] = value
		}
	}
	values := []string{absent, "", "enabled", "disabled", "Enabled"}
	for _, injection := range values {
		for _, revision := range []string{absent, "", "canary"} {
			for _, mode := range []string{absent, "", "ambient", "none"} {
				for _, onboarding := range values {
					for _, declining := range values {
						for _, asLabels := range []bool{false, true} {
							labels, annotations := map[string]string{}, map[string]string{}
							set(labels, policy.InjectionLabel, injection)
							set(labels, policy.RevisionLabel, revision)
							set(labels, policy.DataplaneModeLabel, mode)
							wishes := annotations
							if asLabels {
								wishes = labels
							}
							set(wishes, policy.OnboardingKey, onboarding)
							set(wishes, policy.NetworkPolicyKey, declining)
							try("shop", labels, annotations)
						}
					}
				}
			}
		}
	}
	t.Logf("allowed %d times, refused %d times", allowed, refused)
}

type configuration = admissionregistrationv1.ValidatingWebhookConfiguration

// configurationChange is a change of a webhook configuration, and whether it is Meshwarden's to make.
type configurationChange struct {
	reason string
	change func(*configuration)
	want   bool
}

func configurationChanges() []configurationChange {
	url := "https://example.com/"
	return []configurationChange{
		{"nothing", func(*configuration) {}, true},
		{"every caBundle", func(c *configuration) {
			for i := range c.Webhooks {
				c.Webhooks[i].ClientConfig.CABundle = []byte("new")
			}
		}, true},
		{"a caBundle away", func(c *configuration) {
			c.Webhooks[0].ClientConfig.CABundle = nil
		}, true},
		{"where it is", func(c *configuration) {
			c.Webhooks[1].ClientConfig.Service.Namespace = "other"
		}, false},
		{"no Service any more", func(c *configuration) { c.Webhooks[1].ClientConfig.Service = nil }, false},
		{"an address in place of the Service", func(c *configuration) {
			c.Webhooks[1].ClientConfig.Service, c.Webhooks[1].ClientConfig.URL = nil, &url
		}, false},
		{"what it is asked about", func(c *configuration) {
			c.Webhooks[0].Rules[0].Resources = []string{"secrets"}
		}, false},
		{"its conditions away", func(c *configuration) { c.Webhooks[0].MatchConditions = nil }, false},
		{"a selector", func(c *configuration) {
			c.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, false},
		{"that it fails", func(c *configuration) {
			c.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore)
		}, false},
		{"one more webhook", func(c *configuration) {
			more := c.Webhooks[0].DeepCopy()
			more.Name = "more.meshwarden.io"
			c.Webhooks = append(c.Webhooks, *more)
		}, false},
		{"one less", func(c *configuration) { c.Webhooks = c.Webhooks[1:] }, false},
		{"none", func(c *configuration) { c.Webhooks = nil }, false},
		{"another name", func(c *configuration) {
			c.Webhooks[0].Name = "more.meshwarden.io"
		}, false},
		{"an annotation", func(c *configuration) {
			c.Annotations = map[string]string{"cert-manager.io/inject-ca-from": "other/other"}
		}, false},
		{"a finalizer", func(c *configuration) {
			c.Finalizers = []string{"example.com/hold"}
		}, false},
	}
}

// TestWebhookGuard: of its webhook configurations Meshwarden may write the caBundles, and nothing else.
func TestWebhookGuard(t *testing.T) {
	guard := compile(t, filepath.Join("..", "..", "manifests", "overlays", "self-managed", "webhook-guard.yaml"))
	resource := admissionregistrationv1.SchemeGroupVersion.WithResource("validatingwebhookconfigurations")
	for _, tc := range configurationChanges() {
		before := admission.Validating("meshwarden")
		before.Webhooks[0].ClientConfig.CABundle = []byte("old")
		after := before.DeepCopy()
		tc.change(after)
		if said := guard.judge(t, asMeshwarden(resource, before, after), nil, tc.reason); len(said) == 0 != tc.want {
			t.Errorf("%s: %q is said, want it allowed: %t", tc.reason, said, tc.want)
		}
	}
	for operation, request := range map[string]*apiadmission.VersionedAttributes{
		"creation": asMeshwarden(resource, nil, admission.Validating("meshwarden")),
		"deletion": asMeshwarden(resource, admission.Validating("meshwarden"), nil),
	} {
		if said := guard.judge(t, request, nil, operation); len(said) == 0 {
			t.Errorf("the %s is allowed", operation)
		}
	}
}

// TestSecretGuard: the Secret that Meshwarden may create is one that Kubernetes writes nothing into.
func TestSecretGuard(t *testing.T) {
	guard := compile(t, manifests("overlays", "self-managed", "secret-guard.yaml"))
	for _, tc := range []struct {
		reason string
		user   string
		kind   corev1.SecretType
		want   bool
	}{
		{"its certificate", "system:serviceaccount:meshwarden:meshwarden", corev1.SecretTypeTLS, true},
		{"a token that does not expire", "system:serviceaccount:meshwarden:meshwarden", corev1.SecretTypeServiceAccountToken, false},
		{"no type", "system:serviceaccount:meshwarden:meshwarden", corev1.SecretTypeOpaque, false},
		{"somebody else's token", "system:serviceaccount:meshwarden:deployer", corev1.SecretTypeServiceAccountToken, true},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "meshwarden", Name: "meshwarden-certificate"}, Type: tc.kind}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		request := as(tc.user, corev1.SchemeGroupVersion.WithResource("secrets"), nil, secret)
		if said := guard.judge(t, request, namespace("meshwarden", nil, nil), tc.reason); len(said) == 0 != tc.want {
			t.Errorf("%s: %q is said, want it allowed: %t", tc.reason, said, tc.want)
		}
	}
}

// TestNamespaceGuard: Meshwarden may write to a Namespace what onboarding adds to it, and no label or mark that it would not add.
func TestNamespaceGuard(t *testing.T) {
	guard := compile(t, manifests("base", "namespace-guard.yaml"))
	resource := corev1.SchemeGroupVersion.WithResource("namespaces")
	choices := []map[string]string{nil}
	for _, key := range []string{policy.InjectionLabel, policy.RevisionLabel, policy.DataplaneModeLabel, policy.OnboardingKey} {
		for _, value := range []string{"", policy.ValueEnabled, policy.ValueDisabled, "canary"} {
			choices = append(choices, map[string]string{key: value})
		}
	}
	for _, labels := range choices {
		for _, annotations := range []map[string]string{nil, {policy.OnboardingKey: policy.ValueEnabled}, {policy.OnboardingKey: policy.ValueDisabled}} {
			before := namespace("shop", labels, annotations)
			add := policy.AdmitNamespace(policy.Namespace{Name: "shop", Labels: labels, Annotations: annotations}, policy.NewExclusions(""))
			for _, change := range []policy.Additions{
				{Labels: map[string]string{policy.InjectionLabel: policy.ValueEnabled}},
				{Annotations: map[string]string{policy.OnboardingKey: policy.ValueEnabled}},
			} {
				after := before.DeepCopy()
				after.Labels, after.Annotations = joined(labels, change.Labels), joined(annotations, change.Annotations)
				// What changes nothing is always allowed.
				want := maps.Equal(after.Labels, before.Labels) && maps.Equal(after.Annotations, before.Annotations) ||
					contains(add.Labels, change.Labels) && contains(add.Annotations, change.Annotations)
				if said := guard.judge(t, asMeshwarden(resource, before, after), nil, "namespace"); len(said) == 0 != want {
					t.Errorf("labels %v, annotations %v, adding %v: %q is said, want it allowed: %t", labels, annotations, change, said, want)
				}
			}
		}
	}
}

// joined returns a map with more in it, which goes before.
func joined(m, more map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, m)
	maps.Copy(all, more)
	return all
}

// contains says whether all of a part is in the whole.
func contains(whole, part map[string]string) bool {
	for key, value := range part {
		if have, ok := whole[key]; !ok || have != value {
			return false
		}
	}
	return true
}
