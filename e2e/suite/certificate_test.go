package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/meshwarden"
	"github.com/meshwarden/meshwarden/pkg/certificate"
)

// selfManagedLifetime is how long certificates last in TestSelfManaged: short enough to see one renewed, long enough for a
// thirtieth of it to be more than the API server and the replicas are ever behind, on a machine that others use as well.
const selfManagedLifetime = 90 * time.Second

// The overlay self-managed: Meshwarden makes its CA and its certificate and replaces both, under load, with two replicas
// that agree through a Secret. No write fails because of it.
func TestSelfManaged(t *testing.T) {
	t.Parallel()
	e := start(t, setup{replicas: 2, args: []string{
		"--certificate-lifetime=" + selfManagedLifetime.String(), "--ca-lifetime=" + (10 * selfManagedLifetime).String(),
	}})
	e.namespace(t, "pairs")
	e.wantAgreement(t)
	t.Run("RotationUnderLoad", func(t *testing.T) {
		failed := e.failedCalls(t)
		stop := e.load(t, 4)
		t.Run("asked for a certificate", func(t *testing.T) { testRenewedCertificate(t, e) })
		t.Run("asked for a CA", func(t *testing.T) { testRenewedAuthority(t, e) })
		t.Run("the Secret is deleted", func(t *testing.T) { testSecretDeleted(t, e) })
		t.Run("the Secret is damaged", func(t *testing.T) { testSecretDamaged(t, e) })
		t.Run("its time has come", func(t *testing.T) { testRenewedInTime(t, e) })
		t.Logf("%d writes", stop())
		if diff := cmp.Diff(failed, e.failedCalls(t)); diff != "" {
			t.Errorf("the API server could not call Meshwarden (-before +after):\n%s", diff)
		}
	})
	t.Run("Stripped", func(t *testing.T) { testStripped(t, e) })
	t.Run("NewReplicas", func(t *testing.T) { testNewReplicas(t, e) })
	t.Run("Expiring", func(t *testing.T) { testExpiringByItself(t, e) })
	for _, line := range e.log.find("DATA RACE") {
		t.Error(line)
	}
}

// certificateSecret returns the Secret that the replicas agree through.
func (e *environment) certificateSecret(ctx context.Context) (*corev1.Secret, certificate.State, error) {
	secret := &corev1.Secret{}
	if err := e.client.Get(ctx, certificateName("meshwarden-certificate"), secret); err != nil {
		return nil, certificate.State{}, err
	}
	state, err := certificate.Parse(secret.Data, secret.Annotations)
	return secret, state, err
}

// agreement returns what the Secret holds, or an error unless every caBundle is that of the Secret and every replica
// serves its certificate.
func (e *environment) agreement(ctx context.Context) (certificate.State, error) {
	secret, state, err := e.certificateSecret(ctx)
	if err != nil {
		return state, err
	}
	bundles, err := e.caBundles(ctx)
	if err != nil {
		return state, err
	}
	for name, bundle := range bundles {
		if !bytes.Equal(bundle, state.Bundle()) {
			return state, fmt.Errorf("the caBundle of %s is not that of the Secret", name)
		}
	}
	for i, r := range e.replicas {
		if err := e.serves(ctx, r, secret); err != nil {
			return state, fmt.Errorf("replica %d: %w", i, err)
		}
	}
	return state, nil
}

// wantAgreement fails the test unless there is agreement now: whoever is ready has agreed.
func (e *environment) wantAgreement(t *testing.T) {
	t.Helper()
	_, err := e.agreement(t.Context())
	noError(t, "the replicas agree", err)
}

// renewNow has the certificate renewed, so that for a while nobody renews it by the clock, when for a moment there is no agreement.
func (e *environment) renewNow(t *testing.T) {
	t.Helper()
	before := e.certificateState(t)
	e.askToRenew(t, certificate.RenewCertificate)
	e.waitAgreement(t, "another certificate", another(before, false))
}

// waitAgreement waits for an agreement on a state that the condition accepts.
func (e *environment) waitAgreement(t *testing.T, what string, condition func(certificate.State) error) certificate.State {
	t.Helper()
	var state certificate.State
	e.eventually(t, what, func(ctx context.Context) (err error) {
		if state, err = e.agreement(ctx); err != nil {
			return err
		}
		return condition(state)
	})
	return state
}

// askToRenew does what `kubectl annotate` does.
func (e *environment) askToRenew(t *testing.T, what certificate.Renewal) {
	t.Helper()
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = meshwarden.Namespace, "meshwarden-certificate"
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, certificate.RenewAnnotation, what)
	noError(t, "annotate the Secret", e.client.Patch(t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner("kubectl-annotate")))
}

