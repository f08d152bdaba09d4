package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The keys of the Secret's data.
const (
	// AuthoritiesKey holds the certificates of all trusted CAs, the newest last: the caBundle.
	AuthoritiesKey = "ca.crt"
	// AuthorityKeysKey holds the private keys of those CAs that may still sign, in the same order.
	AuthorityKeysKey = "ca.key"
	// ServingKey and ServingKeyKey hold the serving certificate and its private key.
	ServingKey    = "tls.crt"
	ServingKeyKey = "tls.key"
)

// The annotations of the Secret.
const (
	// TrustedAnnotation and ServedAnnotation keep the marks of the State.
	TrustedAnnotation = "meshwarden.io/ca-trusted"
	ServedAnnotation  = "meshwarden.io/certificate-served"
	// RenewAnnotation asks for a renewal before its time; it is removed when that begins.
	RenewAnnotation = "meshwarden.io/renew"
)

const (
	certificateBlock = "CERTIFICATE"
	privateKeyBlock  = "PRIVATE KEY"
)

// Parse reads the Secret. What cannot be read is left out of the State, and the error names each such part: the State is
// good for what is left.
func Parse(data map[string][]byte, annotations map[string]string) (State, error) {
	var s State
	var faults []error
	fault := func(where string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", where, err))
		}
	}
	keys, err := parseKeys(data[AuthorityKeysKey])
	fault(AuthorityKeysKey, err)
	authorities, err := parseCertificates(data[AuthoritiesKey])
	fault(AuthoritiesKey, err)
	for _, c := range authorities {
		a := Authority{Certificate: c}
		if i := slices.IndexFunc(keys, func(k crypto.Signer) bool { return signs(k, c) }); i >= 0 {
			a.Key = keys[i]
		}
		s.Authorities = append(s.Authorities, a)
	}
	pair, err := tls.X509KeyPair(data[ServingKey], data[ServingKeyKey])
	if err == nil {
		s.Serving = &pair
	} else {
		fault(ServingKey+" and "+ServingKeyKey, err)
	}
	s.Trusted = parseMark(annotations[TrustedAnnotation])
	s.Served = parseMark(annotations[ServedAnnotation])
	return s, errors.Join(faults...)
}

// signs says whether the key is that of the CA.
func signs(key crypto.Signer, ca *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && ca.IsCA && public.Equal(ca.PublicKey)
}

// parseCertificates returns the certificates that can be read, each once.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	var faults []error
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if !slices.ContainsFunc(certificates, c.Equal) {
			certificates = append(certificates, c)
		}
	}
	if len(certificates) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("holds no certificate"))
	}
	return certificates, errors.Join(faults...)
}

// parseKeys returns the private keys that can be read.
func parseKeys(text []byte) ([]crypto.Signer, error) {
	var keys []crypto.Signer
	var faults []error
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if k, ok := key.(*ecdsa.PrivateKey); ok {
			keys = append(keys, k)
		} else {
			faults = append(faults, fmt.Errorf("a %T is no key of Meshwarden's", key))
		}
	}
	if len(keys) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("holds no private key"))
	}
	return keys, errors.Join(faults...)
}

// Data returns what the Secret is to hold. It fails for a key that has no encoding.
func (s State) Data() (map[string][]byte, error) {
	data := map[string][]byte{AuthoritiesKey: s.Bundle()}
	var keys []byte
	for _, a := range s.Authorities {
		if a.Key == nil {
			continue
		}
		encoded, err := encodeKey(a.Key)
		if err != nil {
			return nil, fmt.Errorf("encoding the key of a CA: %w", err)
		}
		keys = append(keys, encoded...)
	}
	data[AuthorityKeysKey] = keys
	if s.Serving != nil {
		for _, der := range s.Serving.Certificate {
			data[ServingKey] = append(data[ServingKey], encodeCertificate(der)...)
		}
		encoded, err := encodeKey(s.Serving.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("encoding the key of the serving certificate: %w", err)
		}
		data[ServingKeyKey] = encoded
	}
	return data, nil
}

// Annotations returns the annotations that the Secret is to have; "" stands for none.
func (s State) Annotations() map[string]string {
	return map[string]string{TrustedAnnotation: s.Trusted.String(), ServedAnnotation: s.Served.String()}
}

// Bundle returns the caBundle that trusts every CA of the State.
func (s State) Bundle() []byte {
	var bundle []byte
	for _, a := range s.Authorities {
		bundle = append(bundle, encodeCertificate(a.Certificate.Raw)...)
	}
	return bundle
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateKeyBlock, Bytes: der}), nil
}

// String returns the mark as an annotation has it: the time and the fingerprint.
func (m Mark) String() string {
	if m.Of == "" {
		return ""
	}
	return m.Since.UTC().Format(time.RFC3339Nano) + " " + m.Of
}

// parseMark returns what String wrote, and no mark for anything else: the time then counts from now.
func parseMark(text string) Mark {
	since, of, _ := strings.Cut(text, " ")
	t, err := time.Parse(time.RFC3339Nano, since)
	if err != nil || of == "" {
		return Mark{}
	}
	return Mark{Of: of, Since: t}
}
