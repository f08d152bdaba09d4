package meshwarden

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/module"
)

// fieldManager is the one of `kubectl apply --server-side`.
const fieldManager = "kubectl"

// Overlay is one of the ways to install, by its folder in manifests/overlays.
type Overlay string

const (
	// SelfManaged has Meshwarden make its own certificate.
	SelfManaged Overlay = "self-managed"
	// CertManager has cert-manager make it. Its CRDs have to be applied before.
	CertManager Overlay = "cert-manager"
)

// Folder returns the path of a folder of the repository, such as Folder(ctx, "manifests", "base"). The working directory
// has to be inside the e2e module.
func Folder(ctx context.Context, parts ...string) (string, error) {
	e2e, err := module.Dir(ctx, module.E2E)
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{filepath.Dir(e2e)}, parts...)...), nil
}

// Build returns what the kustomization of a folder leads to, in the order in which kubectl applies it.
func Build(dir string) ([]*unstructured.Unstructured, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionLegacy // as kubectl has it
	built, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("build kustomization %s: %w", dir, err)
	}
	var objects []*unstructured.Unstructured
	for _, resource := range built.Resources() {
		object := &unstructured.Unstructured{}
		content, err := resource.MarshalJSON()
		if err == nil {
			err = object.UnmarshalJSON(content)
		}
		if err != nil {
			return nil, fmt.Errorf("build kustomization %s: %w", dir, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// Apply does with the objects what `kubectl apply --server-side` does: one after the other, without taking fields from
// other managers, and unknown fields are an error. Unlike kubectl it ends at the first error.
func Apply(ctx context.Context, c client.Client, objects []*unstructured.Unstructured, options ...client.ApplyOption) error {
	for _, o := range objects {
		// The API server is strict about every apply, and changes what it is given here to what it has stored.
		applied := client.ApplyConfigurationFromUnstructured(o.DeepCopy())
		if err := c.Apply(ctx, applied, append([]client.ApplyOption{client.FieldOwner(fieldManager)}, options...)...); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// kustomization writes the folder that a user of the project would have in a repository of their own: it refers to the
// overlay and says what is different.
func (o Options) kustomization(ctx context.Context, dir string) error {
	// kustomize wants relative paths, and follows no links to find where they begin.
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("write the kustomization: %w", err)
	}
	relative := func(parts ...string) (string, error) {
		target, err := Folder(ctx, parts...)
		if err != nil {
			return "", err
		}
		return filepath.Rel(dir, target)
	}
	overlay, err := relative("manifests", "overlays", string(o.Overlay))
	if err != nil {
		return err
	}
	k := types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{overlay}, Patches: o.Patches,
	}
	for _, name := range o.Components {
		component, err := relative("manifests", "components", name)
		if err != nil {
			return err
		}
		k.Components = append(k.Components, component)
	}
	if len(o.Args) > 0 {
		patch, err := argumentsPatch(o.Args)
		if err != nil {
			return err
		}
		k.Patches = append(k.Patches, patch)
	}
	content, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("write the kustomization: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, "kustomization.yaml"), content, 0o600)
}

// argumentsPatch appends arguments to those of Meshwarden's container.
func argumentsPatch(args []string) (types.Patch, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value string `json:"value"`
	}
	var operations []operation
	for _, arg := range args {
		operations = append(operations, operation{Op: "add", Path: "/spec/template/spec/containers/0/args/-", Value: arg})
	}
	patch, err := yaml.Marshal(operations)
	if err != nil {
		return types.Patch{}, fmt.Errorf("write the patch of the arguments: %w", err)
	}
	target := &types.Selector{}
	target.Kind, target.Name = "Deployment", name
	return types.Patch{Patch: string(patch), Target: target}, nil
}
