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
	"k8s.io/client-go/dynamic"

	"github.com/meshwarden/meshwarden/e2e/module"
)

const (
	fieldManager = "meshwarden-controlplane"
	// establishInterval is how often it is looked whether a CRD is served.
	establishInterval = 50 * time.Millisecond
	establishTimeout  = time.Minute
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
	return nil
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
