package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"istio.io/istio/pilot/pkg/credentials/kube"
	"istio.io/istio/pilot/pkg/model/credentials"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// issued is a certificate in PEM with its key. It is valid to the end, which tells it from others.
type issued struct {
	certificate, key []byte
	end              time.Time
}

func issue(t *testing.T, year int) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(t, err)
	end := time.Date(year, time.January, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end, DNSNames: []string{"a.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	fail(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	fail(t, err)
	return issued{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		end:         end,
	}
}

func fail(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSecretsAsIstioReadsThem: of every mixture of values, none, an empty one, or those of one of two certificates, the same
// certificate and the same CA count as for Istio, or none.
func TestSecretsAsIstioReadsThem(t *testing.T) {
	keys := []string{"cert", "key", "tls.crt", "tls.key", "cacert", "ca.crt"}
	certificates := []issued{issue(t, 2040), issue(t, 2050)}
	choices := 2 + len(certificates)
	mixtures := 1
	for range keys {
		mixtures *= choices
	}
	for n := range mixtures {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web"}, Data: map[string][]byte{}}
		for i, rest := 0, n; i < len(keys); i, rest = i+1, rest/choices {
			switch choice := rest % choices; {
			case choice == 1:
				s.Data[keys[i]] = []byte{}
			case choice > 1 && strings.HasSuffix(keys[i], "key"):
				s.Data[keys[i]] = certificates[choice-2].key
			case choice > 1:
				s.Data[keys[i]] = certificates[choice-2].certificate
			}
		}
		compareSecret(t, s, certificates)
	}
}

// compareSecret holds what is read of a Secret to what Istio takes from it.
func compareSecret(t *testing.T, s *corev1.Secret, certificates []issued) {
	t.Helper()
	got := translated(t, s)
	pair, err := kube.ExtractCertInfo(s)
	if (err != nil) != (got.Pair.Fault != "" && !strings.HasSuffix(got.Pair.Fault, "does not match public key")) {
		t.Fatalf("%q: the certificate is %+v, and for Istio: %v", s.Data, got.Pair, err)
	}
	root, rootErr := kube.ExtractRoot(s.Data)
	if (rootErr != nil) != got.CA.Absent {
		t.Fatalf("%q: the CA is %+v, and for Istio: %v", s.Data, got.CA, rootErr)
	}
	for _, c := range certificates {
		if err == nil && string(pair.Cert) == string(c.certificate) {
			belongs := string(pair.Key) == string(c.key)
			if belongs != (got.Pair.Fault == "") || belongs && !got.Pair.NotAfter.Equal(c.end) {
				t.Fatalf("%q: the certificate is %+v, and Istio's ends at %s", s.Data, got.Pair, c.end)
			}
		}
		if rootErr == nil && string(root.Cert) == string(c.certificate) && !got.CA.NotAfter.Equal(c.end) {
			t.Fatalf("%q: the CA is %+v, and Istio's ends at %s", s.Data, got.CA, c.end)
		}
	}
}

func translated(t *testing.T, s *corev1.Secret) *policy.Secret {
	t.Helper()
	text, err := json.Marshal(s)
	fail(t, err)
	o, _ := istio.NewObject(policy.KindSecret)
	fail(t, utiljson.Unmarshal(text, o))
	parsed, err := istio.Translator{}.Translate(o)
	fail(t, err)
	return parsed.(*policy.Secret)
}

// TestCredentialsAsIstioResolvesThem: a credential's name leads to the Secret that it leads to for Istio, seen from a proxy in
// the namespace edge, or to none.
func TestCredentialsAsIstioResolvesThem(t *testing.T) {
	for _, name := range []string{
		"web", "edge/web", "shop/web", "shop/web/more", "kubernetes://web", "kubernetes://shop/web", "kubernetes://shop/web/more",
		"web-cacert", "configmap://shop/web", "kubernetes-gateway://shop/web", "builtin://", "invalid://",
	} {
		want := policy.Credential{Field: "tls.credentialName"}
		resolved, err := credentials.ParseResourceName(credentials.ToResourceName(name), "edge", "", "")
		if err == nil && resolved.ResourceType == credentials.KubernetesSecretType {
			want.Namespace, want.Name = resolved.Namespace, resolved.Name
		}
		gateway := &istio.Gateway{Spec: json.RawMessage(`{"servers":[{"tls":{"mode":"SIMPLE","credentialName":"` + name + `"}}]}`)}
		parsed, err := istio.Translator{}.Gateway(gateway)
		fail(t, err)
		got := parsed.Servers[0].Credentials[0]
		if got.Name != "" && got.Namespace == "" {
			got.Namespace = "edge"
		}
		if got != want {
			t.Errorf("%s: %+v, and for Istio %+v", name, got, want)
		}
	}
}
