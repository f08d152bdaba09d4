package certificate

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"
)

// Authority is a CA that the webhook configurations are to trust.
type Authority struct {
	Certificate *x509.Certificate
	// Key signs serving certificates; nil where it is not known, or not needed any more.
	Key crypto.Signer
}

// Mark is the time since when something holds of one certificate. For any other certificate it says nothing.
type Mark struct {
	// Of is the fingerprint of the certificate.
	Of    string
	Since time.Time
}

// of says whether the mark is about the certificate, and not of a clock that was ahead.
func (m Mark) of(c *x509.Certificate, now time.Time) bool {
	return m.Of == fingerprint(c) && !m.Since.After(now)
}

// State is what the Secret holds. States share what they point to: nobody changes a certificate or a key.
type State struct {
	// Authorities are the trusted CAs, the newest last.
	Authorities []Authority
	// Serving is the serving certificate with its chain, key and Leaf; nil when there is none that can be read.
	Serving *tls.Certificate
	// Trusted tells since when the webhook configurations trust the newest CA. It is kept while that signs nothing yet.
	Trusted Mark
	// Served tells since when the serving certificate is stored.
	Served Mark
}

// Issuer returns the index of the CA by which the serving certificate is valid now for every one of the names, the
// newest if there are several, or -1.
func (s State) Issuer(now time.Time, names []string) int {
	if s.Serving == nil {
		return -1
	}
	for i, a := range slices.Backward(s.Authorities) {
		if verifies(s.Serving, now, names, a.Certificate) {
			return i
		}
	}
	return -1
}

// newest returns the index of the newest CA, or -1.
func (s State) newest() int { return len(s.Authorities) - 1 }

// verifies says whether a client that trusts the roots accepts the certificate for every one of the names.
func verifies(serving *tls.Certificate, now time.Time, names []string, roots ...*x509.Certificate) bool {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	for _, der := range serving.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			options.Intermediates.AddCert(c)
		}
	}
	for _, name := range names {
		options.DNSName = name
		if _, err := serving.Leaf.Verify(options); err != nil {
			return false
		}
	}
	return len(names) > 0
}

// fingerprint tells certificates apart, for people and for marks.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:8])
}
