package istio_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestTranslateCertificate(t *testing.T) {
	at := func(year int) *metav1.Time { return &metav1.Time{Time: newYear(year)} }
	condition := func(kind certmanagerv1.CertificateConditionType, status cmmeta.ConditionStatus, reason, message string) certmanagerv1.CertificateCondition {
		return certmanagerv1.CertificateCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: at(2026)}
	}
	ready := condition(certmanagerv1.CertificateConditionReady, cmmeta.ConditionTrue, "Ready", "up to date")
	notReady := condition(certmanagerv1.CertificateConditionReady, cmmeta.ConditionFalse, "DoesNotExist", "no Secret")
	issuing := condition(certmanagerv1.CertificateConditionIssuing, cmmeta.ConditionTrue, "DoesNotExist", "issuing")
	failed := condition(certmanagerv1.CertificateConditionIssuing, cmmeta.ConditionFalse, "Failed", "the order failed")
	issued := condition(certmanagerv1.CertificateConditionIssuing, cmmeta.ConditionFalse, "Issued", "issued")
	attempts := 2
	copies := &certmanagerv1.CertificateSecretTemplate{Annotations: map[string]string{"replicator.v1.mittwald.de/replicate-to": "edge"}}
	tests := []struct {
		reason string
		spec   certmanagerv1.CertificateSpec
		status certmanagerv1.CertificateStatus
		want   policy.Certificate
	}{
		{"nothing but a Secret", certmanagerv1.CertificateSpec{SecretName: "tls"}, certmanagerv1.CertificateStatus{}, policy.Certificate{SecretName: "tls"}},
		{
			"the common name is one of the names",
			certmanagerv1.CertificateSpec{CommonName: "c", DNSNames: []string{"a", "b"}},
			certmanagerv1.CertificateStatus{},
			policy.Certificate{Names: []string{"a", "b", "c"}},
		},
		{
			"once",
			certmanagerv1.CertificateSpec{CommonName: "a", DNSNames: []string{"a"}},
			certmanagerv1.CertificateStatus{},
			policy.Certificate{Names: []string{"a"}},
		},
		{"a subject", certmanagerv1.CertificateSpec{LiteralSubject: "CN=a"}, certmanagerv1.CertificateStatus{}, policy.Certificate{NamesUnknown: true}},
		{
			"a subject beside names",
			certmanagerv1.CertificateSpec{LiteralSubject: "CN=a", DNSNames: []string{"b"}},
			certmanagerv1.CertificateStatus{},
			policy.Certificate{Names: []string{"b"}},
		},
		{"a Secret that is copied", certmanagerv1.CertificateSpec{SecretTemplate: copies}, certmanagerv1.CertificateStatus{}, policy.Certificate{Copied: true}},
		{
			"a Secret with a label",
			certmanagerv1.CertificateSpec{SecretTemplate: &certmanagerv1.CertificateSecretTemplate{Labels: map[string]string{"a": "b"}}},
			certmanagerv1.CertificateStatus{},
			policy.Certificate{},
		},
		{
			"ready",
			certmanagerv1.CertificateSpec{},
			certmanagerv1.CertificateStatus{
				Conditions: []certmanagerv1.CertificateCondition{ready}, NotBefore: at(2025), NotAfter: at(2027), RenewalTime: at(2026),
			},
			policy.Certificate{Ready: true, Since: newYear(2026), Message: "up to date", NotBefore: newYear(2025), NotAfter: newYear(2027), Renewal: newYear(2026)},
		},
		{
			"being issued",
			certmanagerv1.CertificateSpec{},
			certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{notReady, issuing}},
			policy.Certificate{Since: newYear(2026), Message: "no Secret"},
		},
		{
			"a failure that is waited out",
			certmanagerv1.CertificateSpec{},
			certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{notReady, failed}, LastFailureTime: at(2026)},
			policy.Certificate{Since: newYear(2026), Failed: true, Message: "the order failed"},
		},
		{
			"in another order",
			certmanagerv1.CertificateSpec{},
			certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{failed, notReady}},
			policy.Certificate{Since: newYear(2026), Failed: true, Message: "the order failed"},
		},
		{
			"tried again after a failure",
			certmanagerv1.CertificateSpec{},
			certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{notReady, issuing}, FailedIssuanceAttempts: &attempts},
			policy.Certificate{Since: newYear(2026), Failed: true, Message: "no Secret"},
		},
		{
			"a success that is kept",
			certmanagerv1.CertificateSpec{},
			certmanagerv1.CertificateStatus{Conditions: []certmanagerv1.CertificateCondition{ready, issued}},
			policy.Certificate{Ready: true, Since: newYear(2026), Message: "up to date"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			text, err := json.Marshal(certmanagerv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web"}, Spec: tc.spec, Status: tc.status})
			if err != nil {
				t.Fatal(err)
			}
			o, _ := istio.NewObject(policy.KindCertificate)
			if err := utiljson.Unmarshal(text, o); err != nil {
				t.Fatal(err)
			}
			got, err := istio.Translator{}.Translate(o)
			tc.want.Key = policy.Key{Namespace: "edge", Name: "web"}
			if diff := cmp.Diff(policy.Resource(&tc.want), got); err != nil || diff != "" {
				t.Errorf("error %v, Certificate (-want +got):\n%s", err, diff)
			}
			if c, ok := got.(*policy.Certificate); ok && !c.Since.IsZero() && c.Since.Location() != time.UTC {
				t.Errorf("times are in %s, and two that are equal may not look so", c.Since.Location())
			}
		})
	}
}

// TestUnparsableCertificate: the error names the field, and one such object does not keep a list from being read.
func TestUnparsableCertificate(t *testing.T) {
	list, _ := istio.NewList(policy.KindCertificate)
	text := `{"items":[{"spec":{"dnsNames":"a"}},{"spec":{"secretName":"tls"},"status":{"notAfter":"soon"}},{"spec":{"secretName":"tls"}}]}`
	if err := utiljson.Unmarshal([]byte(text), list); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"spec.dnsNames: must be a list, not a string", "status: ", ""} {
		_, err := istio.Translator{}.Translate(&list.(*istio.CertificateList).Items[i])
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("item %d: %v, want %q", i, err, want)
		}
	}
}
