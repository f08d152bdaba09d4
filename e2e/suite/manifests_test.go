package suite

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// withoutCRDs are the kinds whose CRDs are in no module: e2e/monitoring holds them to their Go types.
const withoutCRDs = "ServiceMonitor PodMonitor PrometheusRule"

// Every folder with a kustomization applies as it is: nothing in it is unknown to the API server, nothing is warned of, and
// the pods pass the strictest Pod Security, under which their namespace is.
func TestManifests(t *testing.T) {
	t.Parallel()
	e := startControlPlane(t, nil)
	e.applyCRDs(t)
	crds, err := certmanager.CRDs(t.Context())
	noError(t, "find cert-manager's CRDs", err)
	noError(t, "apply cert-manager's CRDs", e.cp.ApplyCRDs(t.Context(), crds))
	e.namespace(t, "istio-system") // a component needs it

	unknown := documents("apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: default, name: c}\ndate: {a: b}")
	wantError(t, "a field that the API server does not know", meshwarden.Apply(t.Context(), e.client, unknown), "field not declared in schema")
	pods := 0
	for _, folder := range kustomizations(t) {
		t.Run(folder, func(t *testing.T) { pods += e.testManifests(t, folder) })
	}
	if pods == 0 {
		t.Error("no folder has pods")
	}
}

// kustomizations returns the folders that have one.
func kustomizations(t *testing.T) []string {
	t.Helper()
	var folders []string
	for _, root := range []string{"manifests", "certs"} {
		err := fs.WalkDir(os.DirFS(repository()), root, func(name string, _ fs.DirEntry, err error) error {
			if path.Base(name) == "kustomization.yaml" {
				folders = append(folders, path.Dir(name))
			}
			return err
		})
		noError(t, "find the kustomizations", err)
	}
	return folders
}

// testManifests applies a folder and returns how many kinds of pods are in it. A component is applied over an overlay.
func (e *environment) testManifests(t *testing.T, folder string) int {
	dir := repository(folder)
	if strings.HasPrefix(folder, "manifests/components/") {
		dir = withComponent(t, folder)
	}
	built, err := meshwarden.Build(dir)
	noError(t, "build", err)
	var objects []*unstructured.Unstructured
	for _, o := range built {
		if !strings.Contains(withoutCRDs, o.GetKind()) {
			objects = append(objects, o)
		}
	}
	e.namespacesOf(t, objects)
	warnings := e.warnings(t, func(ctx context.Context, c client.Client) error {
		return meshwarden.Apply(ctx, c, objects)
	})
	if warnings != "" {
		t.Errorf("the API server warns: %s", warnings)
	}
	pods := 0
	for _, o := range objects {
		template, found, err := unstructured.NestedMap(o.Object, "spec", "template")
		noError(t, "read a pod template", err)
		if !found {
			continue
		}
		pods++
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: "pod"}}
		noError(t, "read a pod template", runtime.DefaultUnstructuredConverter.FromUnstructured(template["spec"].(map[string]any), &pod.Spec))
		noError(t, fmt.Sprintf("create a pod of %s %s", o.GetKind(), o.GetName()), e.client.Create(t.Context(), pod, client.DryRunAll))
		if level := e.getNamespace(t, o.GetNamespace()).Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
			t.Errorf("namespace %s enforces %q, want restricted", o.GetNamespace(), level)
		}
	}
	return pods
}

// namespacesOf creates the namespaces that the objects need and do not bring along.
func (e *environment) namespacesOf(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	brought := map[string]bool{"": true}
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			brought[o.GetName()] = true
		}
	}
	for _, o := range objects {
		if n := o.GetNamespace(); !brought[n] {
			brought[n] = true
			noError(t, "create a namespace", client.IgnoreAlreadyExists(e.createNamespace(t.Context(), n)))
		}
	}
}

// withComponent writes a kustomization of the overlay self-managed with the component, and returns its folder.
func withComponent(t *testing.T, component string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	noError(t, "make a folder", err)
	relative := func(folder string) string {
		absolute, err := filepath.Abs(repository(folder))
		noError(t, "find "+folder, err)
		r, err := filepath.Rel(dir, absolute)
		noError(t, "find "+folder, err)
		return r
	}
	content, err := yaml.Marshal(types.Kustomization{
		TypeMeta:   types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources:  []string{relative("manifests/overlays/self-managed")},
		Components: []string{relative(component)},
	})
	noError(t, "write a kustomization", err)
	noError(t, "write a kustomization", os.WriteFile(filepath.Join(dir, "kustomization.yaml"), content, 0o600))
	return dir
}
