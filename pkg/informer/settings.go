package informer

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// What Istio's charts call the objects that hold its settings. Those of a revision have its name at the end:
// "istio-canary", "istiod-canary".
const (
	meshConfigMap = "istio"
	meshConfigKey = "mesh"
	istiod        = "istiod"
	istiodLabel   = "app"
)

// settings finds out what Istio has been told for the mesh as a whole, and tells the model. What the options say comes
// first, what the mesh configuration says second, and what istiod's Deployment says third. Nothing is told before the
// objects of both kinds are listed.
type settings struct {
	given     istio.MeshSettings
	namespace string
	model     *mesh.Model
	log       logr.Logger
	// retranslate has everything translated anew whose names depend on the cluster domain.
	retranslate func()

	mu sync.Mutex
	// said is what the objects say, by kind and name. A kind that is missing is not listed yet.
	said   map[policy.Kind]map[string]istio.MeshSettings
	domain string
	// told is what the log was told last.
	told []any
}

func newSettings(o Options) *settings {
	return &settings{
		given: o.Given, namespace: o.IstioNamespace, model: o.Model, log: o.Log,
		said: map[policy.Kind]map[string]istio.MeshSettings{}, domain: o.Given.Settings().ClusterDomain,
	}
}

// clusterDomain is the domain in which short host names end.
func (s *settings) clusterDomain() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.domain
}

// put takes in an object that was added or changed.
func (s *settings) put(kind policy.Kind, o istio.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.GetNamespace() != s.namespace || s.said[kind] == nil {
		return nil
	}
	s.read(kind, o, s.said[kind])
	return s.apply()
}

// remove takes in that an object is gone.
func (s *settings) remove(kind policy.Kind, o istio.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.GetNamespace() != s.namespace {
		return nil
	}
	delete(s.said[kind], o.GetName())
	return s.apply()
}

// replace takes in that the objects of the kind are these and no others.
func (s *settings) replace(kind policy.Kind, objects []istio.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := map[string]istio.MeshSettings{}
	for _, o := range objects {
		if o.GetNamespace() == s.namespace {
			s.read(kind, o, said)
		}
	}
	s.said[kind] = said
	return s.apply()
}

// read notes what the object says. Of one that cannot be read, what it said before holds, as for Istio itself.
func (s *settings) read(kind policy.Kind, o istio.Object, into map[string]istio.MeshSettings) {
	said, counts, err := parseSettings(o)
	if err != nil {
		s.log.Error(err, "cannot read Istio's settings; what was read before holds", "kind", kind, "object", s.namespace+"/"+o.GetName())
		said = s.said[kind][o.GetName()]
	}
	if counts {
		into[o.GetName()] = said
	} else {
		delete(into, o.GetName())
	}
}

// parseSettings returns what an object of Istio's namespace says, and whether it is one that settings are in.
func parseSettings(o istio.Object) (said istio.MeshSettings, counts bool, err error) {
	switch o := o.(type) {
	case *istio.ConfigMap:
		text, ok := o.Data[meshConfigKey]
		if !ok || o.Name != meshConfigMap && !strings.HasPrefix(o.Name, meshConfigMap+"-") {
			return said, false, nil
		}
		said, err = istio.ParseMeshConfig(text)
		return said, true, err
	case *istio.Deployment:
		if o.Labels[istiodLabel] != istiod {
			return said, false, nil
		}
		said, err = istio.ParseIstiod(o)
		return said, true, err
	}
	return said, false, nil
}

// apply tells the model what holds now. It is for callers that hold the lock.
func (s *settings) apply() error {
	configs, deployments := s.said[istio.KindConfigMap], s.said[policy.KindDeployment]
	if configs == nil || deployments == nil {
		return nil
	}
	config := choose(configs, meshConfigMap)
	deployment := choose(deployments, istiod+strings.TrimPrefix(config, meshConfigMap), istiod)
	found := s.given.Or(configs[config]).Or(deployments[deployment]).Settings()
	if err := s.model.Configure(found); err != nil {
		return fmt.Errorf("apply Istio's settings: %w", err)
	}
	s.tell(config, deployment, found)
	if found.ClusterDomain != s.domain {
		s.domain = found.ClusterDomain
		s.retranslate()
	}
	return nil
}

// choose returns the first of the names that is there, or else the one that sorts first; empty when there is none.
func choose(among map[string]istio.MeshSettings, names ...string) string {
	for _, name := range append(names, slices.Sorted(maps.Keys(among))...) {
		if _, ok := among[name]; ok {
			return name
		}
	}
	return ""
}

// tell logs what holds and who says so, when that has changed.
func (s *settings) tell(config, deployment string, found policy.Settings) {
	sources := []struct {
		name string
		says istio.MeshSettings
	}{
		{"options", s.given},
		{"ConfigMap " + s.namespace + "/" + config, s.said[istio.KindConfigMap][config]},
		{"Deployment " + s.namespace + "/" + deployment, s.said[policy.KindDeployment][deployment]},
	}
	from := func(says func(istio.MeshSettings) bool) string {
		for _, source := range sources {
			if says(source.says) {
				return source.name
			}
		}
		return "Istio's default"
	}
	told := []any{
		"defaultExportTo", found.DefaultExportTo, "defaultExportToFrom", from(func(m istio.MeshSettings) bool { return m.DefaultExportTo != nil }),
		"rootNamespace", found.RootNamespace, "rootNamespaceFrom", from(func(m istio.MeshSettings) bool { return m.RootNamespace != "" }),
		"scopeGateways", found.ScopeGateways, "scopeGatewaysFrom", from(func(m istio.MeshSettings) bool { return m.ScopeGateways != nil }),
		"clusterDomain", found.ClusterDomain, "clusterDomainFrom", from(func(m istio.MeshSettings) bool { return m.ClusterDomain != "" }),
		"configMaps", slices.Sorted(maps.Keys(s.said[istio.KindConfigMap])), "chosenConfigMap", config,
		"istiods", slices.Sorted(maps.Keys(s.said[policy.KindDeployment])), "chosenIstiod", deployment,
	}
	if !reflect.DeepEqual(told, s.told) {
		s.told = told
		s.log.Info("Istio's settings", told...)
	}
}