// another returns a condition: the serving certificate is another one than in the state, and its CA the same.
func another(than certificate.State, authority bool) func(certificate.State) error {
	return func(now certificate.State) error {
		switch {
		case now.Serving.Leaf.Equal(than.Serving.Leaf):
			return errors.New("it is the same certificate still")
		case len(now.Authorities) != 1:
			return fmt.Errorf("%d CAs are trusted", len(now.Authorities))
		case now.Authorities[0].Certificate.Equal(than.Authorities[0].Certificate) == authority:
			return fmt.Errorf("the CA has changed: %v", !authority)
		}
		return nil
	}
}

func (e *environment) certificateState(t *testing.T) certificate.State {
	t.Helper()
	_, state, err := e.certificateSecret(t.Context())
	noError(t, "read the Secret", err)
	return state
}

func testRenewedCertificate(t *testing.T, e *environment) {
	e.renewNow(t)
	secret, _, err := e.certificateSecret(t.Context())
	noError(t, "read the Secret", err)
	if _, asked := secret.Annotations[certificate.RenewAnnotation]; asked {
		t.Error("the annotation is still there")
	}
	e.event(t, "CertificateRenewed", "Service", meshwarden.Namespace, "meshwarden-webhook", "expires at")
}

func testRenewedAuthority(t *testing.T, e *environment) {
	before := e.certificateState(t)
	e.askToRenew(t, certificate.RenewAuthority)
	e.waitAgreement(t, "another certificate of another CA", another(before, true))
}

// A replica that remembers the Secret restores it, so that nothing is renewed at all.
func testSecretDeleted(t *testing.T, e *environment) {
	secret, before, err := e.certificateSecret(t.Context())
	noError(t, "read the Secret", err)
	noError(t, "delete the Secret", e.client.Delete(t.Context(), secret))
	e.waitRestored(t, before)
}

func testSecretDamaged(t *testing.T, e *environment) {
	secret, before, err := e.certificateSecret(t.Context())
	noError(t, "read the Secret", err)
	damage := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"ca.crt":"bm9uc2Vuc2U=","tls.key":"bm9uc2Vuc2U="}}`))
	noError(t, "damage the Secret", e.client.Patch(t.Context(), secret, damage))
	e.waitRestored(t, before)
}

func (e *environment) waitRestored(t *testing.T, before certificate.State) {
	t.Helper()
	e.waitAgreement(t, "the Secret is restored", func(now certificate.State) error {
		if !now.Authorities[0].Certificate.Equal(before.Authorities[0].Certificate) {
			return errors.New("with another CA")
		}
		return nil
	})
	e.event(t, "CertificateRestored", "Service", meshwarden.Namespace, "meshwarden-webhook")
}

// Nobody asks, and a third of the certificate's life is left.
func testRenewedInTime(t *testing.T, e *environment) {
	before := e.certificateState(t)
	after := e.waitAgreement(t, "another certificate", another(before, false))
	if !after.Serving.Leaf.NotBefore.Before(before.Serving.Leaf.NotAfter) {
		t.Error("renewed too late")
	}
	for _, name := range []string{"serving", "ca"} {
		for i, r := range e.replicas {
			text, err := r.Metrics(t.Context())
			noError(t, "read metrics", err)
			if !strings.Contains(text, fmt.Sprintf("meshwarden_certificate_expiry_timestamp_seconds{certificate=%q} ", name)) {
				t.Errorf("replica %d does not tell the expiry of %s", i, name)
			}
		}
	}
}

// What GitOps tools do with the manifests, which have no caBundle: an apply leaves it alone, and a replacement takes it
// away, but not for long.
func testStripped(t *testing.T, e *environment) {
	e.renewNow(t)
	noError(t, "apply the manifests again", meshwarden.Apply(t.Context(), e.client, e.Objects()))
	e.wantAgreement(t)
	e.replaceConfigurations(t)
	e.waitAgreement(t, "the caBundles are put back", func(certificate.State) error { return nil })
	e.waitInForce(t)
}

// Replicas that start later take what is there.
func testNewReplicas(t *testing.T, e *environment) {
	e.renewNow(t)
	before := e.certificateState(t)
	replicas, err := e.Rollout(t.Context(), meshwarden.ReplicaOptions{})
	noError(t, "roll out", err)
	e.replicas = replicas
	e.wantAgreement(t)
	if after := e.certificateState(t); !after.Authorities[0].Certificate.Equal(before.Authorities[0].Certificate) {
		t.Error("they made a CA of their own")
	}
}
