package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// Terms are what certificates are issued on.
type Terms struct {
	// DNSNames are the names that the serving certificate is for; at least one.
	DNSNames []string
	// Lifetime and CALifetime are how long a serving certificate and a CA last. A CA lasts at least twice as long.
	Lifetime, CALifetime time.Duration
}

// Overlap is how long a new CA is trusted before it signs, and how long an old one is trusted after the last of its
// certificates was replaced. It is the time that a replica or an API server may be behind: three days where serving
// certificates last 90.
func (t Terms) Overlap() time.Duration { return t.Lifetime / 30 }

// backdate is how far back a certificate is valid, for clocks that are behind.
func backdate(lifetime time.Duration) time.Duration { return min(time.Hour, lifetime/10) }

// renewAt is when a certificate is replaced: after two thirds of its life, so that a third is left for what may go wrong.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 2 / 3)
}

// warnAt is from when on a certificate is about to expire: only a quarter of its life is left, and it should have been
// replaced a while ago.
func warnAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) * 3 / 4)
}

// authorityDueAt is when a CA needs a successor: renewAt, or as soon as it cannot vouch for a whole serving certificate.
func (t Terms) authorityDueAt(ca *x509.Certificate) time.Time {
	due := renewAt(ca)
	if last := ca.NotAfter.Add(-t.Lifetime); last.Before(due) {
		return last
	}
	return due
}

// newAuthority makes a CA with a new key.
func (t Terms) newAuthority(now time.Time) (Authority, error) {
	key, template, err := begin(now, now.Add(t.CALifetime), backdate(t.CALifetime))
	if err != nil {
		return Authority{}, fmt.Errorf("making a CA: %w", err)
	}
	template.Subject = pkix.Name{CommonName: "meshwarden CA " + now.UTC().Format(time.RFC3339)}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Authority{}, fmt.Errorf("making a CA: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Authority{}, fmt.Errorf("making a CA: %w", err)
	}
	return Authority{Certificate: c, Key: key}, nil
}

// servingEnd is until when a serving certificate lasts that the CA signs now.
func (t Terms) servingEnd(ca *x509.Certificate, now time.Time) time.Time {
	if end := now.Add(t.Lifetime); end.Before(ca.NotAfter) {
		return end
	}
	return ca.NotAfter
}

// sign makes a serving certificate with a new key.
func (t Terms) sign(by Authority, now time.Time) (*tls.Certificate, error) {
	key, template, err := begin(now, t.servingEnd(by.Certificate, now), backdate(t.Lifetime))
	if err != nil {
		return nil, fmt.Errorf("making a serving certificate: %w", err)
	}
	template.Subject = pkix.Name{CommonName: "meshwarden webhook"}
	template.DNSNames = t.DNSNames
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, by.Certificate, key.Public(), by.Key)
	if err != nil {
		return nil, fmt.Errorf("signing a serving certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("signing a serving certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// begin returns a new key and a template with what every certificate has.
func begin(now, end time.Time, backdate time.Duration) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	return key, &x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: end}, nil
}
