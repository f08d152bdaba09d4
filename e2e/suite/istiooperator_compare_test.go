package suite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/operator/pkg/render"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// istioRenders returns what Istio's own generator makes of the text of an IstioOperator.
func istioRenders(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	file := filepath.Join(t.TempDir(), "istiooperator.yaml")
	noError(t, "write a file", os.WriteFile(file, []byte(text), 0o600))
	sets, _, err := render.GenerateManifest([]string{file}, nil, false, nil, nil)
	noError(t, "render with Istio's generator", err)
	var objects []*unstructured.Unstructured
	for _, s := range sets {
		for _, m := range s.Manifests {
			objects = append(objects, m.Unstructured)
		}
	}
	return objects
}

// compareToIstio fails the test unless the cluster has exactly what Istio's own generator makes of the IstioOperator, with what API server and
// controllers add to it.
func (o *operated) compareToIstio(t *testing.T, namespace, name, text string) {
	t.Helper()
	var want []string
	for _, r := range istioRenders(t, text) {
		live := o.object(t, r.GetAPIVersion(), r.GetKind(), r.GetNamespace(), r.GetName())
		if r.GetKind() != "NetworkAttachmentDefinition" {
			want = append(want, r.GetKind()+" "+r.GetNamespace()+"/"+r.GetName())
		}
		labels := r.GetLabels()
		for _, owner := range []string{"install.operator.istio.io/owning-resource", "operator.istio.io/component"} {
			delete(labels, owner) // charts give these values of their own, or none
		}
		r.SetLabels(labels)
		if missing := lacks(r.GetKind()+" "+r.GetName(), r.Object, live.Object); missing != "" {
			t.Errorf("not as Istio renders it: %s", missing)
		}
	}
	slices.Sort(want)
	got := o.ownedBy(t, namespace, name)
	got = slices.DeleteFunc(got, func(s string) bool { // CRDs stay when Base is switched off
		return strings.HasPrefix(s, "CustomResourceDefinition ") && !slices.Contains(want, s)
	})
	if !slices.Equal(got, want) {
		t.Errorf("it owns\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// lacks says which part of want is not in got; nothing if all is.
func lacks(path string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		fields, _ := got.(map[string]any)
		for key, value := range want {
			if missing := lacks(path+"."+key, value, fields[key]); missing != "" {
				return missing
			}
		}
	case []any:
		items, _ := got.([]any)
		for i, value := range want {
			if i >= len(items) {
				return fmt.Sprintf("%s has %d items, want %d", path, len(items), len(want))
			}
			if missing := lacks(fmt.Sprintf("%s[%d]", path, i), value, items[i]); missing != "" {
				return missing
			}
		}
	case nil:
	default:
		a, b := fmt.Sprint(want), fmt.Sprint(got)
		if a == b || a == "" && got == nil {
			return ""
		}
		qa, err := resource.ParseQuantity(a)
		qb, err2 := resource.ParseQuantity(b)
		if err != nil || err2 != nil || qa.Cmp(qb) != 0 {
			return fmt.Sprintf("%s is %s, want %s", path, b, a)
		}
	}
	return ""
}

// has returns an error unless a field is so. A number leads into a list.
func has(u *unstructured.Unstructured, want string, path ...string) error {
	var at any = u.Object
	for _, p := range path {
		if items, ok := at.([]any); ok {
			var i int
			if _, err := fmt.Sscan(p, &i); err != nil || i >= len(items) {
				return fmt.Errorf("%s of %s is %v, which has no %s", strings.Join(path, "."), u.GetName(), items, p)
			}
			at = items[i]
			continue
		}
		fields, _ := at.(map[string]any)
		at = fields[p]
	}
	if fmt.Sprint(at) != want {
		return fmt.Errorf("%s of %s is %v, want %s", strings.Join(path, "."), u.GetName(), at, want)
	}
	return nil
}

// exists returns an error unless the object is there.
func (e *environment) exists(t *testing.T, apiVersion, kind, namespace, name string) error {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	return e.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, u)
}

// withoutStatus returns an object without what its controllers write, and without the marks of whoever else wrote it: what is left
// changes only when the operator or a user changes it.
func withoutStatus(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	delete(u.Object, "status")
	u.SetResourceVersion("")
	u.SetManagedFields(slices.DeleteFunc(u.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return f.Manager != "istio-operator" }))
	return u.Object
}

// events returns the notes of the Events of a reason about an IstioOperator.
func (o *operated) events(t *testing.T, namespace, name, reason string) []string {
	t.Helper()
	l := &eventsv1.EventList{}
	noError(t, "list Events", o.client.List(t.Context(), l, client.InNamespace(namespace)))
	var notes []string
	for _, e := range l.Items {
		if e.Regarding.Kind == "IstioOperator" && e.Regarding.Name == name && e.Reason == reason {
			notes = append(notes, e.Note)
		}
	}
	return notes
}
