package check

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// model returns the mesh of the input. An object whose spec cannot be read is a problem, and is not in it.
func (l *loader) model(o Options) (*mesh.Model, error) {
	meshWide := l.settings(o).Settings()
	translator := istio.Translator{ClusterDomain: meshWide.ClusterDomain}
	model, err := mesh.New()
	if err != nil {
		return nil, err
	}
	if err := model.Configure(meshWide); err != nil {
		return nil, err
	}
	stamp(l.objects)
	var resources []policy.Resource
	for _, o := range l.objects {
		if o.ref.Kind == istio.KindConfigMap {
			continue
		}
		parsed, err := translator.Translate(o.Object)
		if err != nil {
			l.problems = append(l.problems, o.fault(err))
			continue
		}
		resources = append(resources, parsed)
	}
	model.KnowSecrets(l.completeSecrets(resources)...)
	return model, model.Put(resources...)
}

// stamp gives the objects that were never stored a creationTimestamp by their place in the input, later than any real one:
// that is the order in which they would be applied, and Istio decides conflicts by age.
func stamp(objects []*object) {
	last := int64(0)
	for _, o := range objects {
		if created := o.GetCreationTimestamp(); !created.IsZero() {
			last = max(last, created.Unix())
		}
	}
	for _, o := range objects {
		if created := o.GetCreationTimestamp(); created.IsZero() {
			last++
			o.SetCreationTimestamp(metav1.Time{Time: time.Unix(last, 0)})
		}
	}
}

const (
	// meshConfigName is the name of the ConfigMap with the mesh configuration, or its beginning where istiod has a revision.
	meshConfigName = "istio"
	// meshConfigKey is the key of its data that holds the configuration.
	meshConfigKey = "mesh"
	// istiodApp is the value of the label app on istiod's Deployment.
	istiodApp = "istiod"
)

// settings returns the mesh-wide settings: the options', then those of the mesh configuration and of istiod in the input.
// Of several, the first one counts.
func (l *loader) settings(o Options) istio.MeshSettings {
	settings := o.Mesh
	for _, obj := range l.objects {
		if obj.GetNamespace() != o.IstioNamespace {
			continue
		}
		var found istio.MeshSettings
		var err error
		switch kubernetes := obj.Object.(type) {
		case *istio.ConfigMap:
			found, err = meshConfig(kubernetes.Data[meshConfigKey])
		case *istio.Deployment:
			if kubernetes.Labels["app"] != istiodApp {
				continue
			}
			// One that cannot be read is a problem as a workload already.
			found, _ = istio.ParseIstiod(kubernetes)
		}
		if err != nil {
			l.problems = append(l.problems, obj.fault(fmt.Errorf("data.%s: %w", meshConfigKey, err)))
			continue
		}
		settings = settings.Or(found)
	}
	return settings
}

// isMeshConfig says whether a ConfigMap of the name may hold the mesh configuration.
func isMeshConfig(name string) bool {
	return name == meshConfigName || strings.HasPrefix(name, meshConfigName+"-")
}

// meshConfig reads the mesh configuration. It is YAML within YAML, and aliases may blow it up as well.
func meshConfig(text string) (istio.MeshSettings, error) {
	root, err := decodeYAML(bytes.NewReader([]byte(text)))
	if err != nil || root == nil {
		return istio.MeshSettings{}, err
	}
	if err := checkSize(root, objectAtMost); err != nil {
		return istio.MeshSettings{}, err
	}
	return istio.ParseMeshConfig(text)
}
