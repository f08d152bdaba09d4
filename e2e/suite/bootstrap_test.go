package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/controlplane"
)

// localRegistry is where the reference document takes its images from: it says use_local_image_registry.
const localRegistry = "--image-registry=registry.example.com:5000"

// The Job's command, by the token of the Job's ServiceAccount: from the reference document as it stands to a healthy control
// plane, and what becomes of later documents.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	audit := newAuditLog(t, bootstrapAccount)
	b := startBootstrapWithNodes(t, nil, controlplane.Options{APIServerArgs: audit.arguments()})

	b.unchanged(t, func() outcome { return b.run(t, reference(t), localRegistry, "--dry-run") }).
		want(t, 0, "+kind: IstioOperator", "+  hub: registry.example.com:5000/istio", "new Deployment istio-system/istiod")
	b.unchanged(t, func() outcome { return b.run(t, reference(t)) }).want(t, 78, "--image-registry")

	b.run(t, reference(t), localRegistry).want(t, 0,
		"created     Namespace istio-operator", "created     IstioOperator istio-system/istiocontrolplane", "Pilot            healthy",
		"IstioOperator istio-system/istiocontrolplane is healthy")
	b.healthy(t, "istio-system", "istiocontrolplane")
	for _, name := range []string{"istiod", "istio-ingressgateway"} {
		image := b.available(t, "istio-system", name).Spec.Template.Spec.Containers[0].Image
		if !strings.HasPrefix(image, "registry.example.com:5000/istio/") || !strings.HasSuffix(image, ":1.31.1") {
			t.Errorf("Deployment %s has image %s", name, image)
		}
	}
	b.available(t, "istio-operator", "istio-operator")

	again := b.unchanged(t, func() outcome { return b.run(t, reference(t), localRegistry) })
	again.want(t, 0, "unchanged   IstioOperator")
	again.lack(t, "created", "configured", "deleted")
	b.unchanged(t, func() outcome { return b.run(t, reference(t, "enabled: true", "enabled: false")) }).want(t, 0, "nothing to do")
	testBootstrapUpgrade(t, b)
	testBootstrapChanged(t, b)
	testBootstrapRights(t, b, audit)
}

// asAdministrator is the same for somebody with all rights, on a laptop.
func (b *bootstrapped) asAdministrator() *bootstrapped {
	admin := *b
	admin.kubeconfig = b.cp.Kubeconfig()
	return &admin
}

func testBootstrapUpgrade(t *testing.T, b *bootstrapped) {
	admin := b.asAdministrator()
	b.unchanged(t, func() outcome { return admin.run(t, reference(t), localRegistry, "--dry-run") }).
		want(t, 0, "# What the bootstrap changes\nnothing\n", "# What the operator changes after it\nnothing\n")
	minimal := reference(t, "profile: default", "profile: minimal")
	b.unchanged(t, func() outcome { return admin.run(t, minimal, localRegistry, "--dry-run") }).
		want(t, 0, "remove Deployment istio-system/istio-ingressgateway, unless another IstioOperator wants it")
	upgraded := reference(t, "profile: default", "version: 1.31.2\n      profile: default")
	b.unchanged(t, func() outcome { return admin.run(t, upgraded, localRegistry, "--dry-run") }).
		want(t, 0, "-  tag: 1.31.1", "+  tag: 1.31.2", "cluster: Deployment istio-system/istiod", "+        image: registry.example.com:5000/istio/pilot:1.31.2")
	b.run(t, upgraded, localRegistry).want(t, 0, "configured  IstioOperator istio-system/istiocontrolplane")
	if image := b.available(t, "istio-system", "istiod").Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, ":1.31.2") {
		t.Errorf("istiod has image %s after the upgrade", image)
	}
}

