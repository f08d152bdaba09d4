package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	// Keeps the module that IstioCRDs reads from in go.mod and go.sum.
	_ "istio.io/api/meta/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/meshwarden/meshwarden/e2e/module"
)

const (
	fieldManager = "meshwarden-controlplane"
	// establishInterval is how often it is looked whether a CRD is served.
	establishInterval = 50 * time.Millisecond
	establishTimeout  = 5 * time.Minute
)

// IstioCRDs returns Istio's CustomResourceDefinitions as YAML documents. They come
// from the istio.io/api module of this build, so that they never differ from the Go
// types. The working directory has to be inside the e2e module.
func IstioCRDs(ctx context.Context) ([]byte, error) {
	dir, err := module.Dir(ctx, "istio.io/api")
	if err != nil {
		return nil, fmt.Errorf("find istio's CRDs: %w", err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "kubernetes", "customresourcedefinitions.gen.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read istio's CRDs: %w", err)
	}
	return content, nil
}

// ApplyCRDs applies CustomResourceDefinitions, given as YAML documents, and waits
// until the API server serves all of them. It can be repeated.
func (cp *ControlPlane) ApplyCRDs(ctx context.Context, documents []byte) error {
	crds, err := decodeCRDs(documents)
	if err != nil {
		return fmt.Errorf("apply CRDs: %w", err)
	}
	client, err := dynamic.NewForConfig(cp.Config())
	if err != nil {
		return fmt.Errorf("apply CRDs: %w", err)
	}
	resource := client.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	for _, crd := range crds {
		if _, err := resource.Apply(ctx, crd.GetName(), crd, options); err != nil {
			return fmt.Errorf("apply CRD %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range crds {
		if err := waitEstablished(ctx, resource, crd.GetName()); err != nil {
			return err
		}
	}
	return cp.waitServed(ctx, client, crds)
}

// waitServed waits until the objects of the CRDs can be listed, and their resources are among those that the API server tells
// of. Both come a moment after it has said that a CRD is established.
func (cp *ControlPlane) waitServed(ctx context.Context, client dynamic.Interface, crds []*unstructured.Unstructured) error {
	teller, err := discovery.NewDiscoveryClientForConfig(cp.Config())
	if err != nil {
		return fmt.Errorf("ask for the resources of CRDs: %w", err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, establishInterval, establishTimeout, true, func(ctx context.Context) (bool, error) {
		last = served(ctx, teller, client, crds)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for CRDs to be served: %w: %w", err, last)
	}
	return nil
}

// served fails unless every CRD is served in all versions that it asks for.
func served(ctx context.Context, teller discovery.DiscoveryInterface, client dynamic.Interface, crds []*unstructured.Unstructured) error {
	_, lists, err := teller.ServerGroupsAndResources()
	if err != nil {
		return fmt.Errorf("ask for the resources: %w", err)
	}
	told := map[schema.GroupVersionResource]bool{}
	for _, l := range lists {
		version, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			return fmt.Errorf("read the resources: %w", err)
		}
		for _, r := range l.APIResources {
			told[version.WithResource(r.Name)] = true
		}
	}
	for _, crd := range crds {
		for _, resource := range resourcesOf(crd) {
			if !told[resource] {
				return fmt.Errorf("the API server does not tell of %s yet", resource)
			}
			if _, err := client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
				return fmt.Errorf("list %s: %w", resource, err)
			}
		}
	}
	return nil
}

// resourcesOf returns what a CRD asks to be served.
func resourcesOf(crd *unstructured.Unstructured) []schema.GroupVersionResource {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	var resources []schema.GroupVersionResource
	for _, v := range versions {
		fields, _ := v.(map[string]any)
		name, _ := fields["name"].(string)
		if asked, _ := fields["served"].(bool); asked {
			resources = append(resources, schema.GroupVersionResource{Group: group, Version: name, Resource: plural})
		}
	}
	return resources
}

func decodeCRDs(documents []byte) ([]*unstructured.Unstructured, error) {
	var crds []*unstructured.Unstructured
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(documents)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return crds, nil
		}
		if err != nil {
			return nil, fmt.Errorf("split YAML documents: %w", err)
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &crd.Object); err != nil {
			return nil, fmt.Errorf("decode YAML document: %w", err)
		}
		if len(crd.Object) == 0 {
			continue // only comments
		}
		if crd.GetKind() != "CustomResourceDefinition" {
			return nil, fmt.Errorf("%s %q is not a CustomResourceDefinition", crd.GetKind(), crd.GetName())
		}
		crds = append(crds, crd)
	}
}

func waitEstablished(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	established := func(ctx context.Context) (bool, error) {
		crd, err := resource.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		// Until the API server has looked at the CRD they are null, which this function takes for an error.
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, condition := range conditions {
			fields, ok := condition.(map[string]any)
			if ok && fields["type"] == "Established" && fields["status"] == "True" {
				return true, nil
			}
		}
		return false, nil
	}
	if err := wait.PollUntilContextTimeout(ctx, establishInterval, establishTimeout, true, established); err != nil {
		return fmt.Errorf("wait for CRD %s to be established: %w", name, err)
	}
	return nil
}
