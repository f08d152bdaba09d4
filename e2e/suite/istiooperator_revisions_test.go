package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Two control planes live side by side: they share what both need, and neither takes anything with it when it goes.
func TestIstioOperatorRevisions(t *testing.T) {
	t.Parallel()
	o := startOperator(t, 2)
	const crd = "CustomResourceDefinition /gateways.networking.istio.io"
	blue, green := istioOperator("istio-system", "blue", "  profile: minimal\n  revision: blue"), istioOperator("mesh-two", "green", "  profile: minimal\n  revision: green")
	o.mustApply(t, istioOperator("default", "stranger", "  profile: minimal"))
	o.mustApply(t, blue)
	o.waitStatus(t, "istio-system", "blue", "HEALTHY")
	o.waitNextSecond(t) // age is in whole seconds
	o.mustApply(t, green)
	o.waitStatus(t, "mesh-two", "green", "HEALTHY")
	if !slices.Contains(o.ownedBy(t, "istio-system", "blue"), crd) {
		t.Error("the older one does not own the CRDs")
	}
	before := o.ownedBy(t, "mesh-two", "green")
	if slices.Contains(before, crd) || !slices.Contains(before, "Deployment istio-system/istiod-green") {
		t.Errorf("the younger one owns %v", before)
	}
	passes, _ := o.settle(t)
	if again, _ := o.settle(t); again != passes {
		t.Error("they fight")
	}
	noError(t, "one in a namespace that is not watched is left alone", has(o.iop(t, "default", "stranger"), "<nil>", "status"))
	t.Run("Limits", func(t *testing.T) { testOperatorLimits(t, o) })
	t.Run("Dispute", func(t *testing.T) { testDispute(t, o) })
	t.Run("Foreign", func(t *testing.T) { testForeign(t, o) })
	t.Run("MissingNamespace", func(t *testing.T) { testMissingNamespace(t, o) })
	t.Run("InvalidKeepsItsShare", func(t *testing.T) { testInvalidKeepsItsShare(t, o) })

	u := o.iop(t, "istio-system", "blue")
	crds := o.object(t, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "gateways.networking.istio.io")
	istiod := o.object(t, "apps/v1", "Deployment", "istio-system", "istiod-green")
	o.remove(t, u)
	o.waitGone(t, u)
	o.eventually(t, "the other one takes over what they shared", func(context.Context) error {
		if got := o.ownedBy(t, "istio-system", "blue"); len(got) > 0 {
			return fmt.Errorf("still the old one's: %v", got)
		}
		return nil
	})
	o.waitStatus(t, "mesh-two", "green", "HEALTHY")
	o.compareToIstio(t, "mesh-two", "green", green)
	if now := o.object(t, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "gateways.networking.istio.io"); now.GetUID() != crds.GetUID() {
		t.Error("a shared CRD was deleted and made again")
	}
	if now := o.object(t, "apps/v1", "Deployment", "istio-system", "istiod-green"); now.GetGeneration() != istiod.GetGeneration() {
		t.Error("the other control plane was touched")
	}
	t.Run("LeaderElection", func(t *testing.T) { testLeaderElection(t, o) })
}

// Two IstioOperators that describe one object differently: the older one has it.
func testDispute(t *testing.T, o *operated) {
	o.mustApply(t, istioOperator("mesh-two", "rival", "  profile: minimal\n  revision: blue\n  meshConfig: {accessLogFile: /dev/stdout}"))
	o.waitStatus(t, "mesh-two", "rival", "ERROR", "ConfigMap istio-system/istio-blue belongs to the older IstioOperator istio-system/blue")
	o.waitStatus(t, "istio-system", "blue", "HEALTHY")
	if got := o.ownedBy(t, "mesh-two", "rival"); len(got) > 0 {
		t.Errorf("it installed a part of a component: %v", got)
	}
	rival := o.iop(t, "mesh-two", "rival")
	o.remove(t, rival)
	o.waitGone(t, rival)
	if got := o.ownedBy(t, "istio-system", "blue"); len(got) < 20 {
		t.Errorf("the rival took something with it: %v is left", got)
	}
}

