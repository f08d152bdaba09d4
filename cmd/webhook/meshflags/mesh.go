// Package meshflags has the options that say what Istio has been told for the mesh as a whole, for the commands that judge.
package meshflags

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/meshwarden/meshwarden/pkg/istio"
)

// scopeAuto leaves it to istiod whether Gateways are scoped.
const scopeAuto = "auto"

// Mesh are the options as they are given. What they leave open is read from Istio's own objects.
type Mesh struct {
	IstioNamespace  string
	ClusterDomain   string
	DefaultExportTo []string
	ScopeGateways   string
	RootNamespace   string
}

// Default returns options that leave everything open.
func Default() Mesh {
	return Mesh{IstioNamespace: "istio-system", ScopeGateways: scopeAuto}
}

// AddTo defines the flags.
func (m *Mesh) AddTo(f *pflag.FlagSet) {
	f.StringVar(&m.IstioNamespace, "istio-namespace", m.IstioNamespace, "the `namespace` of istiod and its ConfigMap, which the mesh's settings are read from where they are known; the options below come first")
	f.StringVar(&m.ClusterDomain, "cluster-domain", m.ClusterDomain, "the `domain` in which short host names end; empty means istiod's --domain, or cluster.local")
	f.StringSliceVar(&m.DefaultExportTo, "default-export-to", m.DefaultExportTo, "the `namespaces` that see a VirtualService without exportTo, where . is its own and * is every one; empty means the mesh's defaultVirtualServiceExportTo")
	f.StringVar(&m.ScopeGateways, "scope-gateways", m.ScopeGateways, "`whether` Gateways select workloads of their own namespace only: true, false, or auto for istiod's PILOT_SCOPE_GATEWAY_TO_NAMESPACE")
	f.StringVar(&m.RootNamespace, "root-namespace", m.RootNamespace, "the `namespace` whose configuration counts for the whole mesh; empty means the mesh's rootNamespace")
}

// Settings returns what the options say of the mesh; what they leave open is empty. Each fault is told with the option's
// name.
func (m *Mesh) Settings(fault func(option string, err error)) istio.MeshSettings {
	given := istio.MeshSettings{ClusterDomain: m.ClusterDomain, RootNamespace: m.RootNamespace}
	fault("istio-namespace", NamespaceName(m.IstioNamespace))
	if problems := validation.IsDNS1123Subdomain(m.ClusterDomain); m.ClusterDomain != "" && len(problems) > 0 {
		fault("cluster-domain", errors.New(strings.Join(problems, "; ")))
	}
	if m.RootNamespace != "" {
		fault("root-namespace", NamespaceName(m.RootNamespace))
	}
	for _, namespace := range m.DefaultExportTo {
		if namespace != "." && namespace != "*" {
			fault("default-export-to", NamespaceName(namespace))
		}
		given.DefaultExportTo = append(given.DefaultExportTo, namespace)
	}
	switch m.ScopeGateways {
	case scopeAuto:
	case "true", "false":
		given.ScopeGateways = new(m.ScopeGateways == "true")
	default:
		fault("scope-gateways", fmt.Errorf("must be true, false or %s", scopeAuto))
	}
	return given
}

// NamespaceName returns an error unless a namespace can have the name.
func NamespaceName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("%q is no name of a namespace: %s", name, strings.Join(problems, "; "))
	}
	return nil
}
