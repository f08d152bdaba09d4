package admission_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/client-go/tools/events"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
)

// FuzzHandle answers any request without a panic, with the request's UID, and with a status that a client can read.
func FuzzHandle(f *testing.F) {
	good := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	broken := virtualService("shop/web", []string{"a.other.com", "short"}, "infra/public", "../gone", "a.b.c").matching("mesh", "x")
	seeds := []webhook.Request{
		creation(good), creation(broken), dryRun(creation(broken)), replacement(good, broken), replacement(broken, good),
		replacement(gateway("infra/public", "*.example.com"), gateway("infra/public", "ns/*.other.com", "*/*", "./a")),
		deletion(gateway("infra/public", "*.example.com")), creation(broken.annotated(admission.AllowAnnotation, "MW101, MW102")),
		creation(good.with("deletionTimestamp", "2026-01-01T00:00:00Z")),
		{},
	}
	for _, s := range seeds {
		request, err := json.Marshal(s.AdmissionRequest)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(request)
	}
	for _, s := range oddSpecs() {
		if len(s.json) < 200 && s.json != "" {
			odd := creation(gateway("shop/odd"))
			odd.Object.Raw = []byte(`{"metadata":{"name":"odd"},"spec":` + s.json + `}`)
			f.Add(append([]byte(nil), requestJSON(odd)...))
		}
	}
	w := newWorld(f, func(o *admission.Options) {
		o.Overridable = []string{"MW101"}
		// Millions of answers are given here; nobody reads what is recorded of them.
		o.Recorder, o.Log = &events.FakeRecorder{}, funcr.NewJSON(func(string) {}, funcr.Options{Verbosity: 1})
	})
	w.cache(f, gateway("infra/public", "*.example.com"), good, virtualService("shop/stale", []string{"a.example.com"}, "infra/public"))
	w.store(f, gateway("infra/public", "*.example.com"), good)
	// Unlike the server's, this one does not turn a panic into an answer.
	hook := (&webhook.Webhook{Handler: w.Validator}).WithRecoverPanic(false)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var request admissionv1.AdmissionRequest
		if json.Unmarshal(raw, &request) != nil {
			return
		}
		checkAnswer(t, request, hook.Handle(t.Context(), webhook.Request{AdmissionRequest: request}))
	})
}

// requestJSON is the request alone as JSON, its objects byte for byte.
func requestJSON(r webhook.Request) []byte {
	_, rest, _ := strings.Cut(string(review(r)), `"request":`)
	return []byte(strings.TrimSuffix(rest, "}"))
}

func checkAnswer(t *testing.T, request admissionv1.AdmissionRequest, r webhook.Response) {
	t.Helper()
	if r.UID != request.UID {
		t.Errorf("UID %q instead of %q", r.UID, request.UID)
	}
	if !r.Allowed && (r.Result == nil || r.Result.Code < 400 || r.Result.Message == "") {
		t.Errorf("refused without a reason: %v", r.Result)
	}
	if r.Result != nil && r.Result.Details != nil && len(r.Result.Details.Causes) > 21 {
		t.Errorf("%d causes", len(r.Result.Details.Causes))
	}
	if request.Kind.Group == "networking.istio.io" && len(strings.Join(r.Warnings, "")) > 4096 {
		t.Errorf("%d bytes of warnings", len(strings.Join(r.Warnings, "")))
	}
	if len(r.Patches)+len(r.Patch) > 0 {
		t.Error("a validating webhook changes nothing")
	}
}
