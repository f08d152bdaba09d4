package istio

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Secret is the public part of a Secret as the API server sends it. What is private is read while the object is decoded,
// compared with its certificate, and not kept: neither are the annotations, in which kubectl keeps a copy of everything.
type Secret struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Public is what was kept; its key is that of the object.
	Public policy.Secret `json:"-"`
}

// DeepCopyObject implements runtime.Object.
func (s *Secret) DeepCopyObject() runtime.Object {
	return &Secret{TypeMeta: s.TypeMeta, ObjectMeta: *s.DeepCopy(), Public: s.Public}
}

// secretKeys are the values that Istio reads of a Secret for TLS: ExtractCertInfo and ExtractRoot
// (pilot/pkg/credentials/kube/secrets.go). Others are not even decoded.
type secretKeys struct {
	Cert    *string `json:"cert"`
	Key     *string `json:"key"`
	CA      *string `json:"cacert"`
	TLSCert *string `json:"tls.crt"`
	TLSKey  *string `json:"tls.key"`
	TLSCA   *string `json:"ca.crt"`
}

// UnmarshalJSON reads the object and keeps its public part.
func (s *Secret) UnmarshalJSON(text []byte) error {
	var read struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		// Data is in base64, and what StringData has counts first.
		Data       secretKeys `json:"data"`
		StringData secretKeys `json:"stringData"`
		// SOPS is what this tool adds to a file in which it has encrypted the values.
		SOPS json.RawMessage `json:"sops"`
	}
	if err := utiljson.Unmarshal(text, &read); err != nil {
		return err
	}
	s.TypeMeta, s.ObjectMeta = read.TypeMeta, read.Metadata
	s.Annotations, s.Labels, s.ManagedFields = nil, nil, nil
	if end, ok := read.Metadata.Annotations[metav1.InitialEventsAnnotationKey]; ok {
		// This is no Secret, but tells a client that it has heard of all there are.
		s.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: end}
	}
	sealed := len(read.SOPS) > 0
	value := func(encoded, plain *string) value {
		v, ok := valueOf(encoded, plain)
		sealed = sealed || !ok
		return v
	}
	d, plain := read.Data, read.StringData
	generic := pair{"cert", "key", value(d.Cert, plain.Cert), value(d.Key, plain.Key)}
	kubernetes := pair{"tls.crt", "tls.key", value(d.TLSCert, plain.TLSCert), value(d.TLSKey, plain.TLSKey)}
	genericCA, kubernetesCA := value(d.CA, plain.CA), value(d.TLSCA, plain.TLSCA)
	s.Public = policy.Secret{Sealed: sealed}
	if !sealed {
		s.Public.Pair = certificateOf(generic, kubernetes)
		s.Public.CA = authoritiesOf("cacert", genericCA, "ca.crt", kubernetesCA)
	}
	return nil
}

// value is one of a Secret's values.
type value struct {
	text  []byte
	there bool
}

// valueOf returns the value that counts, or false where it cannot be told. No API server stores one that is not in base64: in a
// file something is to be put in its place, as for one that is encrypted.
func valueOf(encoded, plain *string) (value, bool) {
	switch {
	case plain != nil:
		return value{[]byte(*plain), true}, true
	case encoded == nil:
		return value{}, true
	}
	text, err := base64.StdEncoding.DecodeString(*encoded)
	return value{text, true}, err == nil
}

// pair is a certificate and its key under the names of their keys in the Secret.
type pair struct {
	certName, keyName string
	cert, key         value
}

func (p pair) complete() bool {
	return len(p.cert.text) > 0 && len(p.key.text) > 0
}

// certificateOf reads the pair that Istio takes: the first one that is complete. The private key is parsed to see whether it is
// that of the certificate.
func certificateOf(generic, kubernetes pair) policy.Material {
	for _, p := range []pair{generic, kubernetes} {
		if p.complete() {
			return p.read()
		}
	}
	switch {
	case kubernetes.cert.there:
		return policy.Material{Fault: kubernetes.lacks()}
	case generic.cert.there:
		return policy.Material{Fault: generic.lacks()}
	}
	return policy.Material{Absent: true, Fault: "has neither tls.crt and tls.key nor cert and key"}
}