// testBootstrapChanged changes the namespaces that are watched, there and back, and the name of the control plane.
func testBootstrapChanged(t *testing.T, b *bootstrapped) {
	b.reportedBy(t, "an earlier version")
	b.run(t, reference(t, "        - istio-system", "        - istio-system\n        - team"), localRegistry).
		want(t, 0, "created     Namespace team", "created     Role team/istio-operator-watched", "configured  Deployment istio-operator/istio-operator")
	reported := b.object(t, "install.istio.io/v1alpha1", "IstioOperator", "istio-system", "istiocontrolplane")
	if version, _, _ := unstructured.NestedString(reported.Object, "status", "operatorVersion"); version == "" || version == "an earlier version" {
		t.Errorf("the bootstrap ended by the verdict of the operator before: %q", version)
	}
	b.run(t, reference(t), localRegistry).
		want(t, 0, "deleted     RoleBinding team/istio-operator-watched", "deleted     Role team/istio-operator-watched")

	istiod := b.available(t, "istio-system", "istiod")
	b.run(t, reference(t, "istiocontrolplane", "renamed"), localRegistry).
		want(t, 0, "note: IstioOperator istio-system/istiocontrolplane describes a control plane as well", "IstioOperator istio-system/renamed is healthy")
	old := b.object(t, "install.istio.io/v1alpha1", "IstioOperator", "istio-system", "istiocontrolplane")
	b.remove(t, old)
	b.waitGone(t, old)
	b.run(t, reference(t, "istiocontrolplane", "renamed"), localRegistry).want(t, 0, "IstioOperator istio-system/renamed is healthy")
	if now := b.available(t, "istio-system", "istiod"); now.UID != istiod.UID {
		t.Error("istiod was made anew when the control plane was renamed")
	}
}

// reportedBy makes the status of the control plane that of another version of the operator.
func (b *bootstrapped) reportedBy(t *testing.T, version string) {
	t.Helper()
	o := b.object(t, "install.istio.io/v1alpha1", "IstioOperator", "istio-system", "istiocontrolplane")
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"status": {"operatorVersion": %q}}`, version))
	noError(t, "change the status", b.client.Status().Patch(t.Context(), o, patch))
}

// testBootstrapRights compares what the Job has asked for with what it may: each right is used, and nothing is refused but what
// dry runs try of the operator's rights.
func testBootstrapRights(t *testing.T, b *bootstrapped, audit auditLog) {
	excused := map[string]string{
		"get daemonsets.apps":                                                "of profiles with the CNI plugin",
		"get network-attachment-definitions.k8s.cni.cncf.io":                 "of the openshift profiles",
		"get endpointslices.discovery.k8s.io":                                "of a remote control plane",
		"get networkpolicies.networking.k8s.io":                              "of values that ask for them",
		"get poddisruptionbudgets.policy":                                    "of values that ask for them",
		"get resourcequotas":                                                 "of values that ask for them",
		"get validatingadmissionpolicies.admissionregistration.k8s.io":       "of values that ask for them",
		"get validatingadmissionpolicybindings.admissionregistration.k8s.io": "of values that ask for them",
		"list pods":                                                    "of what is not available",
		"list istios.sailoperator.io":                                  "where the Sail operator is",
		"list endpointslices.discovery.k8s.io":                         "where a webhook fails closed on what is installed",
		"delete roles.rbac.authorization.k8s.io istio-operator":        "when the operator moves to another namespace",
		"delete rolebindings.rbac.authorization.k8s.io istio-operator": "when the operator moves to another namespace",
	}
	b.eventually(t, "each right is either used or excused", func(context.Context) error {
		asked, _ := audit.requests(t)
		var wrong []string
		for _, r := range rightsOf(t, b.manifests) {
			if r.verb == "bind" || r.verb == "escalate" {
				continue // part of other requests
			}
			used := slices.ContainsFunc(slices.Collect(maps.Keys(asked)), r.covers)
			if _, known := excused[r.String()]; !used && !known {
				wrong = append(wrong, r.String())
			}
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "; "))
		}
		return nil
	})
}
