package istio_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// groups are the API groups of all kinds that are read.
func groups() map[policy.Kind]string {
	return map[policy.Kind]string{
		policy.KindGateway: "networking.istio.io", policy.KindVirtualService: "networking.istio.io",
		policy.KindService: "", policy.KindPod: "", istio.KindConfigMap: "", policy.KindSecret: "",
		policy.KindCertificate: "cert-manager.io",
		policy.KindDeployment:  "apps", policy.KindDaemonSet: "apps", policy.KindStatefulSet: "apps",
	}
}

// filled returns an object of the kind with all that a shallow copy would share.
func filled(t *testing.T, kind policy.Kind) istio.Object {
	t.Helper()
	o, ok := istio.NewObject(kind)
	if !ok {
		t.Fatalf("no objects of kind %s", kind)
	}
	text := `{"kind":"K","apiVersion":"v","metadata":{"name":"web","namespace":"shop","labels":{"a":"b"},"finalizers":["c"]},"spec":{"hosts":["a"]},"status":{"a":"b"},"data":{"a":"b"}}`
	if err := json.Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// spoil changes an object everywhere.
func spoil(o istio.Object) {
	o.SetName("changed")
	o.GetFinalizers()[0] = "changed"
	if labels := o.GetLabels(); labels != nil {
		labels["a"] = "changed"
	}
	fields := reflect.ValueOf(o).Elem()
	fields.FieldByName("Kind").SetString("changed")
	for _, name := range []string{"Spec", "Status"} {
		if raw := fields.FieldByName(name); raw.IsValid() {
			raw.Bytes()[2] = '!'
		}
	}
	if data := fields.FieldByName("Data"); data.IsValid() {
		data.SetMapIndex(reflect.ValueOf("a"), reflect.ValueOf("changed"))
	}
}

// filledList returns a list of two such objects.
func filledList(t *testing.T, kind policy.Kind) runtime.Object {
	t.Helper()
	list, ok := istio.NewList(kind)
	if !ok {
		t.Fatalf("no lists of kind %s", kind)
	}
	fields := reflect.ValueOf(list).Elem()
	fields.FieldByName("ListMeta").Set(reflect.ValueOf(metav1.ListMeta{ResourceVersion: "7", RemainingItemCount: new(int64)}))
	items := fields.FieldByName("Items")
	for range 2 {
		items.Set(reflect.Append(items, reflect.ValueOf(filled(t, kind)).Elem()))
	}
	return list
}

// TestDeepCopyObject changes the copy everywhere and looks whether the original still is what it was.
func TestDeepCopyObject(t *testing.T) {
	for kind := range groups() {
		t.Run(string(kind), func(t *testing.T) {
			original := filled(t, kind)
			clone := original.DeepCopyObject()
			if diff := cmp.Diff(runtime.Object(original), clone); diff != "" {
				t.Errorf("the copy differs (-original +copy):\n%s", diff)
			}
			spoil(clone.(istio.Object))
			if diff := cmp.Diff(filled(t, kind), original); diff != "" {
				t.Errorf("a change of the copy shows in the original (-before +after):\n%s", diff)
			}
		})
		t.Run(string(kind)+"List", func(t *testing.T) {
			original := filledList(t, kind)
			clone := original.DeepCopyObject()
			if diff := cmp.Diff(original, clone); diff != "" {
				t.Errorf("the copy differs (-original +copy):\n%s", diff)
			}
			fields := reflect.ValueOf(clone).Elem()
			spoil(fields.FieldByName("Items").Index(1).Addr().Interface().(istio.Object))
			*fields.FieldByName("RemainingItemCount").Interface().(*int64) = 1
			if diff := cmp.Diff(filledList(t, kind), original); diff != "" {
				t.Errorf("a change of the copy shows in the original (-before +after):\n%s", diff)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	for kind, group := range groups() {
		if o, ok := istio.NewObject(kind); !ok || reflect.TypeOf(o).Elem().Name() != string(kind) {
			t.Errorf("NewObject(%s) = %T, %t", kind, o, ok)
		}
		version, ok := istio.GroupVersionOf(kind)
		if want := (schema.GroupVersion{Group: group, Version: "v1"}); !ok || version != want {
			t.Errorf("GroupVersionOf(%s) = %s, %t, want %s", kind, version, ok, want)
		}
		if got, ok := istio.KindOf(schema.GroupKind{Group: group, Kind: string(kind)}); !ok || got != kind {
			t.Errorf("KindOf(%s in %q) = %s, %t", kind, group, got, ok)
		}
	}
	for _, gk := range []schema.GroupKind{
		{Group: "gateway.networking.k8s.io", Kind: "Gateway"}, {Group: "serving.knative.dev", Kind: "Service"}, {Kind: "Deployment"}, {Kind: "Namespace"}, {Kind: "service"}, {},
	} {
		if _, ok := istio.KindOf(gk); ok {
			t.Errorf("KindOf(%s) is one that is read", gk)
		}
	}
	for _, kind := range []policy.Kind{"Namespace", "gateway", "GatewayList", ""} {
		o, ok := istio.NewObject(kind)
		list, okList := istio.NewList(kind)
		_, okVersion := istio.GroupVersionOf(kind)
		if o != nil || list != nil || ok || okList || okVersion {
			t.Errorf("kind %q is read", kind)
		}
	}
}

// TestAddToScheme decodes an object and a list of each kind as a client does.
func TestAddToScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := istio.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for kind, group := range groups() {
		version := schema.GroupVersion{Group: group, Version: "v1"}
		want, _ := istio.NewObject(kind)
		wantList, _ := istio.NewList(kind)
		for name, want := range map[string]runtime.Object{string(kind): want, string(kind) + "List": wantList} {
			got, err := scheme.New(version.WithKind(name))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if kinds, _, err := scheme.ObjectKinds(want); err != nil || len(kinds) != 1 || kinds[0] != version.WithKind(name) {
				t.Errorf("%s: a %T is registered as %v (%v)", name, want, kinds, err)
			}
		}
		if !scheme.Recognizes(version.WithKind(metav1.WatchEventKind)) {
			t.Errorf("objects of %s cannot be watched", version)
		}
	}
}
