package suite

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/binary"
	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/e2e/meshwarden"
)

// syncGate decides when its replica gets to see a Secret that has changed.
type syncGate chan struct{}

// wait is a kubelet.BeforeSync.
func (k syncGate) wait(ctx context.Context, _ *corev1.Secret) error {
	select {
	case <-k:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The overlay cert-manager and certs/ as they are, with cert-manager's own controllers and CA injector.
func TestCertManager(t *testing.T) {
	t.Parallel()
	e := startControlPlane(t, nil)
	e.applyCRDs(t)
	manager := e.startCertManager(t)
	webhook, err := binary.Build(t.Context(), binary.WebhookRace, nil)
	noError(t, "build Meshwarden", err)
	e.Installation, err = meshwarden.Install(t.Context(), e.cp, meshwarden.Options{
		Binary: webhook, Dir: t.TempDir(), Log: e.log, Overlay: meshwarden.CertManager,
	})
	noError(t, "install Meshwarden", err)
	t.Cleanup(func() { noError(t, "stop Meshwarden", e.Stop(background(t))) })
	var gates []syncGate
	for range 2 {
		k := make(syncGate)
		r, err := e.Start(t.Context(), meshwarden.ReplicaOptions{BeforeSync: k.wait})
		noError(t, "start a replica", err)
		gates, e.replicas = append(gates, k), append(e.replicas, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, r := range e.replicas {
		noError(t, "wait for a replica", r.WaitReady(ctx))
	}
	e.waitInForce(t)
	e.namespace(t, "pairs")
	t.Run("RotationUnderLoad", func(t *testing.T) { testRotationUnderLoad(t, e, manager, gates) })
	t.Run("ManifestsAppliedAgain", func(t *testing.T) { testManifestsAppliedAgain(t, e) })
	t.Run("OutAndBack", func(t *testing.T) {
		e.outAndBack(t, "pairs", func() {
			_, err := e.shell(t, strings.ReplaceAll(documentedBlock(t, "## In an emergency", 1), "self-managed", "cert-manager"))
			noError(t, "put it back", err)
		})
	})
	t.Run("GatewayCertificates", func(t *testing.T) { testGatewayCertificates(t, e) })
	t.Run("Expiring", func(t *testing.T) { testExpiringByCertManager(t, e, manager, gates) })
}

// startCertManager starts cert-manager, until the end of the test.
func (e *environment) startCertManager(t *testing.T) *certmanager.CertManager {
	t.Helper()
	crds, err := certmanager.CRDs(t.Context())
	noError(t, "find cert-manager's CRDs", err)
	noError(t, "apply cert-manager's CRDs", e.cp.ApplyCRDs(t.Context(), crds))
	program, err := binary.Build(t.Context(), binary.CertManager, nil)
	noError(t, "build cert-manager", err)
	manager, err := certmanager.Start(t.Context(), e.cp.Config(), certmanager.Options{Binary: program, Dir: t.TempDir()})
	noError(t, "start cert-manager", err)
	t.Cleanup(func() { noError(t, "stop cert-manager", manager.Stop(background(t))) })
	return manager
}

// Certificates are renewed while clients write. The API server trusts the new CA at once, the replicas get the new
// certificate late, and one after the other. No write fails, at any stage.
func testRotationUnderLoad(t *testing.T, e *environment, manager *certmanager.CertManager, gates []syncGate) {
	failed, writes := e.failedCalls(t), 0
	stop := e.load(t, 4)
	// write writes often enough for every connection between the API server and the replicas to be in use.
	write := func(t *testing.T) {
		t.Helper()
		for range 20 {
			writes++
			noError(t, "write", e.gatewayThenVirtualService(t.Context(), 100_000+writes))
			e.namespace(t, fmt.Sprintf("rotation-%d", writes))
		}
	}
	for _, round := range []struct {
		reason string
		// renewCA says that the CA is renewed before the certificate.
		renewCA bool
		// replaced says that the API server trusts the new CA alone, as it does by an injector before cert-manager 1.19,
		// which did not keep the CA from before, and after a GitOps tool took the caBundle away.
		replaced bool
	}{
		{reason: "the certificate alone"},
		{reason: "the CA and the certificate", renewCA: true},
		{reason: "both again, and the CA from before is not trusted any more", renewCA: true, replaced: true},
	} {
		t.Run(round.reason, func(t *testing.T) {
			before := e.issued(t, "meshwarden-certificate")
			e.wantServed(t, before, before)
			if round.renewCA {
				e.renew(t, "meshwarden-ca")
			}
			after := e.renewedBy(t, e.issued(t, "meshwarden-ca"))
			e.waitTrusted(t, after.Data["ca.crt"])
			if round.replaced {
				noError(t, "pause cert-manager", manager.Pause())
				e.trustOnly(t, after.Data["ca.crt"])
				defer func() { noError(t, "resume cert-manager", manager.Resume()) }()
			}
			write(t)
			e.wantServed(t, before, before)
			e.letSync(t, gates[0], e.replicas[0], after)
			write(t)
			e.wantServed(t, after, before)
			e.letSync(t, gates[1], e.replicas[1], after)
			write(t)
			e.wantServed(t, after, after)
		})
	}
	t.Logf("%d writes beside %d others", writes, stop())
	if diff := cmp.Diff(failed, e.failedCalls(t)); diff != "" {
		t.Errorf("the API server could not call Meshwarden (-before +after):\n%s", diff)
	}
	for _, line := range e.log.find("DATA RACE") {
		t.Error(line)
	}
}

// failedCalls returns what the API server counts of webhooks that it could not call, those that fail open included.
func (e *environment) failedCalls(t *testing.T) []string {
	t.Helper()
	c, err := kubernetes.NewForConfig(e.cp.Config())
	noError(t, "make a client", err)
	metrics, err := c.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	noError(t, "read the API server's metrics", err)
	var lines []string
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "apiserver_admission_webhook_fail_open_count{") ||
			strings.HasPrefix(line, "apiserver_admission_webhook_rejection_count{") && !strings.Contains(line, `error_type="no_error"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

func certificateName(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: meshwarden.Namespace, Name: name}
}

// issued returns the Secret of a Certificate.
func (e *environment) issued(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	secret, err := certmanager.WaitIssued(t.Context(), e.client, certificateName(name))
	noError(t, "wait for "+name, err)
	return secret
}

// renew has a Certificate issued anew.
func (e *environment) renew(t *testing.T, name string) {
	t.Helper()
	_, err := certmanager.Renew(t.Context(), e.client, certificateName(name))
	noError(t, "renew "+name, err)
}

// renewedBy renews the serving certificate until it is issued by the CA: cert-manager knows a new one a moment later.
func (e *environment) renewedBy(t *testing.T, ca *corev1.Secret) *corev1.Secret {
	t.Helper()
	var renewed *corev1.Secret
	e.eventually(t, "the serving certificate is renewed", func(ctx context.Context) (err error) {
		renewed, err = certmanager.Renew(ctx, e.client, certificateName("meshwarden-certificate"))
		if err == nil && !bytes.Equal(renewed.Data["ca.crt"], ca.Data["tls.crt"]) {
			err = errors.New("it is issued by another CA")
		}
		return err
	})
	return renewed
}

// letSync lets the Secret through until the replica serves the certificate.
func (e *environment) letSync(t *testing.T, k syncGate, r *meshwarden.Replica, want *corev1.Secret) {
	t.Helper()
	e.eventually(t, "the replica serves the new certificate", func(ctx context.Context) error {
		select {
		case k <- struct{}{}:
		default:
		}
		return e.serves(ctx, r, want)
	})
}

// wantServed fails the test unless each replica serves its certificate of the list, and the API server trusts it.
func (e *environment) wantServed(t *testing.T, want ...*corev1.Secret) {
	t.Helper()
	for i, r := range e.replicas {
		if err := e.serves(t.Context(), r, want[i]); err != nil {
			t.Errorf("replica %d: %v", i, err)
		}
	}
}

// serves connects to the replica with every caBundle of the webhooks, and compares the certificate.
func (e *environment) serves(ctx context.Context, r *meshwarden.Replica, want *corev1.Secret) error {
	block, _ := pem.Decode(want.Data["tls.crt"])
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	bundles, err := e.caBundles(ctx)
	for webhook, bundle := range bundles {
		served, err := r.Handshake(ctx, bundle)
		if err != nil {
			return fmt.Errorf("with the caBundle of %s: %w", webhook, err)
		}
		if served.SerialNumber.Cmp(certificate.SerialNumber) != 0 {
			return fmt.Errorf("it serves certificate %x, want %x", served.SerialNumber, certificate.SerialNumber)
		}
	}
	return err
}

// configurations returns the webhook configurations.
func (e *environment) configurations(ctx context.Context) ([]*unstructured.Unstructured, error) {
	var configurations []*unstructured.Unstructured
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("admissionregistration.k8s.io/v1")
		o.SetKind(kind)
		if err := e.client.Get(ctx, client.ObjectKey{Name: "meshwarden"}, o); err != nil {
			return nil, err
		}
		configurations = append(configurations, o)
	}
	return configurations, nil
}

// caBundles returns the caBundle of each webhook by its name. It fails when one has none.
func (e *environment) caBundles(ctx context.Context) (map[string][]byte, error) {
	configurations, err := e.configurations(ctx)
	if err != nil {
		return nil, err
	}
	bundles := map[string][]byte{}
	for _, o := range configurations {
		for _, w := range o.Object["webhooks"].([]any) {
			webhook := w.(map[string]any)
			name := webhook["name"].(string)
			text, found, err := unstructured.NestedString(webhook, "clientConfig", "caBundle")
			if err != nil || !found {
				return nil, errors.Join(fmt.Errorf("webhook %s has no caBundle", name), err)
			}
			if bundles[name], err = base64.StdEncoding.DecodeString(text); err != nil {
				return nil, fmt.Errorf("caBundle of webhook %s: %w", name, err)
			}
		}
	}
	return bundles, nil
}

// waitTrusted waits until the caBundle of every webhook holds the CA.
func (e *environment) waitTrusted(t *testing.T, ca []byte) {
	t.Helper()
	e.eventually(t, "the CA is injected", func(ctx context.Context) error {
		bundles, err := e.caBundles(ctx)
		for name, bundle := range bundles {
			if !bytes.Contains(bundle, bytes.TrimSpace(ca)) {
				return fmt.Errorf("webhook %s does not trust it", name)
			}
		}
		return err
	})
}

// trustOnly makes the CA the whole caBundle of every webhook.
func (e *environment) trustOnly(t *testing.T, ca []byte) {
	t.Helper()
	configurations, err := e.configurations(t.Context())
	noError(t, "get the webhook configurations", err)
	for _, o := range configurations {
		e.update(t, o, "test", func(o *unstructured.Unstructured) {
			for _, w := range o.Object["webhooks"].([]any) {
				w.(map[string]any)["clientConfig"].(map[string]any)["caBundle"] = base64.StdEncoding.EncodeToString(ca)
			}
		})
	}
	bundles, err := e.caBundles(t.Context())
	noError(t, "read the caBundles", err)
	for name, bundle := range bundles {
		if !bytes.Equal(bundle, ca) {
			t.Errorf("webhook %s trusts more than the CA", name)
		}
	}
}

// replaceConfigurations replaces the webhook configurations by those of the manifests, which have no caBundle.
func (e *environment) replaceConfigurations(t *testing.T) {
	t.Helper()
	configurations, err := e.configurations(t.Context())
	noError(t, "get the webhook configurations", err)
	for _, stored := range configurations {
		for _, o := range e.Objects() {
			if o.GetKind() != stored.GetKind() {
				continue
			}
			e.update(t, stored, "replacement", func(now *unstructured.Unstructured) {
				version := now.GetResourceVersion()
				now.Object = o.DeepCopy().Object
				now.SetResourceVersion(version)
				if w := now.Object["webhooks"].([]any)[0].(map[string]any)["clientConfig"].(map[string]any); w["caBundle"] != nil {
					t.Error("the manifests have a caBundle, so this shows nothing")
				}
			})
		}
	}
}

// What GitOps tools do with the manifests, which have no caBundle.
func testManifestsAppliedAgain(t *testing.T, e *environment) {
	ca := e.issued(t, "meshwarden-certificate").Data["ca.crt"]
	trusted, err := e.caBundles(t.Context())
	noError(t, "read the caBundles", err)

	noError(t, "apply the manifests again", meshwarden.Apply(t.Context(), e.client, e.Objects()))
	again, err := e.caBundles(t.Context())
	noError(t, "an apply leaves the caBundles alone, which are the injector's", err)
	for name, bundle := range again {
		if !bytes.Equal(bundle, trusted[name]) {
			t.Errorf("an apply changed the caBundle of %s", name)
		}
	}

	e.replaceConfigurations(t)
	e.waitTrusted(t, ca)
	e.eventually(t, "writes are judged again", func(ctx context.Context) error {
		return e.apply(ctx, gateway("pairs", "after-replacement", "after-replacement.example.com"))
	})
}
