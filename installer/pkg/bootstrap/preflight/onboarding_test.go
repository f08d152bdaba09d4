package preflight

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestOnboarded(t *testing.T) {
	const optOut = "meshwarden.io/onboarding"
	note := func(name string) []Finding {
		return []Finding{{
			Problem: "namespace " + name + " was there before and keeps its labels, which do not keep Meshwarden away: where it is younger than Meshwarden's webhook, or --backfill=all is set, it is onboarded like one of an application",
			Remedy:  "to have it left alone: kubectl label namespace " + name + " --overwrite meshwarden.io/onboarding=disabled",
		}}
	}
	for name, c := range map[string]struct {
		reason    string
		namespace metav1.ObjectMeta
		want      []Finding
	}{
		"Missing":    {reason: "the bootstrap creates it, with the label"},
		"Bare":       {reason: "made by hand, for a pull secret", namespace: metav1.ObjectMeta{Name: "mesh"}, want: note("mesh")},
		"OptedOut":   {reason: "made by an earlier bootstrap, or as the documentation says", namespace: metav1.ObjectMeta{Name: "mesh", Labels: map[string]string{optOut: "disabled"}}},
		"Annotation": {reason: "Meshwarden takes an annotation for the same", namespace: metav1.ObjectMeta{Name: "mesh", Annotations: map[string]string{optOut: "disabled"}}},
		"Onboarded": {
			reason:    "Meshwarden was first, and has it under its care",
			namespace: metav1.ObjectMeta{Name: "mesh", Labels: map[string]string{"istio-injection": "enabled"}, Annotations: map[string]string{optOut: "enabled"}},
			want: []Finding{{
				Problem: "Meshwarden has onboarded namespace mesh like one of an application",
				Remedy:  "to have it left alone: kubectl label namespace mesh --overwrite meshwarden.io/onboarding=disabled istio-injection-",
			}},
		},
		"Excluded":  {reason: "left alone by its name", namespace: metav1.ObjectMeta{Name: "istio-system"}},
		"Unrelated": {reason: "none of the document's", namespace: metav1.ObjectMeta{Name: "shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			planned := target(t, "empty")
			planned.Namespaces = nil
			for _, n := range []string{"istio-system", "mesh"} {
				planned.Namespaces = append(planned.Namespaces, &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": n}}})
			}
			given := snapshot{namespaces: map[string]*corev1.Namespace{c.namespace.Name: {ObjectMeta: c.namespace}}}
			if diff := cmp.Diff(c.want, onboarded(planned, given)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}
