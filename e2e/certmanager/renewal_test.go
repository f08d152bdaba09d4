package certmanager_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
)

// While a certificate is renewed, the API server and the replicas know of it at different times: the CA injector acts at
// once, a kubelet brings a Secret to its pod when it comes around to it. With the CA's key kept, which of the CAs is
// trusted and which certificate is served never matters, not even with an injector that replaces the CA instead of
// adding the new one, as it did before cert-manager 1.19.
func TestRenewal(t *testing.T) {
	tests := []struct {
		reason, namespace, rotationPolicy string
		// wantTrusted says whether the CA from before its renewal and the one from after it verify the certificates of
		// each other's time.
		wantTrusted bool
	}{
		{"certs/ as it is", "meshwarden", "Never", true},
		{"with a new key for each CA, replicas would be cut off until their kubelet comes around", "new-keys", "Always", false},
	}
	c := start(t)
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: test.namespace}}
			noError(t, "create the namespace", c.Create(t.Context(), namespace))
			manifests := strings.NewReplacer(
				"namespace: meshwarden", "namespace: "+test.namespace, "rotationPolicy: Never", "rotationPolicy: "+test.rotationPolicy,
			)
			apply(t, c, manifests.Replace(read(t, "issuer.yaml")))
			apply(t, c, manifests.Replace(read(t, "certificate.yaml")))
			ca := client.ObjectKey{Namespace: test.namespace, Name: "meshwarden-ca"}
			serving := client.ObjectKey{Namespace: test.namespace, Name: "meshwarden-certificate"}

			before, err := certmanager.WaitIssued(t.Context(), c, serving)
			noError(t, "wait for the certificate", err)
			newCA, err := certmanager.Renew(t.Context(), c, ca)
			noError(t, "renew the CA", err)
			var after *corev1.Secret
			eventually(t, "the certificate is issued by the new CA, which the Issuer knows a moment later", func(ctx context.Context) error {
				if after, err = certmanager.Renew(ctx, c, serving); err == nil && !bytes.Equal(after.Data["ca.crt"], newCA.Data["tls.crt"]) {
					err = errors.New("it is issued by the CA from before")
				}
				return err
			})

			for _, pair := range []struct {
				reason          string
				ca, certificate *corev1.Secret
				want            bool
			}{
				{"before", before, before, true},
				{"the CA is injected, the replica serves the old certificate", after, before, test.wantTrusted},
				{"the replica serves the new certificate, the CA is not injected", before, after, test.wantTrusted},
				{"after", after, after, true},
			} {
				err := verify(pair.ca.Data["ca.crt"], pair.certificate, "meshwarden-webhook.meshwarden.svc")
				if (err == nil) != pair.want {
					t.Errorf("%s: verified %v (%v), want %v", pair.reason, err == nil, err, pair.want)
				}
			}
		})
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "certs", name))
	noError(t, "read the manifests", err)
	return string(content)
}

// verify returns why a client that trusts the CA would not talk to a server of the host with the Secret's certificate.
func verify(ca []byte, certificate *corev1.Secret, host string) error {
	pair, err := tls.X509KeyPair(certificate.Data["tls.crt"], certificate.Data["tls.key"])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
	return err
}
