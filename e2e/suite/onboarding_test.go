package suite

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// defaultPolicy is the specification's, to the letter.
func defaultPolicy() networkingv1.NetworkPolicySpec {
	return networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{}},
		Egress:      []networkingv1.NetworkPolicyEgressRule{{}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress},
	}
}

func TestOnboarding(t *testing.T) {
	t.Parallel()
	e := start(t, setup{replicas: 2, roles: []controlplane.Role{controlplane.Etcd, controlplane.APIServer, controlplane.ControllerManager}})

	t.Run("LabelAndPolicy", func(t *testing.T) {
		e.namespace(t, "plain")
		p := e.waitPolicy(t, "plain")
		if diff := cmp.Diff(defaultPolicy(), p.Spec); diff != "" {
			t.Errorf("the policy is not the specified one (-want +got):\n%s", diff)
		}
		n := e.getNamespace(t, "plain")
		if n.Labels["istio-injection"] != "enabled" {
			t.Errorf("labels %v, want istio-injection=enabled", n.Labels)
		}
	})
	t.Run("ChoicesStay", func(t *testing.T) { testChoices(t, e) })
	t.Run("DriftIsRepaired", func(t *testing.T) { testDrift(t, e) })
	t.Run("ForeignPolicyIsLeftAlone", func(t *testing.T) { testForeignPolicy(t, e) })
	t.Run("OwnPolicy", func(t *testing.T) { testOwnPolicy(t, e) })
	t.Run("OptOut", func(t *testing.T) { testOptOut(t, e) })
	t.Run("LeavingTheMesh", func(t *testing.T) {
		e.namespace(t, "leaver")
		e.waitPolicy(t, "leaver")
		e.patchNamespace(t, "leaver", `{"metadata":{"labels":{"istio-injection":null}}}`)
		e.waitNoPolicy(t, "leaver")
		if n := e.getNamespace(t, "leaver"); n.Labels["istio-injection"] != "" {
			t.Errorf("the label that the user removed came back: %v", n.Labels)
		}
		e.patchNamespace(t, "leaver", `{"metadata":{"labels":{"istio.io/rev":"canary"}}}`)
		e.waitPolicy(t, "leaver")
	})
	t.Run("DeletionCompletes", func(t *testing.T) { testNamespaceDeletion(t, e, "deleted") })
	t.Run("DeletionCompletesWithEveryReplicaGone", func(t *testing.T) {
		e.namespace(t, "orphaned")
		e.waitPolicy(t, "orphaned")
		e.mustApply(t, gateway("orphaned", "gw", "a.example.com"))
		for _, r := range e.replicas {
			noError(t, "kill Meshwarden", r.Kill())
		}
		testNamespaceDeletion(t, e, "orphaned")
		e.namespace(t, "while-away")
		if n := e.getNamespace(t, "while-away"); n.Labels["istio-injection"] != "" {
			t.Errorf("labelled although Meshwarden is gone: %v", n.Labels)
		}
	})
}

func testChoices(t *testing.T, e *environment) {
	for _, tc := range []struct {
		name, reason string
		labels       map[string]string
		meshed       bool
	}{
		{name: "choice-disabled", reason: "an explicit no stays, and gets no policy", labels: map[string]string{"istio-injection": "disabled"}},
		{name: "choice-rev", reason: "a revision is a choice, and meshed", labels: map[string]string{"istio.io/rev": "canary"}, meshed: true},
		{name: "choice-ambient", reason: "ambient is a choice, and meshed", labels: map[string]string{"istio.io/dataplane-mode": "ambient"}, meshed: true},
		{name: "choice-none", reason: "ambient's no is a choice", labels: map[string]string{"istio.io/dataplane-mode": "none"}},
	} {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tc.name, Labels: tc.labels}}
		noError(t, tc.reason, e.client.Create(t.Context(), n))
		if _, ok := tc.labels["istio-injection"]; !ok && n.Labels["istio-injection"] != "" {
			t.Errorf("%s: %s: labels %v", tc.name, tc.reason, n.Labels)
		}
		if tc.meshed {
			e.waitPolicy(t, tc.name)
		}
	}
	// What comes in order after them shows that the ones without a policy were looked at.
	e.namespace(t, "choice-last")
	e.waitPolicy(t, "choice-last")
	for _, name := range []string{"choice-disabled", "choice-none", "kube-system", "meshwarden"} {
		if _, err := e.policy(t.Context(), name); !apierrors.IsNotFound(err) {
			t.Errorf("%s has a policy, or cannot be read: %v", name, err)
		}
	}
}

