package suite

import (
	"slices"
	"testing"
)

// What is removed in another way than one IstioOperator at a time, with the operator looking on.
func TestIstioOperatorRemoval(t *testing.T) {
	t.Parallel()
	o := startOperator(t, 1)
	testOneAfterTheOther(t, o)
	testWatchedNamespaceDeletion(t, o)
}

// What two shared goes with the second one, even if that never came to take it over.
func testOneAfterTheOther(t *testing.T, o *operated) {
	t.Helper()
	const base = "  profile: empty\n  components: {base: {enabled: true}}"
	o.mustApply(t, istioOperator("mesh-two", "first", base))
	o.waitStatus(t, "mesh-two", "first", "HEALTHY")
	o.waitNextSecond(t) // age is in whole seconds
	o.mustApply(t, istioOperator("istio-system", "second", base))
	o.waitStatus(t, "istio-system", "second", "HEALTHY")
	noError(t, "kill the operator", o.replicas[0].Kill())
	first, second := o.iop(t, "mesh-two", "first"), o.iop(t, "istio-system", "second")
	o.patch(t, first, `{"metadata":{"finalizers":null}}`)
	o.remove(t, first)
	o.remove(t, second)
	if len(o.ownedBy(t, "mesh-two", "first")) == 0 {
		t.Error("nothing was left to remove")
	}
	o.startReplica(t)
	o.waitGone(t, second)
	if got := o.ownedBy(t, "mesh-two", "first"); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// Who deletes the watched namespace takes the operator's Role in it away before the IstioOperator. It removes what it installed elsewhere all the same,
// and the namespace goes.
func testWatchedNamespaceDeletion(t *testing.T, o *operated) {
	t.Helper()
	o.mustApply(t, istioOperator("istio-system", "mesh", "  profile: default"))
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	o.mustApply(t, virtualService("default", "users", "users.example.com", "mesh"))
	namespace := o.object(t, "v1", "Namespace", "", "istio-system")
	o.remove(t, namespace)
	o.waitGone(t, namespace)
	if got, want := o.ownedBy(t, "istio-system", "mesh"), []string{"CustomResourceDefinition /virtualservices.networking.istio.io"}; !slices.Equal(got, want) {
		t.Errorf("left behind: %v, want %v", got, want)
	}
}
