package admission

import (
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

const (
	// causesAtMost is how many findings a denial lists.
	causesAtMost = 20
	// warningsAtMost is how long all warnings of an answer may be together: beyond it the API server cuts each to 256.
	warningsAtMost = 4096
)

// denied refuses the object with a status as the API server's own validation would give it. kubectl prints the causes
// only, so each holds everything there is to say; other clients print the message only.
func denied(ref policy.Ref, findings []policy.Finding) admission.Response {
	var causes []metav1.StatusCause
	var texts []string
	more := 0
	for _, f := range findings {
		switch {
		case f.Action != policy.Deny:
		case len(causes) == causesAtMost:
			more++
		default:
			text := f.Text()
			causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: f.Path, Message: text})
			texts = append(texts, f.Path+": "+text)
		}
	}
	if more > 0 {
		text := fmt.Sprintf("and %d more", more)
		causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeFieldValueInvalid, Field: "spec", Message: text})
		texts = append(texts, text)
	}
	response := refused(&metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusUnprocessableEntity,
		Reason:  metav1.StatusReasonInvalid,
		Message: fmt.Sprintf("%s is invalid: %s", ref, strings.Join(texts, "; ")),
		Details: &metav1.StatusDetails{Group: istio.GroupVersion().Group, Kind: string(ref.Kind), Name: ref.Name, Causes: causes},
	})
	return response.WithWarnings(warnings(findings)...)
}

// unavailable refuses a request that could not be judged. Clients may try again.
func unavailable(err error) admission.Response {
	return refused(&metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusServiceUnavailable,
		Reason:  metav1.StatusReasonServiceUnavailable,
		Message: policy.Printable(err.Error()),
	})
}

func refused(status *metav1.Status) admission.Response {
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: status}}
}

// warnings returns the texts of the findings that warn, as many as the API server passes on unharmed.
func warnings(findings []policy.Finding) []string {
	var texts []string
	length, more := 0, 0
	const reserve = len("meshwarden: and 1234567890 more")
	for _, f := range findings {
		if f.Action != policy.Warn {
			continue
		}
		text := f.Path + ": " + f.Text()
		if more > 0 || length+len(text) > warningsAtMost-reserve {
			more++
			continue
		}
		length += len(text)
		texts = append(texts, text)
	}
	if more > 0 {
		texts = append(texts, fmt.Sprintf("meshwarden: and %d more", more))
	}
	return texts
}