func testDrift(t *testing.T, e *environment) {
	e.namespace(t, "drift")
	p := e.waitPolicy(t, "drift")
	noError(t, "delete the policy", e.client.Delete(t.Context(), p))
	e.eventually(t, "the deleted policy comes back", func(ctx context.Context) error {
		again, err := e.policy(ctx, "drift")
		if err == nil && again.UID == p.UID {
			return fmt.Errorf("it is still the old one")
		}
		return err
	})
	for _, tc := range []struct{ reason, patch string }{
		{reason: "an edit of the rules", patch: `{"spec":{"ingress":[]}}`},
		{reason: "an edit of the selector", patch: `{"spec":{"podSelector":{"matchLabels":{"app":"web"}}}}`},
		{reason: "the label that marks it taken away", patch: `{"metadata":{"labels":null}}`},
	} {
		p, err := e.policy(t.Context(), "drift")
		noError(t, tc.reason, err)
		noError(t, tc.reason, e.client.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(tc.patch))))
		e.eventually(t, tc.reason+" is repaired", func(ctx context.Context) error {
			now, err := e.policy(ctx, "drift")
			if err != nil {
				return err
			}
			if diff := cmp.Diff(defaultPolicy(), now.Spec); diff != "" || now.Labels["app.kubernetes.io/managed-by"] != "meshwarden" {
				return fmt.Errorf("labels %v, spec (-want +got):\n%s", now.Labels, diff)
			}
			return nil
		})
	}
}

// testOwnPolicy declines Meshwarden's policy for one of the team's own, both ways that this can happen.
func testOwnPolicy(t *testing.T, e *environment) {
	e.namespace(t, "own")
	e.waitPolicy(t, "own")
	e.patchNamespace(t, "own", `{"metadata":{"annotations":{"meshwarden.io/network-policy":"disabled"}}}`)
	e.waitNoPolicy(t, "own")
	own := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "own", Name: "allow-istio-communication"}}
	own.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	noError(t, "create a policy", e.client.Create(t.Context(), own))
	e.namespace(t, "own-after")
	e.waitPolicy(t, "own-after")
	if now, err := e.policy(t.Context(), "own"); err != nil || now.ResourceVersion != own.ResourceVersion {
		t.Errorf("the team's own policy was touched: %v, %v", now, err)
	}
}

func testForeignPolicy(t *testing.T, e *environment) {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Labels: map[string]string{"istio-injection": "disabled"}}}
	noError(t, "create", e.client.Create(t.Context(), n))
	own := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "foreign", Name: "allow-istio-communication"}}
	own.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	noError(t, "create a policy by hand", e.client.Create(t.Context(), own))
	e.patchNamespace(t, "foreign", `{"metadata":{"labels":{"istio-injection":"enabled"}}}`)
	e.event(t, "ForeignNetworkPolicy", "NetworkPolicy", "foreign", "allow-istio-communication")
	e.metric(t, `meshwarden_onboarding_total{outcome="foreign_policy"}`)
	now, err := e.policy(t.Context(), "foreign")
	noError(t, "read it again", err)
	if now.ResourceVersion != own.ResourceVersion {
		t.Errorf("the foreign policy was written to:\n%s", cmp.Diff(own, now))
	}
	e.patchNamespace(t, "foreign", `{"metadata":{"labels":{"istio-injection":"disabled"}}}`)
	e.namespace(t, "foreign-after")
	e.waitPolicy(t, "foreign-after")
	if _, err := e.policy(t.Context(), "foreign"); err != nil {
		t.Errorf("the foreign policy is gone: %v", err)
	}
}

func testOptOut(t *testing.T, e *environment) {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "out", Annotations: map[string]string{"meshwarden.io/onboarding": "disabled"}}}
	noError(t, "create", e.client.Create(t.Context(), n))
	if n.Labels["istio-injection"] != "" {
		t.Errorf("a namespace that opted out was labelled: %v", n.Labels)
	}
	for _, tc := range []struct{ name, reason, patch string }{
		{name: "out-annotation", reason: "opting out later removes the policy", patch: `{"metadata":{"annotations":{"meshwarden.io/onboarding":"disabled"}}}`},
		{name: "out-label", reason: "a label does as well", patch: `{"metadata":{"labels":{"meshwarden.io/onboarding":"disabled"}}}`},
	} {
		e.namespace(t, tc.name)
		e.waitPolicy(t, tc.name)
		e.patchNamespace(t, tc.name, tc.patch)
		e.waitNoPolicy(t, tc.name)
	}
}

