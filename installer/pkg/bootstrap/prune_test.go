package bootstrap

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

func rendering(objects ...string) render.Rendering {
	c := render.Component{Name: "Pilot"}
	for _, o := range objects {
		c.Objects = append(c.Objects, object(o))
	}
	return render.Rendering{Components: []render.Component{c}}
}

func TestLeft(t *testing.T) {
	const (
		istiod  = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: istiod, namespace: istio-system}}"
		gateway = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: gateway, namespace: istio-system}}"
	)
	cases := map[string]struct {
		reason, stored string
		want           bool
	}{
		"Rendered": {reason: "it stays", stored: istiod},
		"Gone":     {reason: "no component has it any more", stored: gateway, want: true},
		"CRD":      {reason: "the users' objects would go with it", stored: "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x}}"},
		"Copy": {
			reason: "the labels are those of its Service",
			stored: "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: x, ownerReferences: [{apiVersion: v1, kind: Service, name: x, uid: u, controller: true}]}}",
		},
		"NotPruned": {
			reason: "it says so itself",
			stored: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: {install.operator.istio.io/owning-resource-not-pruned: 'true'}}}",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := left([]*unstructured.Unstructured{object(c.stored)}, rendering(istiod)); (len(got) == 1) != c.want {
				t.Errorf("%s: left %v, want that: %t", c.reason, got, c.want)
			}
		})
	}
}

func TestScaled(t *testing.T) {
	got := scaled(rendering(
		"{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: x, namespace: mesh}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: istiod}}}",
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: gateway, namespace: mesh}}",
	))
	if diff := cmp.Diff(map[string]bool{"Deployment mesh/istiod": true}, got); diff != "" {
		t.Errorf("what an autoscaler scales (-want +got):\n%s", diff)
	}
}
