package istio

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"
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
	// Istio takes none of a configuration that it cannot read in full, and goes on with what it had.
	if err := new(meshconfig.MeshConfig).UnmarshalJSON(raw); err != nil {
		return MeshSettings{}, fmt.Errorf("cannot read it as Istio does: %w", err)
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
	for i, arg := range istiod.expandedArgs() {
		if domain, ok := strings.CutPrefix(arg, domainFlag+"="); ok {
			s.ClusterDomain = domain
		}
		if arg == domainFlag && i+1 < len(istiod.Args) {
			s.ClusterDomain = istiod.expandedArgs()[i+1]
		}
	}
	if strings.Contains(s.ClusterDomain, "$(") {
		// It comes from a variable whose value is not in the Deployment.
		s.ClusterDomain = ""
	}
	return s, nil
}

// expandedArgs are the arguments with $(NAME) replaced by the values that the container's own environment states, as the
// kubelet does it.
func (c container) expandedArgs() []string {
	var pairs []string
	for _, e := range c.Env {
		if e.Value != "" {
			pairs = append(pairs, "$("+e.Name+")", e.Value)
		}
	}
	expand := strings.NewReplacer(pairs...)
	args := make([]string, 0, len(c.Args))
	for _, arg := range c.Args {
		args = append(args, expand.Replace(arg))
	}
	return args
}
