package installation

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
)

// The operator's objects, in the order in which they are to be applied, as they are for the namespaces of the platform's reference document.
//
//go:embed manifests/crd.yaml manifests/rbac.yaml manifests/deployment.yaml
var manifests embed.FS

// The namespaces in the manifests stand for those of a document.
const (
	operatorPlaceholder = "istio-operator"
	watchedPlaceholder  = "istio-system"
)

// operatorObjects returns the operator's objects for the namespaces of a document; those of a watched namespace once for each.
func operatorObjects(d document.Document, image string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, file := range []string{"crd", "rbac", "deployment"} {
		templates, err := read("manifests/" + file + ".yaml")
		if err != nil {
			return nil, err
		}
		for _, o := range templates {
			mark(o)
			switch o.GetNamespace() {
			case watchedPlaceholder:
				for _, namespace := range d.Watched {
					copied := o.DeepCopy()
					copied.SetNamespace(namespace)
					objects = append(objects, withSubjects(copied, d.OperatorNamespace))
				}
				continue
			case operatorPlaceholder:
				o.SetNamespace(d.OperatorNamespace)
			}
			objects = append(objects, withSubjects(withContainer(o, image, d.Watched), d.OperatorNamespace))
		}
	}
	return objects, nil
}

func read(file string) ([]*unstructured.Unstructured, error) {
	f, err := manifests.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot open the embedded %s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the embedded %s: %w", file, err)
		}
		objects = append(objects, o)
	}
}

func mark(o *unstructured.Unstructured) {
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[ManagedByLabel] = ManagedBy
	labels["app.kubernetes.io/name"] = operatorPlaceholder
	o.SetLabels(labels)
}

// withSubjects lets a binding speak of the ServiceAccount in the operator's namespace.
func withSubjects(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
	for _, s := range subjects {
		s.(map[string]any)["namespace"] = namespace
	}
	if len(subjects) > 0 {
		o.Object["subjects"] = subjects
	}
	return o
}

// withContainer lets the Deployment run the image and watch the namespaces.
func withContainer(o *unstructured.Unstructured, image string, watched []string) *unstructured.Unstructured {
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, _ := unstructured.NestedSlice(o.Object, path...)
	for _, c := range containers {
		container := c.(map[string]any)
		container["image"] = image
		args := container["args"].([]any)
		for i, a := range args {
			const flag = "--watch-namespaces="
			if strings.HasPrefix(a.(string), flag) {
				args[i] = flag + strings.Join(watched, ",")
			}
		}
	}
	if len(containers) > 0 {
		_ = unstructured.SetNestedSlice(o.Object, containers, path...) // it was read from there
	}
	return o
}
