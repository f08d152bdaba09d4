package suite

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/e2e/pki"
	"github.com/meshwarden/meshwarden/pkg/certificate"
)

// aged is a serving certificate that nobody has renewed in time, and its CA.
type aged struct {
	ca       *pki.CA
	pair     pki.Pair
	notAfter time.Time
}

func newAged(t *testing.T) aged {
	t.Helper()
	ca, err := pki.NewCA("aged")
	noError(t, "make a CA", err)
	const day = 24 * time.Hour
	a := aged{ca: ca, notAfter: time.Now().Add(10 * day).Truncate(time.Second)}
	a.pair, err = ca.Issue(pki.Identity{
		CommonName: "meshwarden", DNSNames: []string{"meshwarden-webhook.meshwarden.svc"}, NotBefore: a.notAfter.Add(-90 * day), NotAfter: a.notAfter,
	})
	noError(t, "issue a certificate", err)
	return a
}

// store puts the certificate into the Secret, as if it had been there for long.
func (a aged) store(t *testing.T, e *environment) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{}
	// Who keeps the Secret may be writing as well.
	e.eventually(t, "write the Secret", func(ctx context.Context) error {
		if err := e.client.Get(ctx, certificateName("meshwarden-certificate"), secret); err != nil {
			return err
		}
		secret.Data["ca.crt"], secret.Data["tls.crt"], secret.Data["tls.key"] = a.ca.Pair().Certificate, a.pair.Certificate, a.pair.Key
		if secret.Data["ca.key"] != nil {
			secret.Data["ca.key"] = a.ca.Pair().Key
		}
		return e.client.Update(ctx, secret)
	})
	return secret
}

// wantTold waits for the Event and the metric that tell of the certificate's end.
func (a aged) wantTold(t *testing.T, e *environment, remedy string) {
	t.Helper()
	until := "the serving certificate expires at " + a.notAfter.UTC().Format(time.RFC3339)
	if note := e.event(t, certificate.ReasonExpiring, "Service", meshwarden.Namespace, "meshwarden-webhook", until, remedy); !strings.HasPrefix(note, until) {
		t.Errorf("Event %q, want it to begin with %q", note, until)
	}
	e.metric(t, `meshwarden_certificate_expiry_timestamp_seconds{certificate="serving"} `+strconv.FormatFloat(float64(a.notAfter.Unix()), 'g', -1, 64)+"\n")
}

// testExpiringByCertManager: cert-manager does not renew, and Meshwarden is who tells.
func testExpiringByCertManager(t *testing.T, e *environment, manager *certmanager.CertManager, gates []syncGate) {
	noError(t, "pause cert-manager", manager.Pause())
	defer func() { noError(t, "resume cert-manager", manager.Resume()) }()
	a := newAged(t)
	e.trustOnly(t, a.ca.Pair().Certificate)
	secret := a.store(t, e)
	e.letSync(t, gates[0], e.replicas[0], secret)
	a.wantTold(t, e, "with cert-manager, its Certificate says so")
}

// renewalForbidden is an admission policy of somebody else's.
const renewalForbidden = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: secrets}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets]}]
  validations:
  - expression: request.userInfo.username != "system:serviceaccount:meshwarden:meshwarden"
    message: Secrets come from the vault.
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: secrets}
spec: {policyName: secrets, validationActions: [Deny]}
`

// testExpiringByItself: Meshwarden may not write its Secret, says so, and goes on when it may again.
func testExpiringByItself(t *testing.T, e *environment) {
	e.mustApply(t, renewalForbidden)
	as := e.serviceAccount(t, func(*rest.Config) {})
	e.eventually(t, "the policy is in force", func(ctx context.Context) error {
		secret := &corev1.Secret{}
		secret.Namespace, secret.Name = meshwarden.Namespace, "meshwarden-certificate"
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"a":"b"}}}`))
		return refused(as.Patch(ctx, secret, patch, client.DryRunAll), "Secrets come from the vault")
	})
	a := newAged(t)
	a.store(t, e)
	a.wantTold(t, e, "Meshwarden's log says what keeps it from renewing; when that is mended, it goes on by itself")
	// Here, certificates last for selfManagedLifetime: it would not replace one that lasts longer without being asked.
	e.askToRenew(t, certificate.RenewCertificate)
	e.eventually(t, "the log says it", func(context.Context) error {
		if len(e.log.find("Secrets come from the vault")) == 0 {
			return errors.New("it has no such line")
		}
		return nil
	})
	for _, o := range documents(renewalForbidden) {
		noError(t, "take the policy away", e.client.Delete(t.Context(), o))
	}
	e.waitAgreement(t, "the certificate is renewed", func(now certificate.State) error {
		if old, _ := pem.Decode(a.pair.Certificate); bytes.Equal(old.Bytes, now.Serving.Leaf.Raw) {
			return errors.New("it is the same still")
		}
		return nil
	})
}
