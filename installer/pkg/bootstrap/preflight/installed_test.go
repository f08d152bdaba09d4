package preflight

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
	"github.com/meshwarden/meshwarden/installer/pkg/operator"
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

// profiled returns the document's IstioOperator as it was stored by an earlier document of another profile.
func profiled(profile string) *unstructured.Unstructured {
	return object(`{apiVersion: install.istio.io/v1alpha1, kind: IstioOperator, metadata: {name: istiocontrolplane, namespace: istio-system}, spec: {profile: ` + profile + `}}`)
}

// operatorIn returns an operator's Deployment with the labels, in a namespace.
func operatorIn(namespace string, labels map[string]string) []appsv1.Deployment {
	return []appsv1.Deployment{{ObjectMeta: metav1.ObjectMeta{Name: operatorName, Namespace: namespace, Labels: labels}}}
}

// held returns an IstioOperator that an operator has taken up.
func held(istioOperator *unstructured.Unstructured) *unstructured.Unstructured {
	istioOperator.SetFinalizers([]string{operator.Finalizer})
	return istioOperator
}