// lacks says what an incomplete pair lacks.
func (p pair) lacks() string {
	var faults []string
	for _, part := range []struct {
		name string
		value
	}{{p.certName, p.cert}, {p.keyName, p.key}} {
		switch {
		case !part.there:
			faults = append(faults, part.name+" is missing")
		case len(part.text) == 0:
			faults = append(faults, part.name+" is empty")
		}
	}
	return strings.Join(faults, " and ")
}

func (p pair) read() policy.Material {
	parsed, err := tls.X509KeyPair(p.cert.text, p.key.text)
	if err != nil {
		// These errors tell of what was expected, and of nothing that is in the values.
		return policy.Material{Fault: fmt.Sprintf("%s and %s: %s", p.certName, p.keyName, strings.TrimPrefix(err.Error(), "tls: "))}
	}
	leaf := parsed.Leaf
	if fault := unfit(leaf); fault != "" {
		return policy.Material{Fault: fmt.Sprintf("%s: %s", p.certName, fault)}
	}
	m := policy.Material{NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Names: leaf.DNSNames}
	if len(m.Names) == 0 {
		// RFC 9525 and with it browsers and Go leave it alone, although Envoy falls back on it when it chooses a certificate.
		m.CommonName = leaf.Subject.CommonName
	}
	m.Issuer, m.IssuerNotAfter = issuerOf(leaf, parsed.Certificate[1:])
	return m
}

// issuerOf returns the name and the end of the certificate of the chain that signed the leaf: of several the one that lasts
// longest. Clients need this one, while above it, and where it is signed by itself, they may have another certificate of the same
// key among those that they trust: nothing is returned. They may also for the copy of a root that another CA has signed, but where
// that copy alone is in the chain it looks like every other intermediate certificate, and is taken for one.
func issuerOf(leaf *x509.Certificate, chain [][]byte) (name string, notAfter time.Time) {
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil || !bytes.Equal(c.RawSubject, leaf.RawIssuer) || leaf.CheckSignatureFrom(c) != nil {
			continue
		}
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			return "", time.Time{}
		}
		if c.NotAfter.After(notAfter) {
			name, notAfter = strconv.Quote(c.Subject.String()), c.NotAfter.UTC()
		}
	}
	return name, notAfter
}

// unfit says why Envoy refuses a certificate of such a key, or nothing: its TLS context (source/common/tls/context_impl.cc) takes
// neither short RSA keys nor rare curves, and istiod hands them on unseen.
func unfit(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 {
			return fmt.Sprintf("an RSA key of %d bits, and Envoy takes none of less than 2048", bits)
		}
	case *ecdsa.PublicKey:
		if name := key.Params().Name; name != "P-256" && name != "P-384" && name != "P-521" {
			return fmt.Sprintf("an ECDSA key on the curve %s, and Envoy takes P-256, P-384 and P-521 alone", name)
		}
	}
	return ""
}

// authoritiesOf reads the CA that Istio takes: cacert, unless it is empty, or else ca.crt.
func authoritiesOf(genericName string, generic value, kubernetesName string, kubernetes value) policy.Material {
	switch {
	case len(generic.text) > 0:
		return authorities(genericName, generic.text)
	case len(kubernetes.text) > 0:
		return authorities(kubernetesName, kubernetes.text)
	}
	return policy.Material{Absent: true, Fault: fmt.Sprintf("has neither %s nor %s", kubernetesName, genericName)}
}

// authorities reads certificates of which one is enough to check a client's against. The span is from the first day on which
// one of them is valid to the last.
func authorities(name string, text []byte) policy.Material {
	var m policy.Material
	found := false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			m.Fault = fmt.Sprintf("%s: %s", name, err)
			continue
		}
		if !found {
			m.NotBefore, m.NotAfter = c.NotBefore, c.NotAfter
		}
		found = true
		m.NotBefore, m.NotAfter = earlier(m.NotBefore, c.NotBefore), later(m.NotAfter, c.NotAfter)
	}
	switch {
	case found:
		return policy.Material{NotBefore: m.NotBefore.UTC(), NotAfter: m.NotAfter.UTC()}
	case m.Fault == "":
		m.Fault = name + ": failed to find any PEM data of a certificate"
	}
	return m
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Secret translates a Secret.
func (t Translator) Secret(s *Secret) *policy.Secret {
	public := s.Public
	public.Key = keyOf(&s.ObjectMeta)
	return &public
}