// An object that bears the label of an IstioOperator elsewhere is not taken from it, until the label is removed as the message says.
func testForeign(t *testing.T, o *operated) {
	o.patch(t, o.object(t, "v1", "ConfigMap", "istio-system", "istio-blue"),
		`{"metadata":{"labels":{"install.operator.istio.io/owning-resource":"stranger","install.operator.istio.io/owning-resource-namespace":"default"}}}`)
	o.waitStatus(t, "istio-system", "blue", "ERROR", "belongs to IstioOperator default/stranger in a namespace that this operator does not watch")
	o.patch(t, o.object(t, "v1", "ConfigMap", "istio-system", "istio-blue"), `{"metadata":{"labels":{"install.operator.istio.io/owning-resource":null}}}`)
	o.waitStatus(t, "istio-system", "blue", "HEALTHY")
	noError(t, "its own again", has(o.object(t, "v1", "ConfigMap", "istio-system", "istio-blue"), "blue", "metadata", "labels", "install.operator.istio.io/owning-resource"))
}

// What an IstioOperator has installed stays its own while its spec is invalid.
func testInvalidKeepsItsShare(t *testing.T, o *operated) {
	before := o.ownedBy(t, "istio-system", "blue")
	o.patch(t, o.iop(t, "istio-system", "blue"), `{"spec":{"profile":"none-such"}}`)
	o.waitStatus(t, "istio-system", "blue", "ERROR")
	o.waitStatus(t, "mesh-two", "green", "HEALTHY")
	o.settle(t)
	if after := o.ownedBy(t, "istio-system", "blue"); !slices.Equal(before, after) {
		t.Errorf("it owns %v, want %v", after, before)
	}
	// What they share is unknown, so the other one's deletion waits.
	amber := o.iop(t, "mesh-two", "amber")
	o.remove(t, amber)
	o.waitStatus(t, "mesh-two", "amber", "RECONCILING", "IstioOperator istio-system/blue", "its spec is invalid")
	o.patch(t, o.iop(t, "istio-system", "blue"), `{"spec":{"profile":"minimal"}}`)
	o.waitGone(t, amber)
	if got := o.ownedBy(t, "mesh-two", "amber"); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	o.waitStatus(t, "istio-system", "blue", "HEALTHY")
}

// A namespace that is missing is made, and kept out of the mesh.
func testMissingNamespace(t *testing.T, o *operated) {
	o.mustApply(t, istioOperator("mesh-two", "amber", "  profile: minimal\n  revision: amber\n  values: {global: {istioNamespace: amber, network: net-a}}"))
	o.waitStatus(t, "mesh-two", "amber", "HEALTHY")
	namespace := o.object(t, "v1", "Namespace", "", "amber")
	noError(t, "it opts out", has(namespace, "disabled", "metadata", "labels", "meshwarden.io/onboarding"))
	noError(t, "its network", has(namespace, "net-a", "metadata", "labels", "topology.istio.io/network"))
}

// When the leader is killed, the other replica goes on.
func testLeaderElection(t *testing.T, o *operated) {
	leader := slices.IndexFunc(o.replicas, func(r *operatorReplica) bool {
		text, err := read(t.Context(), "http://"+r.metrics+"/metrics")
		return err == nil && strings.Contains(text, `leader_election_master_status{name="istio-operator"} 1`)
	})
	if leader < 0 {
		t.Fatal("no replica leads")
	}
	noError(t, "kill the leader", o.replicas[leader].Kill())
	o.remove(t, o.object(t, "v1", "Service", "istio-system", "istiod-green"))
	o.eventually(t, "the other replica repairs it", func(context.Context) error {
		return o.exists(t, "v1", "Service", "istio-system", "istiod-green")
	})
}
