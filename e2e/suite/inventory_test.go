package suite

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// inventory is what is in a cluster: the content of each object by kind, namespace and name, such as "Secret shop/web".
type inventory map[string]map[string]any

// inventory lists every object of the cluster, apart from what Kubernetes itself changes without being asked.
func (e *environment) inventory(t *testing.T) inventory {
	t.Helper()
	finder, err := discovery.NewDiscoveryClientForConfig(e.cp.Config())
	noError(t, "make a client", err)
	lists, err := finder.ServerPreferredResources()
	noError(t, "list the kinds", err)
	found := inventory{}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "EndpointSlice", "Endpoints", "APIService", "ComponentStatus"}, r.Kind) {
				continue
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetAPIVersion(list.GroupVersion)
			objects.SetKind(r.Kind + "List")
			noError(t, "list "+r.Name, e.client.List(t.Context(), objects))
			for _, o := range objects.Items {
				if !ofKubernetes(&o) {
					found[nameOf(&o)] = content(&o)
				}
			}
		}
	}
	return found
}

// nameOf returns such as "Secret shop/web" or "Namespace shop".
func nameOf(o *unstructured.Unstructured) string {
	return o.GetKind() + " " + strings.TrimPrefix(client.ObjectKeyFromObject(o).String(), "/")
}

// ofKubernetes says whether the object is in a namespace of Kubernetes' or cert-manager's, or made by Kubernetes in each
// namespace.
func ofKubernetes(o *unstructured.Unstructured) bool {
	namespace := o.GetNamespace()
	return strings.HasPrefix(namespace, "kube-") || namespace == "cert-manager" ||
		namespace != "" && (o.GetName() == "kube-root-ca.crt" || o.GetKind() == "ServiceAccount" && o.GetName() == "default")
}

// content is what somebody wrote into the object, and which object it is.
func content(o *unstructured.Unstructured) map[string]any {
	fields := o.DeepCopy().Object
	delete(fields, "status")
	for _, name := range []string{"managedFields", "resourceVersion", "generation"} {
		delete(fields["metadata"].(map[string]any), name)
	}
	if fields["aggregationRule"] != nil {
		delete(fields, "rules") // a controller's, which may be behind
	}
	return fields
}

// with returns the inventory with further objects of whatever content.
func (i inventory) with(names ...string) inventory {
	more := maps.Clone(i)
	for _, name := range names {
		more[name] = nil
	}
	return more
}

// wantInventory fails the test unless the cluster comes to have these objects and no others, as they were. What belonged to a
// deleted object, Kubernetes takes away a moment later.
func (e *environment) wantInventory(t *testing.T, want inventory) {
	t.Helper()
	var have inventory
	e.eventually(t, "nothing is left behind", func(context.Context) error {
		have = e.inventory(t)
		left := slices.DeleteFunc(slices.Sorted(maps.Keys(have)), func(name string) bool { _, wanted := want[name]; return wanted })
		if len(left) > 0 {
			return errors.New(strings.Join(left, ", "))
		}
		return nil
	})
	for name, was := range want {
		switch is, there := have[name]; {
		case !there:
			t.Errorf("%s was taken away", name)
		case was != nil:
			if diff := cmp.Diff(was, is); diff != "" {
				t.Errorf("%s was changed (-before +after):\n%s", name, diff)
			}
		}
	}
}
