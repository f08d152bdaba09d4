package chart

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/types"
	yamlencoding "sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

const (
	folder = "../../charts/meshwarden"
	// oldest is the Kubernetes that the tests pretend; Helm's library guesses an older one.
	oldest = "v1.30.0"
)

// values are what `helm install --values` reads.
type values = map[string]any

// parse reads values that the tests themselves wrote.
func parse(t *testing.T, text string) values {
	t.Helper()
	v := values{}
	if err := yamlencoding.UnmarshalStrict([]byte(text), &v); err != nil {
		t.Fatalf("a test's values are broken: %v", err)
	}
	return v
}

// render returns the objects that `helm template meshwarden charts/meshwarden --namespace NAMESPACE` prints.
func render(namespace string, v values) (objects, error) {
	chart, err := loader.Load(folder)
	if err != nil {
		return nil, err
	}
	version, err := common.ParseKubeVersion(oldest)
	if err != nil {
		return nil, err
	}
	install := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.NewTextHandler(io.Discard, nil))))
	install.DryRunStrategy, install.ReleaseName, install.Namespace, install.KubeVersion = action.DryRunClient, "meshwarden", namespace, version
	release, err := install.Run(chart, v)
	if err != nil {
		return nil, err
	}
	rendered, ok := release.(*releasev1.Release)
	if !ok {
		return nil, errors.New("Helm's release has another type")
	}
	return decode([]byte(rendered.Manifest))
}

func mustRender(t *testing.T, namespace string, v values) objects {
	t.Helper()
	rendered, err := render(namespace, v)
	if err != nil {
		t.Fatalf("render the chart: %v", err)
	}
	return rendered
}

// build returns what a kustomization of these folders of manifests/ builds.
func build(t *testing.T, resources, components []string) objects {
	t.Helper()
	// kustomize wants relative paths, and follows no links to find where they begin.
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	relative := func(names []string) (paths []string) {
		for _, name := range names {
			target, err := meshwarden.Folder(t.Context(), "manifests", filepath.FromSlash(name))
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Rel(dir, target)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		return paths
	}
	content, err := yamlencoding.Marshal(types.Kustomization{Resources: relative(resources), Components: relative(components)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := meshwarden.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := objects{}
	for _, o := range built {
		all[id(o.Object)] = o.Object
	}
	return all
}

// objects are the fields of objects by "kind namespace/name".
type objects map[string]map[string]any

func decode(manifest []byte) (objects, error) {
	all := objects{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		o := unstructured.Unstructured{}
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(o.Object) == 0 {
			continue
		}
		if all[id(o.Object)] != nil {
			return nil, errors.New(id(o.Object) + " is there twice")
		}
		all[id(o.Object)] = o.Object
	}
}

func id(fields map[string]any) string {
	o := unstructured.Unstructured{Object: fields}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}
