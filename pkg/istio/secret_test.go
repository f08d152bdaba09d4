package istio_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// newYear is the beginning of a year.
func newYear(year int) time.Time {
	return time.Date(year, time.January, 1, 0, 0, 0, 0, time.UTC)
}

// issue returns a certificate that is valid between the years, and its key, both in PEM.
func issue(t *testing.T, from, to int, common string, names ...string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: newYear(from), NotAfter: newYear(to), DNSNames: names, Subject: pkix.Name{CommonName: common},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", encoded)
}

// secretOf translates a Secret as the API server has it with the values.
func secretOf(t *testing.T, values map[string]string) *policy.Secret {
	t.Helper()
	s := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "web"}, Data: map[string][]byte{}}
	for k, v := range values {
		s.Data[k] = []byte(v)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, string(text))
}

func read(t *testing.T, text string) *policy.Secret {
	t.Helper()
	o, _ := istio.NewObject(policy.KindSecret)
	if err := utiljson.Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	got, err := istio.Translator{}.Translate(o)
	if err != nil {
		t.Fatal(err)
	}
	return got.(*policy.Secret)
}

func TestTranslateSecret(t *testing.T) {
	cert, key := issue(t, 2020, 2030, "common", "a.example.com", "b.example.com")
	nameless, namelessKey := issue(t, 2020, 2030, "common")
	_, otherKey := issue(t, 2020, 2030, "")
	oldCA, _ := issue(t, 2000, 2010, "ca")
	newCA, _ := issue(t, 2020, 2040, "ca")
	pair := policy.Material{NotBefore: newYear(2020), NotAfter: newYear(2030), Names: []string{"a.example.com", "b.example.com"}}
	none := policy.Material{Absent: true, Fault: "has neither tls.crt and tls.key nor cert and key"}
	noCA := policy.Material{Absent: true, Fault: "has neither ca.crt nor cacert"}
	tests := []struct {
		reason   string
		values   map[string]string
		pair, ca policy.Material
	}{
		{"a pair", map[string]string{"tls.crt": cert, "tls.key": key}, pair, noCA},
		{"a pair under Istio's own keys", map[string]string{"cert": cert, "key": key}, pair, noCA},
		{"these count first", map[string]string{"cert": cert, "key": key, "tls.crt": nameless, "tls.key": otherKey}, pair, noCA},
		{"unless one is empty", map[string]string{"cert": nameless, "key": "", "tls.crt": cert, "tls.key": key}, pair, noCA},
		{"the first certificate of a chain counts", map[string]string{"tls.crt": cert + oldCA, "tls.key": key}, pair, noCA},
		{
			"the common name of one without names",
			map[string]string{"tls.crt": nameless, "tls.key": namelessKey},
			policy.Material{NotBefore: newYear(2020), NotAfter: newYear(2030), CommonName: "common"},
			noCA,
		},
		{"nothing", nil, none, noCA},
		{"something else", map[string]string{"password": "p", "key": "k"}, none, noCA},
		{"half a pair", map[string]string{"tls.crt": cert}, policy.Material{Fault: "tls.key is missing"}, noCA},
		{"half a pair of Istio's own", map[string]string{"cert": cert, "key": ""}, policy.Material{Fault: "key is empty"}, noCA},
		{"empty values", map[string]string{"tls.crt": "", "tls.key": ""}, policy.Material{Fault: "tls.crt is empty and tls.key is empty"}, noCA},
		{
			"no PEM",
			map[string]string{"tls.crt": "a", "tls.key": "b"},
			policy.Material{Fault: "tls.crt and tls.key: failed to find any PEM data in certificate input"},
			noCA,
		},
		{
			"another key",
			map[string]string{"cert": cert, "key": otherKey},
			policy.Material{Fault: "cert and key: private key does not match public key"},
			noCA,
		},
		{
			"two certificates and no key",
			map[string]string{"tls.crt": cert, "tls.key": cert},
			policy.Material{Fault: "tls.crt and tls.key: found a certificate rather than a key in the PEM for the private key"},
			noCA,
		},
		{"a CA", map[string]string{"ca.crt": newCA}, none, policy.Material{NotBefore: newYear(2020), NotAfter: newYear(2040)}},
		{"cacert counts first", map[string]string{"ca.crt": oldCA, "cacert": newCA}, none, policy.Material{NotBefore: newYear(2020), NotAfter: newYear(2040)}},
		{"unless it is empty", map[string]string{"ca.crt": newCA, "cacert": ""}, none, policy.Material{NotBefore: newYear(2020), NotAfter: newYear(2040)}},
		{"several CAs", map[string]string{"ca.crt": oldCA + newCA}, none, policy.Material{NotBefore: newYear(2000), NotAfter: newYear(2040)}},
		{"an empty CA", map[string]string{"ca.crt": ""}, none, noCA},
		{"no PEM for a CA", map[string]string{"cacert": "a"}, none, policy.Material{Fault: "cacert: failed to find any PEM data of a certificate"}},
		{"a key for a CA", map[string]string{"cacert": key}, none, policy.Material{Fault: "cacert: failed to find any PEM data of a certificate"}},
		{
			"a CA that cannot be parsed",
			map[string]string{"ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
			none,
			policy.Material{Fault: "ca.crt: x509: malformed certificate"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			want := &policy.Secret{Key: policy.Key{Namespace: "edge", Name: "web"}, Pair: tc.pair, CA: tc.ca}
			if diff := cmp.Diff(want, secretOf(t, tc.values)); diff != "" {
				t.Errorf("Secret (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSecretInFile: files hold what no API server hands out.
func TestSecretInFile(t *testing.T) {
	cert, key := issue(t, 2020, 2030, "", "a.example.com")
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tests := []struct {
		reason, text  string
		sealed, valid bool
	}{
		{"values in plain text", `"stringData":{"tls.crt":` + quote(cert) + `,"tls.key":` + quote(key) + `}`, false, true},
		{"they count before those in base64", `"data":{"tls.crt":"YQ==","tls.key":"Yg=="},"stringData":{"tls.crt":` + quote(cert) + `,"tls.key":` + quote(key) + `}`, false, true},
		{"a value that is to be put in", `"data":{"tls.crt":"${CERT}","tls.key":"YQ=="}`, true, false},
		{"values that SOPS has encrypted", `"stringData":{"tls.crt":"ENC[AES256_GCM]","tls.key":"ENC[AES256_GCM]"},"sops":{"version":"3.8.1"}`, true, false},
		{"nothing", `"data":null`, false, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got := read(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"web"},`+tc.text+`}`)
			if valid := !got.Sealed && got.Pair.Fault == ""; got.Sealed != tc.sealed || valid != tc.valid || got.Relevant() != (tc.sealed || tc.valid) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestSecretKeepsNothingPrivate: what is left of an object has neither the key nor the copy that kubectl keeps of it.
func TestSecretKeepsNothingPrivate(t *testing.T) {
	cert, key := issue(t, 2020, 2030, "", "a.example.com")
	_, otherKey := issue(t, 2020, 2030, "")
	for _, k := range []string{key, otherKey, "no key"} {
		s := corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: k}, Labels: map[string]string{"a": k}},
			Data:       map[string][]byte{"tls.crt": []byte(cert), "tls.key": []byte(k), "password": []byte(k)},
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		o, _ := istio.NewObject(policy.KindSecret)
		if err := utiljson.Unmarshal(text, o); err != nil {
			t.Fatal(err)
		}
		line := strings.Split(k, "\n")[min(1, strings.Count(k, "\n"))]
		if left := cmp.Diff(nil, o); strings.Contains(left, line) || len(o.GetAnnotations()) > 0 {
			t.Errorf("of the key %s there is left:\n%s", k, left)
		}
	}
}