// testNamespaceDeletion deletes a namespace with all that can be in it.
func testNamespaceDeletion(t *testing.T, e *environment, name string) {
	t.Helper()
	if err := e.createNamespace(t.Context(), name); err == nil {
		e.waitPolicy(t, name)
		e.mustApply(t, gateway(name, "gw", "a.example.com"))
		e.mustApply(t, virtualService(name, "vs", "a.example.com", "gw"))
	}
	noError(t, "delete", e.client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	e.eventually(t, "the namespace is gone", func(ctx context.Context) error {
		n := &corev1.Namespace{}
		if err := gone(e.client.Get(ctx, client.ObjectKey{Name: name}, n)); err != nil {
			return fmt.Errorf("%w: conditions %v", err, n.Status.Conditions)
		}
		return nil
	})
}

// A burst of namespaces, with Meshwarden at work and with Meshwarden killed in the middle of it: none is lost.
func TestManyNamespacesAtOnce(t *testing.T) {
	const many = 200
	e := start(t, setup{})
	t.Run("Undisturbed", func(t *testing.T) {
		names := e.createMany(t, "calm", many, nil)
		e.waitOnboarded(t, names)
	})
	t.Run("KilledInTheMiddle", func(t *testing.T) {
		names := e.createMany(t, "storm", many, func(created int) {
			if created != many/2 {
				return
			}
			if err := e.replicas[0].Kill(); err != nil {
				t.Errorf("kill Meshwarden: %v", err) // this is another goroutine than the test's
			}
		})
		e.replicas = append(e.replicas, e.startReplica(t))
		e.waitOnboarded(t, names)
	})
}

// createMany creates namespaces from several clients at once, and reports after each how many there are.
func (e *environment) createMany(t *testing.T, prefix string, n int, created func(int)) []string {
	t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
	}
	done := 0
	concurrently(t, 16, names, func(ctx context.Context, name string) error {
		return e.createNamespace(ctx, name)
	}, func() {
		if done++; created != nil {
			created(done)
		}
	})
	return names
}

// waitOnboarded waits until every namespace has its label and its policy, and logs how long that took.
func (e *environment) waitOnboarded(t *testing.T, names []string) {
	t.Helper()
	start := time.Now()
	e.eventually(t, "every namespace is onboarded", func(ctx context.Context) error {
		policies := &networkingv1.NetworkPolicyList{}
		if err := e.client.List(ctx, policies); err != nil {
			return err
		}
		has := map[string]bool{}
		for _, p := range policies.Items {
			has[p.Namespace] = p.Name == "allow-istio-communication"
		}
		namespaces := &corev1.NamespaceList{}
		if err := e.client.List(ctx, namespaces); err != nil {
			return err
		}
		var lost []string
		for _, n := range namespaces.Items {
			if slices.Contains(names, n.Name) && (n.Labels["istio-injection"] != "enabled" || !has[n.Name]) {
				lost = append(lost, n.Name)
			}
		}
		if len(lost) > 0 {
			return fmt.Errorf("%d are not, such as %s", len(lost), lost[0])
		}
		return nil
	})
	t.Logf("%d namespaces were onboarded %s after the last was created", len(names), time.Since(start).Round(time.Millisecond))
}

func (e *environment) waitPolicy(t *testing.T, namespace string) *networkingv1.NetworkPolicy {
	t.Helper()
	var p *networkingv1.NetworkPolicy
	e.eventually(t, "the policy of "+namespace, func(ctx context.Context) (err error) {
		p, err = e.policy(ctx, namespace)
		return err
	})
	return p
}

func (e *environment) waitNoPolicy(t *testing.T, namespace string) {
	t.Helper()
	e.eventually(t, "no policy in "+namespace, func(ctx context.Context) error {
		_, err := e.policy(ctx, namespace)
		return gone(err)
	})
}

func (e *environment) getNamespace(t *testing.T, name string) *corev1.Namespace {
	t.Helper()
	n := &corev1.Namespace{}
	noError(t, "get a namespace", e.client.Get(t.Context(), client.ObjectKey{Name: name}, n))
	return n
}

func (e *environment) patchNamespace(t *testing.T, name, patch string) {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	noError(t, "patch a namespace", e.client.Patch(t.Context(), n, client.RawPatch(types.MergePatchType, []byte(patch))))
}
