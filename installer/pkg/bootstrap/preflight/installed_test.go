package preflight

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
)

func TestTerminatingWithoutOperator(t *testing.T) {
	gone := object(`{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator,
		metadata: {name: istiocontrolplane, namespace: istio-system, deletionTimestamp: "2026-01-01T00:00:00Z"}}`)
	tests := []struct {
		reason    string
		operators []appsv1.Deployment
		want      string
	}{
		{"our operator finishes the deletion", operatorIn("istio-operator", map[string]string{installation.ManagedByLabel: installation.ManagedBy}), waitForIt},
		{"nobody is left to finish it", nil, `kubectl patch istiooperators.install.istio.io -n istio-system istiocontrolplane --type=merge -p '{"metadata":{"finalizers":null}}'`},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			findings := terminating(target(t, "default"), snapshot{operators: tc.operators, istioOperators: []*unstructured.Unstructured{gone}})
			if len(findings) != 1 || !strings.Contains(findings[0].Remedy, tc.want) {
				t.Errorf("findings %+v, want one with the remedy %q", findings, tc.want)
			}
		})
	}
}
