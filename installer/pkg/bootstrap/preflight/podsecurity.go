package preflight

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// podSecurity names workloads whose pods a namespace's enforced pod security level would refuse, by the API server's own
// checks. A level that the cluster enforces by default, without a label, is not seen here.
func podSecurity(t Target, s snapshot) []Finding {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return []Finding{{Problem: fmt.Sprintf("pod security cannot be judged: %v", err)}}
	}
	var findings []Finding
	for _, o := range t.Namespaces {
		enforced, _ := api.PolicyToEvaluate(namespaceLabels(t, s, o.GetName()), api.Policy{
			Enforce: api.LevelVersion{Level: api.LevelPrivileged, Version: api.LatestVersion()},
		})
		var refused []string
		needs := api.LevelRestricted
		for _, w := range t.workloads() {
			if w.GetNamespace() != o.GetName() {
				continue
			}
			if why := violation(evaluator, enforced.Enforce, w); why != "" {
				refused = append(refused, fmt.Sprintf("%s (%s)", title(w), why))
			}
			needs = leastLevel(evaluator, needs, enforced.Enforce.Version, w)
		}
		if len(refused) == 0 {
			continue
		}
		findings = append(findings, Finding{
			Problem: fmt.Sprintf("namespace %s enforces pod security %q, which refuses the pods of %s", o.GetName(), enforced.Enforce.Level, strings.Join(refused, ", ")),
			Remedy:  fmt.Sprintf("kubectl label namespace %s --overwrite %s=%s", o.GetName(), api.EnforceLevelLabel, needs),
		})
	}
	return findings
}

// leastLevel returns the strictest level, at most as strict as the given one, that lets the workload's pods in.
func leastLevel(e policy.Evaluator, most api.Level, version api.Version, workload *unstructured.Unstructured) api.Level {
	levels := []api.Level{api.LevelRestricted, api.LevelBaseline, api.LevelPrivileged}
	for _, level := range levels[slices.Index(levels, most):] {
		if violation(e, api.LevelVersion{Level: level, Version: version}, workload) == "" {
			return level
		}
	}
	return api.LevelPrivileged
}

// violation says why the level refuses the workload's pods; nothing if it does not.
func violation(e policy.Evaluator, level api.LevelVersion, workload *unstructured.Unstructured) string {
	template := corev1.PodTemplateSpec{}
	content, _, err := unstructured.NestedMap(workload.Object, "spec", "template")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(content, &template)
	}
	if err != nil {
		return "" // the API server will say it better
	}
	result := policy.AggregateCheckResults(e.EvaluatePod(level, &template.ObjectMeta, &template.Spec))
	if result.Allowed {
		return ""
	}
	return result.ForbiddenReason()
}
