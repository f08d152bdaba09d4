package admission_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// createRequest returns the request that the API server sends for a namespace.
func createRequest(object string) webhook.Request {
	return webhook.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Namespace"},
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: []byte(object)},
	}}
}

func TestNamespaceHandlerCreate(t *testing.T) {
	const (
		newLabels      = `{"op":"add","path":"/metadata/labels","value":{"istio-injection":"enabled"}}`
		newAnnotations = `{"op":"add","path":"/metadata/annotations","value":{"meshwarden.io/onboarding":"enabled"}}`
		oneLabel       = `{"op":"add","path":"/metadata/labels/istio-injection","value":"enabled"}`
		oneAnnotation  = `{"op":"add","path":"/metadata/annotations/meshwarden.io~1onboarding","value":"enabled"}`
	)
	tests := []struct {
		reason  string
		object  string
		patch   string // empty: none
		outcome string
		warning string
	}{
		{
			reason:  "absent maps are made: an add below an absent parent fails",
			object:  `{"kind":"Namespace","metadata":{"name":"shop"}}`,
			patch:   "[" + newLabels + "," + newAnnotations + "]",
			outcome: admission.NamespaceLabelled,
		},
		{
			reason:  "null is as good as absent",
			object:  `{"metadata":{"name":"shop","labels":null,"annotations":null}}`,
			patch:   "[" + newLabels + "," + newAnnotations + "]",
			outcome: admission.NamespaceLabelled,
		},
		{
			reason:  "an empty map is there",
			object:  `{"metadata":{"name":"shop","labels":{},"annotations":{}}}`,
			patch:   "[" + oneLabel + "," + oneAnnotation + "]",
			outcome: admission.NamespaceLabelled,
		},
		{
			reason:  "what is in the maps stays, and the slash in the key is escaped",
			object:  `{"metadata":{"name":"shop","labels":{"team":"a"},"annotations":{"a/b":"c"}}}`,
			patch:   "[" + oneLabel + "," + oneAnnotation + "]",
			outcome: admission.NamespaceLabelled,
		},
		{
			reason:  "a generated name is not there yet",
			object:  `{"metadata":{"generateName":"pr-"}}`,
			patch:   "[" + newLabels + "," + newAnnotations + "]",
			outcome: admission.NamespaceLabelled,
		},
		{
			reason:  "a choice stays",
			object:  `{"metadata":{"name":"shop","labels":{"istio.io/rev":"canary"}}}`,
			patch:   "[" + newAnnotations + "]",
			outcome: admission.NamespaceMarked,
		},
		{
			reason: "called again on its own result (reinvocationPolicy)",
			object: `{"metadata":{"name":"shop","labels":{"istio-injection":"enabled"},` +
				`"annotations":{"meshwarden.io/onboarding":"enabled"}}}`,
			outcome: admission.NamespaceUntouched,
		},
		{
			reason:  "excluded",
			object:  `{"metadata":{"name":"istio-system"}}`,
			outcome: admission.NamespaceUntouched,
		},
		{
			reason:  "opted out",
			object:  `{"metadata":{"name":"shop","annotations":{"meshwarden.io/onboarding":"disabled"}}}`,
			outcome: admission.NamespaceUntouched,
		},
		{
			reason:  "a misspelt wish is left alone, and its author is told",
			object:  `{"metadata":{"name":"shop","annotations":{"meshwarden.io/onboarding":"off"}}}`,
			outcome: admission.NamespaceUntouched,
			warning: `meshwarden.io/onboarding: "off" is neither "enabled" nor "disabled"; Meshwarden leaves this namespace alone`,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			var outcome string
			handler := admission.NewNamespaceHandler(policy.NewExclusions("meshwarden", "istio-system"),
				func(o string, _ time.Duration) { outcome = o })
			request := createRequest(tc.object)
			response := handler.Handle(t.Context(), request)
			if err := response.Complete(request); err != nil || !response.Allowed {
				t.Fatalf("allowed %t: %v, %v", response.Allowed, response.Result, err)
			}
			got := []string{string(response.Patch), outcome, strings.Join(response.Warnings, "\n")}
			if diff := cmp.Diff([]string{tc.patch, tc.outcome, tc.warning}, got); diff != "" {
				t.Errorf("patch, outcome, warning (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamespaceHandlerLeavesOthersUntouched(t *testing.T) {
	tests := []struct {
		reason string
		change func(*webhook.Request)
	}{
		{"an update", func(r *webhook.Request) { r.Operation = admissionv1.Update }},
		{"a deletion, which has no object", func(r *webhook.Request) {
			r.Operation, r.Object = admissionv1.Delete, runtime.RawExtension{}
		}},
		{"a subresource", func(r *webhook.Request) { r.SubResource = "status" }},
		{"another kind", func(r *webhook.Request) { r.Kind.Kind = "ConfigMap" }},
		{"the same kind in another group", func(r *webhook.Request) { r.Kind.Group = "example.com" }},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			request := createRequest(`{"metadata":{"name":"shop"}}`)
			tc.change(&request)
			response := admission.NewNamespaceHandler(policy.Exclusions{}, nil).Handle(t.Context(), request)
			if !response.Allowed || len(response.Patches) > 0 {
				t.Errorf("allowed %t with patches %v", response.Allowed, response.Patches)
			}
		})
	}
}

func TestNamespaceHandlerUnreadable(t *testing.T) {
	const prefix = "decoding the namespace in the admission request: "
	tests := []struct {
		reason, object, message string
	}{
		{"no object", "", prefix + "unexpected end of JSON input"},
		{"no metadata to patch", `{"kind":"Namespace"}`, prefix + "it has no metadata"},
		{
			"labels of another type", `{"metadata":{"labels":{"a":1}}}`,
			prefix + "json: cannot unmarshal number into Go struct field .metadata.labels of type string",
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			var outcome string
			handler := admission.NewNamespaceHandler(policy.Exclusions{}, func(o string, _ time.Duration) { outcome = o })
			response := handler.Handle(t.Context(), createRequest(tc.object))
			if response.Allowed || response.Result.Code != 400 || outcome != admission.NamespaceUnreadable {
				t.Errorf("allowed %t, code %d, outcome %s", response.Allowed, response.Result.Code, outcome)
			}
			if diff := cmp.Diff(tc.message, response.Result.Message); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}
