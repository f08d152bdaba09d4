package istio

import (
	"slices"
	"strconv"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// What holds where Istio is not told otherwise (pkg/config/mesh, DefaultMeshConfig; pkg/config/constants).
const (
	defaultRootNamespace = "istio-system"
	defaultClusterDomain = "cluster.local"
)

// MeshSettings are what Istio has been told for the mesh as a whole, from one source. What a source does not say is nil
// or empty.
type MeshSettings struct {
	// DefaultExportTo is where VirtualServices without exportTo are visible. A list without entries says everywhere.
	DefaultExportTo []string
	// RootNamespace is the namespace whose configuration counts for the whole mesh.
	RootNamespace string
	// ScopeGateways says that Gateways select workloads of their own namespace only.
	ScopeGateways *bool
	// ClusterDomain is the DNS domain of the cluster.
	ClusterDomain string
}

// Or returns the settings with what they do not say taken from the other ones.
func (s MeshSettings) Or(other MeshSettings) MeshSettings {
	if s.DefaultExportTo == nil {
		s.DefaultExportTo = other.DefaultExportTo
	}
	if s.RootNamespace == "" {
		s.RootNamespace = other.RootNamespace
	}
	if s.ScopeGateways == nil {
		s.ScopeGateways = other.ScopeGateways
	}
	if s.ClusterDomain == "" {
		s.ClusterDomain = other.ClusterDomain
	}
	return s
}

// Settings returns the settings in full, with Istio's defaults in the place of what is not said. The Translator needs their
// ClusterDomain as well.
func (s MeshSettings) Settings() policy.Settings {
	s = s.Or(MeshSettings{RootNamespace: defaultRootNamespace, ScopeGateways: new(bool), ClusterDomain: defaultClusterDomain})
	return policy.Settings{
		ClusterDomain: s.ClusterDomain, DefaultExportTo: s.DefaultExportTo, ScopeGateways: *s.ScopeGateways, RootNamespace: s.RootNamespace,
	}
}

// ParseMeshConfig reads Istio's mesh configuration, the text under the key "mesh" of its ConfigMap. The error names the
// field that cannot be read.
func ParseMeshConfig(text string) (MeshSettings, error) {
	var config struct {
		DefaultExportTo []string `json:"defaultVirtualServiceExportTo"`
		RootNamespace   string   `json:"rootNamespace"`
	}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return MeshSettings{}, err
	}
	if err := utiljson.Unmarshal(raw, &config); err != nil {
		return MeshSettings{}, inWords("", err)
	}
	return MeshSettings{DefaultExportTo: config.DefaultExportTo, RootNamespace: config.RootNamespace}, nil
}

// What istiod is told by its own container.
const (
	discoveryContainer = "discovery"
	scopeEnv           = "PILOT_SCOPE_GATEWAY_TO_NAMESPACE"
	domainFlag         = "--domain"
)

// ParseIstiod reads what istiod is told by its Deployment: the environment and the arguments of the container "discovery",
// or of the first one where none is called so. The error names the field that cannot be read.
func ParseIstiod(d *Deployment) (MeshSettings, error) {
	spec, err := decodeSpec[templatedSpec](d.Spec, nil)
	containers := spec.Template.Spec.Containers
	if err != nil || len(containers) == 0 {
		return MeshSettings{}, err
	}
	istiod := containers[max(0, slices.IndexFunc(containers, func(c container) bool { return c.Name == discoveryContainer }))]
	var s MeshSettings
	for _, e := range istiod.Env {
		if e.Name != scopeEnv || e.Value == "" {
			continue
		}
		// Istio takes its default, false, for what it cannot read (pkg/env).
		scope, err := strconv.ParseBool(e.Value)
		s.ScopeGateways = new(scope && err == nil)
	}
	for i, arg := range istiod.Args {
		if domain, ok := strings.CutPrefix(arg, domainFlag+"="); ok {
			s.ClusterDomain = domain
		}
		if arg == domainFlag && i+1 < len(istiod.Args) {
			s.ClusterDomain = istiod.Args[i+1]
		}
	}
	return s, nil
}
