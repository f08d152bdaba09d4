package admission_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	webhook "sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/meshwarden/meshwarden/pkg/admission"
)

// BenchmarkAnswer is one request about a VirtualService, from the body as it arrives to the body of the answer, with 10,000
// others in the model. Beside the mean it reports the median and the 99th percentile.
func BenchmarkAnswer(b *testing.B) {
	w := newWorld(b, func(o *admission.Options) { o.Clock = realClock{} })
	for i := range 10_000 {
		name := fmt.Sprintf("shop/v%d", i)
		w.cache(b, virtualService(name, []string{fmt.Sprintf("v%d.example.com", i)}, fmt.Sprintf("edge/g%d", i%100)))
	}
	for i := range 100 {
		w.cache(b, gateway(fmt.Sprintf("edge/g%d", i), "*.example.com"))
	}
	request := creation(virtualService("shop/web", []string{"web.example.com"}, "edge/g7"))
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &request.AdmissionRequest,
	})
	if err != nil {
		b.Fatal(err)
	}
	handler := &webhook.Webhook{Handler: w.Validator}
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		r := httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		took = append(took, time.Since(start))
		if !bytes.Contains(answer.Body.Bytes(), []byte(`"allowed":true`)) {
			b.Fatalf("not allowed: %s", answer.Body)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

type realClock struct{}

func (realClock) Now() time.Time                      { return time.Now() }
func (realClock) Since(start time.Time) time.Duration { return time.Since(start) }
