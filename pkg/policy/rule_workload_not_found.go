package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

/*
MW205: the selector of a Gateway matches a workload.

Reads:  Gateway spec.selector; the labels of pod templates of Deployments, DaemonSets and StatefulSets (in files of Pods, too)
Passes: everything while no workload is known to run as a gateway: files rarely hold any, and in a cluster a Gateway may be
applied before its workload; a selector with a label that pods get after their template
Source: Istio's PushContext.mergeGateways (pilot/pkg/model/push_context.go); the selector reaches across namespaces unless istiod
is told otherwise (PILOT_SCOPE_GATEWAY_TO_NAMESPACE)
*/
func workloadNotFound() Rule {
	return Rule{
		ID:     "MW205",
		Name:   "workload-not-found",
		Kinds:  []Kind{KindGateway},
		Title:  "The selector matches no workload, though gateway workloads are known.",
		Remedy: "Correct the selector, or deploy the gateway workload.",
		Action: Warn,
		Check: func(m Mesh, o Object) []Finding {
			g := o.Gateway
			if g == nil || !m.Routers() || len(workloadsOf(m, g)) > 0 || asksForAdded(g.Selector) {
				return nil
			}
			f := Finding{Path: "spec.selector", Gateway: g.String()}
			f.Message = "no workload is known as a gateway"
			if len(g.Selector) > 0 {
				f.Message = fmt.Sprintf("no workload has the labels %s", labelList(g.Selector))
			}
			if m.Settings().ScopeGateways {
				f.Message += fmt.Sprintf(" in namespace %s, and istiod lets Gateways select workloads of their own namespace only", g.Namespace)
			}
			return []Finding{f}
		},
	}
}

// asksForAdded says whether a selector has a label that no pod template has.
func asksForAdded(selector map[string]string) bool {
	for key := range selector {
		if addedToPods(key) {
			return true
		}
	}
	return false
}

// labelList writes labels as kubectl does.
func labelList(labels map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, k+"="+labels[k])
	}
	return strings.Join(pairs, ",")
}
