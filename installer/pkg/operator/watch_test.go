package operator

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// stored returns an object as the cache has it.
func stored(t *testing.T, kind, version string, spec, status any) *unstructured.Unstructured {
	t.Helper()
	apiVersion := map[string]string{"Deployment": "apps/v1", "Service": "v1", "HorizontalPodAutoscaler": "autoscaling/v2", "CustomResourceDefinition": "apiextensions.k8s.io/v1"}[kind]
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "spec": spec, "status": status}}
	o.SetName("istiod")
	o.SetResourceVersion(version)
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: version}})
	slim, err := Slim(o)
	if err != nil {
		t.Fatal(err)
	}
	return slim.(*unstructured.Unstructured)
}

func TestChanged(t *testing.T) {
	a, b := map[string]any{"a": "a"}, map[string]any{"a": "b"}
	deployment := func(generation int64, version string, spec, status any) *unstructured.Unstructured {
		o := stored(t, "Deployment", version, spec, status)
		o.SetGeneration(generation)
		return o
	}
	schemas := func(generation int64, text string) *unstructured.Unstructured {
		o := stored(t, "CustomResourceDefinition", text, map[string]any{"versions": []any{map[string]any{"schema": text}}}, nil)
		o.SetGeneration(generation)
		return o
	}
	for name, tc := range map[string]struct {
		reason        string
		before, after *unstructured.Unstructured
		want          bool
		// redescribed is whether what others or the operator write has changed.
		redescribed bool
	}{
		"Resync":           {"Nothing but the version, and who wrote it.", deployment(1, "1", a, a), deployment(1, "2", a, a), false, false},
		"Spec":             {"Drift.", deployment(1, "1", a, a), deployment(2, "2", b, a), true, true},
		"WorkloadStatus":   {"How far a workload is matters, but is no drift.", deployment(1, "1", a, a), deployment(1, "2", a, b), true, false},
		"AutoscalerStatus": {"It is written every few seconds.", stored(t, "HorizontalPodAutoscaler", "1", a, a), stored(t, "HorizontalPodAutoscaler", "2", a, b), false, false},
		"NoGeneration":     {"It may have been changed and changed back, which only the version tells.", stored(t, "Service", "1", a, nil), stored(t, "Service", "2", a, nil), false, true},
		"CRDSchema":        {"The schemas are not in the cache; the generation tells.", schemas(1, "a"), schemas(2, "b"), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := changed().Update(event.UpdateEvent{ObjectOld: tc.before, ObjectNew: tc.after}); got != tc.want {
				t.Errorf("%s\npasses: %v, want %v", tc.reason, got, tc.want)
			}
			if got := digest(description(tc.before)) != digest(description(tc.after)); got != tc.redescribed {
				t.Errorf("%s\nlooked at again: %v, want %v", tc.reason, got, tc.redescribed)
			}
			if tc.before.GetResourceVersion() == "" {
				t.Error("the cache's object was changed")
			}
		})
	}
}

func TestToOwner(t *testing.T) {
	blue, green := ofKind(GroupVersionKind()), ofKind(GroupVersionKind())
	blue.SetNamespace("istio-system")
	blue.SetName("blue")
	green.SetNamespace("mesh-two")
	green.SetName("green")
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(GroupVersionKind(), &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(GroupVersionKind().GroupVersion().WithKind("IstioOperatorList"), &unstructured.UnstructuredList{})
	toOwner := toOwner(fake.NewClientBuilder().WithScheme(scheme).WithObjects(blue, green).Build(), []string{"istio-system", "mesh-two"})
	for name, tc := range map[string]struct {
		reason string
		o      *unstructured.Unstructured
		want   []string
	}{
		"Owned":     {"Its owner looks after it.", configMap("istio", "", labelOwner, "green", labelOwnerNamespace, "mesh-two"), []string{"mesh-two/green"}},
		"Unwatched": {"Its owner is none of ours. Any of ours may dispute it, and has to hear when that is over.", configMap("istio", "", labelOwner, "theirs", labelOwnerNamespace, "elsewhere"), []string{"istio-system/blue", "mesh-two/green"}},
		"Nobody's":  {"It is nobody's.", configMap("istio", ""), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, r := range toOwner(t.Context(), tc.o) {
				got = append(got, r.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRemovalOrder(t *testing.T) {
	of := func(name, component string) *unstructured.Unstructured {
		return configMap(name, "", labelComponent, component)
	}
	crd := of("crd", "Base")
	crd.SetGroupVersionKind(Kinds()[0])
	webhook := of("validator", "Base")
	webhook.SetAPIVersion("admissionregistration.k8s.io/v1")
	webhook.SetKind("ValidatingWebhookConfiguration")
	var got []string
	for _, group := range removalOrder([]*unstructured.Unstructured{crd, of("base", "Base"), webhook, of("istiod", "Pilot"), of("ingress", "IngressGateways"), of("cni", "Cni"), of("ztunnel", "Ztunnel"), of("strange", "")}) {
		got = append(got, list(group))
	}
	want := []string{
		"ConfigMap istio-system/strange", "ConfigMap istio-system/ingress", "ConfigMap istio-system/ztunnel", "ValidatingWebhookConfiguration istio-system/validator, ConfigMap istio-system/istiod",
		"ConfigMap istio-system/cni", "ConfigMap istio-system/base", "CustomResourceDefinition istio-system/crd",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestImageTag(t *testing.T) {
	for image, want := range map[string]string{
		"registry.istio.io/release/pilot:1.31.1": "1.31.1", "localhost:5000/istio/pilot": "", "localhost:5000/istio/pilot:1.31.1-distroless@sha256:0123": "1.31.1-distroless", "auto": "", "": "",
	} {
		if got := imageTag(image); got != want {
			t.Errorf("%q: got %q, want %q", image, got, want)
		}
	}
}

// seen is a cache that has an informer, or an error in its place.
type seen struct {
	cache.Cache
	informer cache.Informer
	err      error
}

func (s seen) GetInformer(context.Context, client.Object, ...cache.InformerGetOption) (cache.Informer, error) {
	return s.informer, s.err
}

func TestReady(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		cache  seen
		want   string
	}{
		"Listed":    {reason: "It sees what it is there for.", cache: seen{informer: controllertest.NewFakeInformer(controllertest.Synced)}},
		"Forbidden": {reason: "The informer lists until it may.", cache: seen{informer: controllertest.NewFakeInformer()}, want: "the IstioOperators have not been listed yet"},
		"NoCRD":     {reason: "Without the kind there is no informer.", cache: seen{err: errors.New("no matches for kind")}, want: "watch IstioOperators: no matches for kind"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := Ready(tc.cache)(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestMapper(t *testing.T) {
	m := mapper{meta.NewDefaultRESTMapper(nil)} // a cluster without any kind
	mapping, err := m.RESTMapping(GroupVersionKind().GroupKind(), GroupVersionKind().Version)
	if err != nil || mapping.Resource.Resource != "istiooperators" || mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		t.Errorf("mapping %v, error %v: IstioOperators are known before their CRD is there", mapping, err)
	}
	if _, err := m.RESTMapping(Kinds()[0].GroupKind()); !meta.IsNoMatchError(err) {
		t.Errorf("error %v: the cluster is asked for other kinds", err)
	}
}
