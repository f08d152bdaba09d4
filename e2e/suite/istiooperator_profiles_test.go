package suite

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"istio.io/istio/manifests"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Every profile that Istio ships comes up, is what Istio renders, and leaves nothing behind when another one takes its place.
func TestIstioOperatorProfiles(t *testing.T) {
	t.Parallel()
	o := startOperator(t, 1)
	testLaterKind(t, o)
	profiles, err := fs.Glob(manifests.FS, "profiles/*.yaml")
	noError(t, "list the profiles", err)
	if len(profiles) < 10 {
		t.Fatalf("found only the profiles %v", profiles)
	}
	for _, file := range profiles {
		profile := strings.TrimSuffix(path.Base(file), ".yaml")
		t.Run(profile, func(t *testing.T) {
			text := istioOperator("istio-system", "mesh", "  profile: "+profile)
			o.mustApply(t, text)
			o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
			o.settle(t)
			o.compareToIstio(t, "istio-system", "mesh", text)
			noError(t, "what it installed is available", o.unavailable(t))
		})
	}
	if err := o.repaired(t, 1); err != nil {
		t.Errorf("only one object was changed: %v", err)
	}
	mesh := o.iop(t, "istio-system", "mesh")
	o.remove(t, mesh)
	o.waitGone(t, mesh)
	if left := o.ownedBy(t, "istio-system", "mesh"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	l := &unstructured.UnstructuredList{}
	l.SetAPIVersion("k8s.cni.cncf.io/v1")
	l.SetKind("NetworkAttachmentDefinitionList")
	noError(t, "list", o.client.List(t.Context(), l))
	if len(l.Items) > 0 {
		t.Errorf("left behind: %v", l.Items)
	}
}

// testLaterKind installs what needs a kind that the cluster gets only then: that of the openshift profiles, which OpenShift comes with.
func testLaterKind(t *testing.T, o *operated) {
	t.Helper()
	o.mustApply(t, istioOperator("istio-system", "mesh", "  profile: openshift"))
	o.waitStatus(t, "istio-system", "mesh", "ERROR", "NetworkAttachmentDefinition")
	noError(t, "apply a CRD", o.cp.ApplyCRDs(t.Context(), []byte(networkAttachmentDefinition)))
	o.waitStatus(t, "istio-system", "mesh", "HEALTHY")
	o.settle(t)
	l := &unstructured.UnstructuredList{}
	l.SetAPIVersion("k8s.cni.cncf.io/v1")
	l.SetKind("NetworkAttachmentDefinitionList")
	noError(t, "list", o.client.List(t.Context(), l))
	if len(l.Items) != 1 {
		t.Fatalf("%d objects, want 1", len(l.Items))
	}
	o.remove(t, &l.Items[0])
	o.eventually(t, "it is watched and made again", func(context.Context) error {
		return o.exists(t, l.Items[0].GetAPIVersion(), l.Items[0].GetKind(), l.Items[0].GetNamespace(), l.Items[0].GetName())
	})
}

// unavailable returns an error that names an owned workload without all its pods.
func (o *operated) unavailable(t *testing.T) error {
	t.Helper()
	for _, kind := range []struct{ name, want, has string }{
		{"Deployment", "replicas", "availableReplicas"}, {"DaemonSet", "desiredNumberScheduled", "numberAvailable"},
	} {
		l := &unstructured.UnstructuredList{}
		l.SetAPIVersion("apps/v1")
		l.SetKind(kind.name + "List")
		noError(t, "list", o.client.List(t.Context(), l, client.HasLabels{"install.operator.istio.io/owning-resource"}))
		for i := range l.Items {
			want, _, _ := unstructured.NestedInt64(l.Items[i].Object, "status", kind.want)
			has, _, _ := unstructured.NestedInt64(l.Items[i].Object, "status", kind.has)
			if want < 1 || has < want {
				return fmt.Errorf("%s %s has %d of %d", kind.name, l.Items[i].GetName(), has, want)
			}
		}
	}
	return nil
}

const networkAttachmentDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: network-attachment-definitions.k8s.cni.cncf.io}
spec:
  group: k8s.cni.cncf.io
  scope: Namespaced
  names: {kind: NetworkAttachmentDefinition, plural: network-attachment-definitions, singular: network-attachment-definition}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
