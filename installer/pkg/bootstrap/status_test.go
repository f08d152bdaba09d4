package bootstrap

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(text string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = o.UnmarshalJSON(content)
	}
	if err != nil {
		panic(err)
	}
	return o
}

func istioOperator(status string) *unstructured.Unstructured {
	return object(`
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: istiocontrolplane, namespace: istio-system, generation: 2}
status: ` + status)
}

func TestStatusOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		given  *unstructured.Unstructured
		want   status
	}{
		"None": {reason: "the operator has not seen it", given: istioOperator("{}")},
		"Older": {
			reason: "what it says is about the spec before",
			given:  istioOperator("{status: HEALTHY, observedGeneration: 1}"), want: status{status: "HEALTHY"},
		},
		"Healthy": {
			reason: "in the order of installing",
			given: istioOperator(`{status: HEALTHY, observedGeneration: 2, operatorVersion: v0.1.0, componentStatus: {
				Pilot: {status: HEALTHY}, IngressGateways: {status: HEALTHY}, Base: {status: HEALTHY}}}`),
			want: status{current: true, status: "HEALTHY", operator: "v0.1.0", components: []component{
				{name: "Base", status: "HEALTHY"}, {name: "Pilot", status: "HEALTHY"}, {name: "IngressGateways", status: "HEALTHY"},
			}},
		},
		"Waiting": {
			reason: "what is waited for is no error",
			given:  istioOperator(`{status: RECONCILING, observedGeneration: 2, componentStatus: {Pilot: {status: RECONCILING, message: no pod}}}`),
			want: status{current: true, status: "RECONCILING", components: []component{
				{name: "Pilot", status: "RECONCILING", message: "no pod"},
			}},
		},
		"Stalled": {
			reason: "it goes no further",
			given: istioOperator(`{status: ERROR, observedGeneration: 2, message: bad, componentStatus: {Pilot: {status: ERROR, error: bad}},
				conditions: [{type: Ready, status: "False"}, {type: Stalled, status: "True", message: bad}]}`),
			want: status{current: true, status: "ERROR", message: "bad", stalled: true, components: []component{
				{name: "Pilot", status: "ERROR", message: "bad"},
			}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, statusOf(c.given), cmp.AllowUnexported(status{}, component{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestProgressSaysWhatIsNew(t *testing.T) {
	out := &strings.Builder{}
	p := &progress{out: out, begun: time.Now().Add(-90 * time.Second), last: map[string]string{}}
	for _, what := range []string{"reconciling: a\nb", "reconciling: a\nb", "healthy"} {
		p.say("Pilot", what)
	}
	p.say("Base", "healthy")
	want := "  1m30s  Pilot            reconciling: a\n                          b\n  1m30s  Pilot            healthy\n  1m30s  Base             healthy\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}
