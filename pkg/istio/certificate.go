package istio

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// issued is the reason of the condition Issuing where cert-manager keeps that after a success, for it cannot take it away: its
// feature ServerSideApply.
const issued = "Issued"

// Certificate is a Certificate of cert-manager as the API server sends it.
type Certificate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   json.RawMessage `json:"spec,omitempty"`
	Status json.RawMessage `json:"status,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (c *Certificate) DeepCopyObject() runtime.Object {
	return &Certificate{TypeMeta: c.TypeMeta, ObjectMeta: *c.DeepCopy(), Spec: slices.Clone(c.Spec), Status: slices.Clone(c.Status)}
}

// Certificate translates a Certificate. It is read by cert-manager's own types: Certificates are few, and no request waits
// for them. The error names the field that cannot be read.
func (t Translator) Certificate(c *Certificate) (*policy.Certificate, error) {
	var spec certmanagerv1.CertificateSpec
	var status certmanagerv1.CertificateStatus
	if err := decodeField("spec", c.Spec, &spec); err != nil {
		return nil, err
	}
	if err := decodeField("status", c.Status, &status); err != nil {
		return nil, err
	}
	out := &policy.Certificate{
		Key: keyOf(&c.ObjectMeta), SecretName: spec.SecretName, Names: spec.DNSNames,
		NamesUnknown: len(spec.DNSNames) == 0 && spec.LiteralSubject != "",
		Failed:       status.LastFailureTime != nil || status.FailedIssuanceAttempts != nil && *status.FailedIssuanceAttempts > 0,
		NotBefore:    moment(status.NotBefore), NotAfter: moment(status.NotAfter), Renewal: moment(status.RenewalTime),
		Copied: copied(spec.SecretTemplate),
	}
	if spec.CommonName != "" && !slices.Contains(out.Names, spec.CommonName) {
		// ACME's issuers make it one of the DNS names.
		out.Names = append(out.Names, spec.CommonName)
	}
	for _, condition := range status.Conditions {
		readCondition(out, condition)
	}
	return out, nil
}

// readCondition takes in a condition of a Certificate. What went wrong with an issuance is in Issuing as long as that is False;
// when it is tried again, Ready still says why it is needed.
func readCondition(out *policy.Certificate, c certmanagerv1.CertificateCondition) {
	switch {
	case c.Type == certmanagerv1.CertificateConditionReady:
		out.Ready, out.Since = c.Status == cmmeta.ConditionTrue, moment(c.LastTransitionTime)
		if out.Message == "" {
			out.Message = c.Message
		}
	case c.Type == certmanagerv1.CertificateConditionIssuing && c.Status == cmmeta.ConditionFalse && c.Reason != issued:
		out.Failed = true
		if c.Message != "" {
			out.Message = c.Message
		}
	}
}

func decodeField(name string, raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := utiljson.Unmarshal(raw, into); err != nil {
		return inWords(name, err)
	}
	return nil
}

func moment(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// copied says whether the Secret gets an annotation that has a tool copy it to other namespaces: those that cert-manager's own
// documentation names.
func copied(template *certmanagerv1.CertificateSecretTemplate) bool {
	if template == nil {
		return false
	}
	for annotation := range template.Annotations {
		for _, tool := range []string{"reflector.v1.k8s.emberstack.com/", "replicator.v1.mittwald.de/", "kubed.appscode.com/"} {
			if strings.HasPrefix(annotation, tool) {
				return true
			}
		}
	}
	return false
}
