// Package render turns an IstioOperator into the objects that it stands for, by the renderer and the charts of the istio.io/istio module. Nothing is
// read from a chart repository or from disk, and without a cluster nothing is read from there either: equal input gives equal objects.
package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"istio.io/istio/manifests"
	"istio.io/istio/operator/pkg/component"
	"istio.io/istio/operator/pkg/manifest"
	"istio.io/istio/operator/pkg/render"
	"istio.io/istio/operator/pkg/values"
	"istio.io/istio/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Component is a part of Istio and its objects, in an order in which they can be applied.
type Component struct {
	Name    string // Base, Cni, Pilot, Ztunnel, IngressGateways or EgressGateways
	Objects []*unstructured.Unstructured
}

// Rendering is what one IstioOperator stands for.
type Rendering struct {
	Components []Component // in the order to install them; a component that is not enabled is absent
	Namespace  string      // Istio's: values.global.istioNamespace
	Revision   string      // of the control plane; "default" where the IstioOperator names none
	Warnings   []string    // what is doubtful, in Istio's words or, for keys of the mesh configuration, as the texts of Faults
}

// InvalidError says that the IstioOperator itself is at fault: only a change of it helps, and rendering it again does not.
type InvalidError struct{ Err error }

// Error says what is wrong, on one line for each fault.
func (e *InvalidError) Error() string {
	text := e.Err.Error()
	if faults := Faults(nil); !errors.As(e.Err, &faults) {
		text = oneLine(text)
	}
	return "invalid IstioOperator: " + text
}

// Unwrap returns what is wrong: Faults, or another error.
func (e *InvalidError) Unwrap() error { return e.Err }

// Profiles returns the names of the profiles that the module ships, sorted.
func Profiles() []string {
	files, err := fs.Glob(manifests.FS, "profiles/*.yaml")
	if err != nil {
		return nil // only a malformed pattern gives an error
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	slices.Sort(files) // without the suffix, openshift comes before openshift-ambient
	return files
}

// Render returns the objects of an IstioOperator, of which it reads name, namespace and spec. The cluster may be nil; where it is given, its version and
// its network plugin are taken into account as istioctl does. The error is an *InvalidError where Istio refuses the spec.
func Render(o *unstructured.Unstructured, cluster kube.Client) (Rendering, error) {
	if err := checkSpec(o); err != nil {
		return Rendering{}, err
	}
	if cluster != nil {
		// Asked here already, so that a cluster that does not answer is no fault of the spec.
		if _, err := cluster.GetKubernetesVersion(); err != nil {
			return Rendering{}, fmt.Errorf("cannot ask for the version of Kubernetes: %w", err)
		}
	}
	file, err := write(o)
	if err != nil {
		return Rendering{}, fmt.Errorf("cannot hand the IstioOperator to Istio's renderer: %w", err)
	}
	defer func() { _ = os.Remove(file) }()

	var w warnings
	sets, merged, err := generate(file, cluster, &w)
	if err != nil {
		return Rendering{}, refused(o, file, cluster, err)
	}
	spec, _ := o.Object["spec"].(map[string]any)
	_, doubts := Check(spec)
	for _, d := range doubts {
		w.add(d.String())
	}
	r := Rendering{
		Components: components(sets),
		Namespace:  merged.GetPathStringOr("metadata.namespace", "istio-system"),
		Revision:   merged.GetPathStringOr("spec.values.revision", "default"),
		Warnings:   w,
	}
	if err := checkRendering(o, r); err != nil {
		return Rendering{}, err
	}
	return r, nil
}

// write puts what matters of an IstioOperator into a file that only this user can read, because the renderer takes nothing but files. The name of the
// file is returned, for the caller to remove it.
func write(o *unstructured.Unstructured) (string, error) {
	spec := o.Object["spec"]
	if spec == nil {
		spec = map[string]any{}
	}
	// JSON on one line: a line "---" within a value cannot be taken for the end of a document.
	content, err := json.Marshal(map[string]any{
		"apiVersion": "install.istio.io/v1alpha1",
		"kind":       "IstioOperator",
		"metadata":   map[string]any{"name": o.GetName(), "namespace": o.GetNamespace()},
		"spec":       spec,
	})
	if err != nil {
		return "", err
	}
	f, err := os.CreateTemp("", "istiooperator-*.json") // mode 0600
	if err != nil {
		return "", err
	}
	name := filepath.Clean(f.Name())
	_, err = f.Write(content)
	if err := cmp.Or(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(name))
	}
	return name, nil
}

// generate calls Istio's renderer. It turns a panic into an error, because some specs make the renderer panic before its validation sees them.
// checkSpec and Check know those that were found (`components.ingressGateways: null`, `values.global: 5`) and say what is wrong with them; this is for
// the rest.
// A spec is user input, and must not bring the operator down for all the others.
func generate(file string, cluster kube.Client, w *warnings) (sets []manifest.ManifestSet, merged values.Map, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a value has a type that Istio does not expect there: %v", r)
		}
	}()
	return render.GenerateManifest([]string{file}, nil, false, cluster, w)
}

// components sorts what Istio's renderer returns in an order that differs from call to call.
func components(sets []manifest.ManifestSet) []Component {
	installing := []component.Name{
		component.BaseComponentName, component.CNIComponentName, component.PilotComponentName, component.ZtunnelComponentName,
		component.IngressComponentName, component.EgressComponentName,
	}
	var all []Component
	for _, name := range installing {
		c := Component{Name: string(name)}
		for _, m := range manifest.ExtractComponent(sets, name) {
			c.Objects = append(c.Objects, m.Unstructured)
		}
		if len(c.Objects) > 0 {
			slices.SortStableFunc(c.Objects, compare)
			all = append(all, c)
		}
	}
	return all
}
