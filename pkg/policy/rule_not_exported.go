package policy

import (
	"fmt"
	"slices"
	"strings"
)

/*
MW104: a VirtualService is visible in a namespace in which workloads of its gateway run.

Reads:  as MW114, and VirtualService spec.exportTo, the mesh's defaultVirtualServiceExportTo, the namespaces of the workloads
that the Gateway selects
Passes: hosts for which no route applies, which is MW114; a VirtualService that some of the gateway's workloads see
Warns:  where no workload is known; the Gateway's own namespace is then taken for theirs
Source: Istio's VirtualServicesForGateway (pilot/pkg/model/push_context.go), which asks for the namespace of the workload,
not for that of the Gateway
*/
func notExportedToWorkloads() Rule {
	return Rule{
		ID:     "MW104",
		Name:   "not-exported",
		Kinds:  []Kind{KindVirtualService},
		Title:  "The VirtualService is not exported to any namespace in which the gateway's workloads run (warn where no workload is known).",
		Remedy: "Add the namespace of the gateway's workloads to exportTo.",
		Action: Deny,
		Check: func(m Mesh, o Object) []Finding {
			v := o.VirtualService
			var guessed []bool
			found := unservedAt(m, v, notExported, func(r unserved) string {
				on := evaluationOf(m).placements(r.gateway)
				guessed = append(guessed, r.passage.counts())
				verdict := "is not served"
				if r.passage.counts() {
					verdict = "may not be served"
				}
				return fmt.Sprintf("host %q %s: the VirtualService is visible in %s, but %s",
					r.host.Written, verdict, visibility(v, m.Settings()), whereRunning(r.gateway, on))
			})
			for i := range found {
				if guessed[i] {
					found[i].Action = Warn
				}
			}
			return found
		},
	}
}

// visibility says where the VirtualService is visible, and what says so.
func visibility(v *VirtualService, s Settings) string {
	exports, byDefault := v.exports(s)
	text := "namespace " + exports[0]
	switch {
	case slices.Contains(exports, exportedNowhere):
		text = "no namespace"
	case len(exports) > 1:
		text = "the namespaces " + strings.Join(exports, ", ")
	}
	if byDefault {
		return text + " (the mesh's defaultVirtualServiceExportTo)"
	}
	return text + " (exportTo)"
}

// whereRunning says where the Gateway's workloads run.
func whereRunning(g *Gateway, on []placement) string {
	if !on[0].known {
		return fmt.Sprintf("gateway %s is in namespace %s, and so may be its workloads, of which none is known", g.Key, g.Namespace)
	}
	const shown = 3
	var names []string
	for _, p := range on[:min(len(on), shown)] {
		names = append(names, p.workload.Reference.String())
	}
	if more := len(on) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("gateway %s runs on %s", g.Key, strings.Join(names, ", "))
}
