package admission_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
)

// post hands the body to the Validator as it is mounted on the webhook server.
func (w *world) post(t *testing.T, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, admission.ValidatePath, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	if len(body) == 0 {
		request.Body = http.NoBody // as a server finds it
	}
	response := httptest.NewRecorder()
	(&webhook.Webhook{Handler: w.Validator}).ServeHTTP(response, request)
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(response.Body).Decode(&review); err != nil || review.Response == nil {
		t.Fatalf("not an answer: %v", err)
	}
	// The server turns a panic into an answer, which must not pass for one.
	if r := review.Response.Result; r != nil && strings.Contains(strings.ToLower(r.Message), "panic") {
		t.Fatalf("panicked: %s", r.Message)
	}
	return review.Response
}

// review returns the body that the API server sends for the request. Its objects are sent byte for byte.
func review(r webhook.Request) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":%q,"namespace":%q,"name":%q,
		"operation":%q,"kind":{"group":%q,"version":%q,"kind":%q},"object":%s,"oldObject":%s}}`, r.UID, r.Namespace, r.Name,
		r.Operation, r.Kind.Group, r.Kind.Version, r.Kind.Kind, orNull(r.Object.Raw), orNull(r.OldObject.Raw))
}

func orNull(raw []byte) string {
	if len(raw) == 0 {
		return "null"
	}
	return string(raw)
}

// TestBadBody covers bodies that no API server sends, and those that are as large as one may send.
func TestBadBody(t *testing.T) {
	padded := func(n int) []byte {
		return review(creation(virtualService("shop/web", []string{"a.example.com"}, "infra/gone").annotated("pad", strings.Repeat("x", n))))
	}
	tests := []struct {
		reason string
		body   []byte
		code   int32
		says   string
	}{
		{"empty", nil, http.StatusBadRequest, "request body is empty"},
		{"white space", []byte(" \n"), http.StatusBadRequest, "holds no AdmissionReview"},
		{"not JSON", []byte("hello"), http.StatusBadRequest, "couldn't get version/kind"},
		{"cut off", review(creation(gateway("infra/public")))[:200], http.StatusBadRequest, "unexpected end of JSON input"},
		{"no AdmissionReview", []byte(`{"apiVersion":"v1","kind":"Pod"}`), http.StatusBadRequest, "holds no AdmissionReview"},
		{"JSON without a kind has no request either", []byte(`{}`), http.StatusBadRequest, "holds no AdmissionReview"},
		{"an AdmissionReview without request", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`), http.StatusBadRequest, "holds no AdmissionReview"},
		{
			"an AdmissionReview whose request is null",
			[]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}`), http.StatusBadRequest, "holds no AdmissionReview",
		},
		{
			"an AdmissionReview whose request is empty",
			[]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}`), http.StatusBadRequest, "holds no AdmissionReview",
		},
		{
			"an AdmissionReview whose request is a number",
			[]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":5}`), http.StatusBadRequest, "cannot unmarshal number",
		},
		{"3 MiB of an object, the most that an API server takes", padded(3 << 20), http.StatusUnprocessableEntity, "MW101"},
		{"3 MiB of nothing", bytes.Repeat([]byte("x"), 3<<20), http.StatusBadRequest, ""},
		{"3 MiB of brackets", bytes.Repeat([]byte("["), 3<<20), http.StatusBadRequest, ""},
		{"8 MiB of an object", padded(8 << 20), http.StatusRequestEntityTooLarge, "too large"},
		{"8 MiB of nothing", bytes.Repeat([]byte("x"), 8<<20), http.StatusRequestEntityTooLarge, "too large"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			r := newWorld(t).post(t, tc.body)
			if r.Allowed || r.Result.Code != tc.code || r.Result.Message == "" || !strings.Contains(r.Result.Message, tc.says) {
				t.Errorf("allowed %t: %.300v", r.Allowed, r.Result)
			}
		})
	}
}

