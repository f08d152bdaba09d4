package istio_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// meta is metadata with all that a shallow copy would share.
func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{"a": "b"}, Finalizers: []string{"c"}}
}

// TestDeepCopyObject changes the copy everywhere and looks whether the original still is what it was.
func TestDeepCopyObject(t *testing.T) {
	spec := func() json.RawMessage { return json.RawMessage(`{"hosts":["a"]}`) }
	gateway := func() istio.Gateway {
		return istio.Gateway{TypeMeta: metav1.TypeMeta{Kind: "Gateway", APIVersion: "v"}, ObjectMeta: meta("public"), Spec: spec()}
	}
	virtualService := func() istio.VirtualService {
		return istio.VirtualService{TypeMeta: metav1.TypeMeta{Kind: "VirtualService", APIVersion: "v"}, ObjectMeta: meta("web"), Spec: spec()}
	}
	list := metav1.ListMeta{ResourceVersion: "7", RemainingItemCount: new(int64)}
	spoil := func(m *metav1.ObjectMeta, spec json.RawMessage) {
		m.Name, m.Labels["a"], m.Finalizers[0], spec[2] = "changed", "changed", "changed", '!'
	}
	tests := []struct {
		reason string
		build  func() runtime.Object
		spoil  func(runtime.Object)
	}{
		{"a Gateway", func() runtime.Object { g := gateway(); return &g }, func(o runtime.Object) {
			g := o.(*istio.Gateway)
			g.Kind = "changed"
			spoil(&g.ObjectMeta, g.Spec)
		}},
		{"a VirtualService", func() runtime.Object { v := virtualService(); return &v }, func(o runtime.Object) {
			v := o.(*istio.VirtualService)
			v.Kind = "changed"
			spoil(&v.ObjectMeta, v.Spec)
		}},
		{"a list of Gateways", func() runtime.Object {
			return &istio.GatewayList{ListMeta: *list.DeepCopy(), Items: []istio.Gateway{gateway(), gateway()}}
		}, func(o runtime.Object) {
			l := o.(*istio.GatewayList)
			*l.RemainingItemCount = 1
			spoil(&l.Items[1].ObjectMeta, l.Items[1].Spec)
		}},
		{"a list of VirtualServices", func() runtime.Object {
			return &istio.VirtualServiceList{ListMeta: *list.DeepCopy(), Items: []istio.VirtualService{virtualService(), virtualService()}}
		}, func(o runtime.Object) {
			l := o.(*istio.VirtualServiceList)
			*l.RemainingItemCount = 1
			spoil(&l.Items[1].ObjectMeta, l.Items[1].Spec)
		}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			original := tc.build()
			clone := original.DeepCopyObject()
			if diff := cmp.Diff(original, clone); diff != "" {
				t.Errorf("the copy differs (-original +copy):\n%s", diff)
			}
			tc.spoil(clone)
			if diff := cmp.Diff(tc.build(), original); diff != "" {
				t.Errorf("a change of the copy shows in the original (-before +after):\n%s", diff)
			}
		})
	}
}

func TestNewObject(t *testing.T) {
	tests := []struct {
		reason string
		kind   policy.Kind
		want   istio.Object
	}{
		{"a Gateway", policy.KindGateway, &istio.Gateway{}},
		{"a VirtualService", policy.KindVirtualService, &istio.VirtualService{}},
		{"a kind that is none of the mesh's", "Namespace", nil},
		{"kinds are written with capital letters", "gateway", nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, ok := istio.NewObject(tc.kind)
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != (tc.want != nil) {
				t.Errorf("NewObject(%q) = %v, %t, want %v", tc.kind, got, ok, tc.want)
			}
		})
	}
}

func TestAddToScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := istio.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		kind string
		want runtime.Object
	}{
		{"Gateway", &istio.Gateway{}},
		{"GatewayList", &istio.GatewayList{}},
		{"VirtualService", &istio.VirtualService{}},
		{"VirtualServiceList", &istio.VirtualServiceList{}},
	}
	for _, tc := range tests {
		got, err := scheme.New(istio.GroupVersion().WithKind(tc.kind))
		if err != nil {
			t.Errorf("%s: %v", tc.kind, err)
			continue
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.kind, diff)
		}
	}
}
