package conformance

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Seam stands between the translation and the rules. The suite itself has none; the mutation test breaks what passes
// through one, and so the rules, without touching either.
type Seam struct {
	// Resource replaces an object that has been translated. It may be nil.
	Resource func(policy.Resource) policy.Resource
	// Mesh replaces the world that the rules read. It may be nil.
	Mesh func(policy.Mesh) policy.Mesh
	// Finding changes what a rule has found. It may be nil.
	Finding func(*policy.Finding)
}

// resource returns the object as it comes through the seam.
func (s Seam) resource(r policy.Resource) policy.Resource {
	if s.Resource == nil {
		return r
	}
	return s.Resource(r)
}

// mesh returns the world as it comes through the seam.
func (s Seam) mesh(m policy.Mesh) policy.Mesh {
	if s.Mesh == nil {
		return m
	}
	return s.Mesh(m)
}

// Model returns the world as the rules see it, through the seam.
func (w *World) Model(s Seam) (policy.Mesh, error) {
	settings, err := w.Settings.policy()
	if err != nil {
		return nil, err
	}
	m, err := mesh.New()
	if err != nil {
		return nil, err
	}
	if err := m.Configure(settings); err != nil {
		return nil, err
	}
	view := m.World()
	for _, o := range w.meshObjects() {
		r, err := translate(o.kind, o.object, settings.ClusterDomain)
		if err != nil {
			return nil, err
		}
		if err := view.Put(s.resource(r)); err != nil {
			return nil, err
		}
	}
	return s.mesh(view), nil
}

type meshObject struct {
	kind   policy.Kind
	object any
}

// meshObjects returns the objects that the model holds.
func (w *World) meshObjects() []meshObject {
	var objects []meshObject
	for _, o := range w.Workloads {
		objects = append(objects, meshObject{o.Kind, o.Object()})
	}
	for _, o := range w.Services {
		objects = append(objects, meshObject{policy.KindService, o})
	}
	for _, o := range w.Gateways {
		objects = append(objects, meshObject{policy.KindGateway, o})
	}
	for _, o := range w.VirtualServices {
		objects = append(objects, meshObject{policy.KindVirtualService, o})
	}
	return objects
}

// translate reads an object as it goes over the wire.
func translate(kind policy.Kind, o any, domain string) (policy.Resource, error) {
	received, err := receive(kind, o)
	if err != nil {
		return nil, err
	}
	r, err := istio.Translator{ClusterDomain: domain}.Translate(received)
	if err != nil {
		return nil, fmt.Errorf("cannot translate a %s: %w", kind, err)
	}
	return r, nil
}

func receive(kind policy.Kind, o any) (istio.Object, error) {
	received, ok := istio.NewObject(kind)
	if !ok {
		return nil, fmt.Errorf("nothing reads a %s", kind)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("cannot write a %s: %w", kind, err)
	}
	if err := json.Unmarshal(text, received); err != nil {
		return nil, fmt.Errorf("cannot read a %s: %w", kind, err)
	}
	return received, nil
}

// policy returns the settings as they are read from the objects in which Istio keeps them.
func (s Settings) policy() (policy.Settings, error) {
	var read istio.MeshSettings
	for _, o := range s.objects() {
		var found istio.MeshSettings
		var err error
		switch o := o.(type) {
		case *corev1.ConfigMap:
			found, err = istio.ParseMeshConfig(o.Data["mesh"])
		case *appsv1.Deployment:
			var d istio.Object
			if d, err = receive(policy.KindDeployment, o); err == nil {
				found, err = istio.ParseIstiod(d.(*istio.Deployment))
			}
		}
		if err != nil {
			return policy.Settings{}, err
		}
		read = read.Or(found)
	}
	return read.Settings(), nil
}

// Judge returns what the rules find about a VirtualService of the world.
func (w *World) Judge(key policy.Key, s Seam) ([]policy.Finding, error) {
	m, err := w.Model(s)
	if err != nil {
		return nil, err
	}
	for _, v := range w.VirtualServices {
		if v.Key() != key {
			continue
		}
		r, err := translate(policy.KindVirtualService, v, m.Settings().ClusterDomain)
		if err != nil {
			return nil, err
		}
		read, ok := s.resource(r).(*policy.VirtualService)
		if !ok {
			return nil, fmt.Errorf("a VirtualService became %T", r)
		}
		findings := policy.Evaluate(m, policy.Object{VirtualService: read}, policy.Rules())
		for i := range findings {
			if s.Finding != nil {
				s.Finding(&findings[i])
			}
		}
		return findings, nil
	}
	return nil, fmt.Errorf("there is no VirtualService %s", key)
}