// TestBadObject covers requests whose objects are missing, of another type or not where they belong.
func TestBadObject(t *testing.T) {
	good := virtualService("shop/web", []string{"a.example.com"}, "infra/public")
	noNew, noOld, neither := replacement(good, good), replacement(good, good), replacement(good, good)
	noNew.Object.Raw, noOld.OldObject.Raw = nil, nil
	neither.Object.Raw, neither.OldObject.Raw = nil, nil
	raw := func(object string) webhook.Request {
		r := creation(good)
		r.Object.Raw = []byte(object)
		return r
	}
	tests := []struct {
		reason  string
		request webhook.Request
		code    int32 // 0: allowed
		says    string
	}{
		{"an update without the new object", noNew, 400, "cannot read object of the request: it is missing"},
		{"an update without the old object", noOld, 400, "cannot read oldObject of the request: it is missing"},
		{"an update without any", neither, 400, "cannot read oldObject of the request: it is missing"},
		{"a creation of nothing", raw(""), 400, "cannot read object of the request"},
		{"an array", raw("[]"), 400, "cannot unmarshal array"},
		{"a string", raw(`"Gateway"`), 400, "cannot unmarshal string"},
		{"metadata of another type", raw(`{"metadata":5}`), 400, "cannot unmarshal number"},
		{"annotations of another type", raw(`{"metadata":{"annotations":[1]}}`), 400, "cannot unmarshal array"},
		{"a date that is none", raw(`{"metadata":{"deletionTimestamp":"soon"}}`), 400, "parsing time"},
		{"no fields: a delegate", raw(`{}`), 0, ""},
		{"metadata null", raw(`{"metadata":null,"spec":null}`), 0, ""},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			r := newWorld(t).post(t, review(tc.request))
			if r.Allowed != (tc.code == 0) || r.UID != requestUID {
				t.Fatalf("allowed %t, UID %q: %v", r.Allowed, r.UID, r.Result)
			}
			if !r.Allowed && (r.Result.Code != tc.code || !strings.Contains(r.Result.Message, tc.says)) {
				t.Errorf("code %d, message %q", r.Result.Code, r.Result.Message)
			}
		})
	}
}

// spec is a spec that few write, and what becomes of its creation as a Gateway and as a VirtualService beside a Gateway
// infra/public for *.example.com. An empty string means allowed.
type spec struct {
	reason, json            string
	gateway, virtualService string
}

