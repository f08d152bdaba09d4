package conformance

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The kinds of routes that the coverage table tells apart.
const (
	routeHTTP     = "http"
	routeDelegate = "delegate"
	routeTLS      = "tls"
	routeTCP      = "tcp"
)

// The forms of a server's hosts.
const (
	formName       = "name"
	formWildcard   = "*.name"
	formStar       = "*"
	formNamespace  = "ns/"
	formOwn        = "./"
	formEvery      = "*/"
	formUpper      = "Upper"
	formAny        = "*/*"
	formAnyBesides = "*/* mixed"
)

// The forms of exportTo. The last one is a mesh with a default.
const (
	exportUnset   = "unset"
	exportDot     = "."
	exportStar    = "*"
	exportNone    = "~"
	exportOne     = "ns"
	exportSeveral = "several"
	exportDefault = "default"
)

const (
	verdictServed   = "served"
	verdictUnserved = "not served"
)

// NewAlignmentCoverage returns the table of the alignment cases. It counts pairs of a Gateway with one server and a host of
// a VirtualService with one kind of route, on known workloads: what else there is cannot be told apart by these five.
func NewAlignmentCoverage() *Coverage {
	return NewCoverage(impossibleAlignment,
		Dimension{"server", allServerKinds()},
		Dimension{"route", []string{routeHTTP, routeDelegate, routeTLS, routeTCP}},
		Dimension{"host", []string{formName, formWildcard, formStar, formNamespace, formOwn, formEvery, formUpper, formAny, formAnyBesides}},
		Dimension{"exportTo", []string{exportUnset, exportDot, exportStar, exportNone, exportOne, exportSeveral, exportDefault}},
		Dimension{"verdict", []string{verdictServed, verdictUnserved}},
	)
}

// impossibleAlignment says why no pair can be in the cell.
func impossibleAlignment(cell []string) string {
	server, route, export, verdict := cell[0], cell[1], cell[3], cell[4]
	switch {
	case verdict == verdictUnserved:
		return ""
	case server == kindAutoPassthrough:
		return "an auto-passthrough server serves no VirtualService"
	case !slices.Contains(serverKindsFor(kindOfRoute(route)), server):
		return "a server takes one kind of route only"
	case export == exportNone:
		return "a VirtualService that is exported nowhere is not served"
	}
	return ""
}

func kindOfRoute(route string) policy.RouteKind {
	if route == routeDelegate {
		return policy.HTTPRoute
	}
	return policy.RouteKind(route)
}

// Cover counts the pairs of the case.
func (c *AlignmentCase) Cover(t *AlignmentTruth, table *Coverage) error {
	route := routeForm(c.VirtualService().Spec)
	for _, p := range t.Pairs {
		if p.Assumed || route == "" || len(p.Gateway.Spec.Servers) != 1 {
			continue
		}
		server := p.Gateway.Spec.Servers[0]
		kind, form := kindOfServer(server), hostForm(server.Hosts)
		if kind == kindOdd || form == "" {
			continue
		}
		verdict := verdictUnserved
		if p.Serves {
			verdict = verdictServed
		}
		if err := table.Count(kind, route, form, exportForm(c.VirtualService().Spec.ExportTo, c.World.Settings), verdict); err != nil {
			return err
		}
	}
	return nil
}

func routeForm(v *networking.VirtualService) string {
	delegates := 0
	for _, r := range v.Http {
		if r.Delegate != nil {
			delegates++
		}
	}
	http, tls, tcp := len(v.Http) > 0, len(v.Tls) > 0, len(v.Tcp) > 0
	switch {
	case http && !tls && !tcp && delegates == len(v.Http):
		return routeDelegate
	case http && !tls && !tcp:
		return routeHTTP
	case tls && !http && !tcp:
		return routeTLS
	case tcp && !http && !tls:
		return routeTCP
	}
	return ""
}

func hostForm(hosts []string) string {
	if len(hosts) > 1 && slices.Contains(hosts, "*/*") {
		return formAnyBesides
	}
	if len(hosts) != 1 {
		return ""
	}
	namespace, name, qualified := strings.Cut(hosts[0], "/")
	if !qualified {
		name = namespace
	}
	switch {
	case hosts[0] == "*/*":
		return formAny
	case name != strings.ToLower(name):
		return formUpper
	case qualified && namespace == ".":
		return formOwn
	case qualified && namespace == "*":
		return formEvery
	case qualified:
		return formNamespace
	case name == "*":
		return formStar
	case strings.HasPrefix(name, "*"):
		return formWildcard
	}
	return formName
}

func exportForm(exportTo []string, s Settings) string {
	switch {
	case len(exportTo) > 1:
		return exportSeveral
	case len(exportTo) == 1 && slices.Contains([]string{exportDot, exportStar, exportNone}, exportTo[0]):
		return exportTo[0]
	case len(exportTo) == 1:
		return exportOne
	case s.DefaultExportTo != nil:
		return exportDefault
	}
	return exportUnset
}