func oddSpecs() []spec {
	list := func(format string, n int) string {
		items := make([]string, n)
		for i := range items {
			items[i] = fmt.Sprintf(format, i)
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	const (
		bound = `,"gateways":["infra/public"]}`
		on    = `,"http":[{}]` + bound
	)
	return []spec{
		{"absent", ``, "", ""},
		{"null", `null`, "", ""},
		{"empty", `{}`, "", ""},
		{"a number", `5`, "MW000", "MW000"},
		{"a list", `[]`, "MW000", "MW000"},
		{"a string", `"hosts"`, "MW000", "MW000"},
		{"servers null", `{"servers":null}`, "", ""},
		{"servers empty", `{"servers":[]}`, "", ""},
		{"servers of numbers", `{"servers":[1]}`, "MW000", ""},
		{"a server that is null", `{"servers":[null]}`, "", ""},
		{"a server without port and hosts", `{"servers":[{}]}`, "", ""},
		{"a port below zero", `{"servers":[{"port":{"number":-1},"hosts":["a.example.com"]}]}`, "MW000", ""},
		{"a port beyond its type", `{"servers":[{"port":{"number":1e30}}]}`, "MW000", ""},
		{"servers with absurd hosts", `{"servers":[{"port":{"number":80,"protocol":"HTTP"},"hosts":["","*","/","//","*/*","./","ns/*/x"," a b ","a\nb","\u0000"]}]}`, "MW204", ""},
		{"hosts a number", `{"hosts":5}`, "", "MW000"},
		{"hosts of lists", `{"hosts":[[]]}`, "", "MW000"},
		{"hosts null", `{"hosts":null,"gateways":null}`, "", ""},
		{"a host that is null", `{"hosts":[null]` + on, "", "MW102"},
		{"a host that is empty", `{"hosts":[""]` + on, "", "MW102"},
		{"every host", `{"hosts":["*"]` + on, "", ""},
		{"a host with spaces", `{"hosts":[" a.example.com "]` + on, "", "MW102"},
		{"a host with a line break", `{"hosts":["a\nb.other.com\r\n"]` + on, "", "MW102"},
		{"a host that is no text", `{"hosts":["\u0000\ufffd\ud800"]` + on, "", "MW102"},
		{"10,000 hosts that are served", `{"hosts":` + list(`"h%d.example.com"`, 10_000) + on, "", ""},
		{"10,000 hosts that are not", `{"hosts":` + list(`"h%d.other.com"`, 10_000) + on, "", "MW102"},
		{"a host of a megabyte", `{"hosts":["` + strings.Repeat("a", 1<<20) + `.other.com"]` + on, "", "MW102"},
		{"a gateway of three parts", `{"hosts":["a.example.com"],"gateways":["a/b/c"]}`, "", "MW101"},
		{"a gateway that is empty", `{"hosts":["a.example.com"],"gateways":[""]}`, "", "MW101"},
		{"a gateway beside the mesh that is empty", `{"hosts":["a.example.com"],"gateways":["mesh",""]}`, "", "MW101"},
		{"gateways that lead elsewhere in a URL", `{"hosts":["a.example.com"],"gateways":["../x","%2f/..","?a=b","#"]}`, "", "MW101"},
		{"1,000 gateways", `{"hosts":["a.example.com"],"gateways":` + list(`"infra/g%d"`, 1_000) + `}`, "", "MW101"},
		{"a match that is null", `{"hosts":["a.example.com"],"http":[{"match":null}]` + bound, "", ""},
		{"a match of nulls", `{"hosts":["a.example.com"],"http":[null,{"match":[null,{"gateways":null}]}]` + bound, "", ""},
		{"a match that is a number", `{"hosts":["a.example.com"],"http":[{"match":1}]` + bound, "", "MW000"},
		{"deep nesting where nobody looks", `{"hosts":["a.example.com"],"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + on, "", ""},
		{"nesting deeper than JSON's reader goes", `{"x":` + strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000) + `}`, "400", "400"},
		{"a field twice: the last one counts", `{"hosts":["a.other.com"],"hosts":["a.example.com"]` + on, "", ""},
		{"another letter case is another field", `{"Servers":5,"HOSTS":5}`, "", ""},
	}
}

// TestOddSpecs creates, updates and deletes each odd spec as both kinds: always an answer that says what is wrong or none
// that blocks, and a deletion always passes.
func TestOddSpecs(t *testing.T) {
	for _, s := range oddSpecs() {
		for kind, want := range map[string]string{"Gateway": s.gateway, "VirtualService": s.virtualService} {
			t.Run(kind+" "+s.reason, func(t *testing.T) {
				odd := fmt.Sprintf(`{"kind":%q,"metadata":{"name":"odd","namespace":"shop"},"spec":%s}`, kind, s.json)
				if s.json == "" {
					odd = fmt.Sprintf(`{"kind":%q,"metadata":{"name":"odd","namespace":"shop"}}`, kind)
				}
				for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update, admissionv1.Delete} {
					w := newWorld(t)
					w.cache(t, gateway("infra/public", "*.example.com"))
					w.store(t, gateway("infra/public", "*.example.com"))
					checkOdd(t, w, kind, odd, operation, want)
				}
			})
		}
	}
}

// checkOdd sends the object in a request of the operation. A creation must come out as wanted; an update that leaves the
// object as it is and a deletion must pass.
func checkOdd(t *testing.T, w *world, kind, odd string, operation admissionv1.Operation, want string) {
	t.Helper()
	request := creation(newObject(kind, "shop/odd", nil))
	request.Operation = operation
	request.Object.Raw, request.OldObject.Raw = nil, nil
	if operation != admissionv1.Delete {
		request.Object.Raw = []byte(odd)
	}
	if operation != admissionv1.Create {
		request.OldObject.Raw = []byte(odd)
	}
	r := w.post(t, review(request))
	got := ""
	if !r.Allowed {
		got = fmt.Sprint(r.Result.Code)
		if r.Result.Details != nil && len(r.Result.Details.Causes) > 0 {
			got, _, _ = strings.Cut(r.Result.Details.Causes[0].Message, " ")
		}
	}
	if operation != admissionv1.Create && want != "400" {
		want = ""
	}
	if got != want {
		t.Errorf("%s: got %q instead of %q: %.300v", operation, got, want, r.Result)
	}
	if r.Result != nil && strings.ContainsAny(r.Result.Message, "\n\r\x00") {
		t.Errorf("%s: the message breaks the line: %.300q", operation, r.Result.Message)
	}
}
