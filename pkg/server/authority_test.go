package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a CA of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	return authority{}.authority(t, name)
}

// authority returns one that this one has signed, or that signed itself if this one is empty.
func (a authority) authority(t *testing.T, name string) authority {
	t.Helper()
	pair := a.issue(t, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = name, true, true
		c.KeyUsage = x509.KeyUsageCertSign
	})
	return authority{certificate: pair.Leaf, key: pair.PrivateKey.(*ecdsa.PrivateKey)}
}

// issue returns a certificate with the changes that are asked for.
func (a authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	noError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	change(template)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	noError(t, err)
	leaf, err := x509.ParseCertificate(der)
	noError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// client returns a client's certificate for the common name and the DNS names.
func (a authority) client(t *testing.T, name string, dnsNames ...string) tls.Certificate {
	t.Helper()
	return a.issue(t, func(c *x509.Certificate) {
		c.Subject, c.DNSNames = pkix.Name{CommonName: name}, dnsNames
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
}

// server returns a certificate for loopback.
func (a authority) server(t *testing.T) tls.Certificate {
	t.Helper()
	return a.issue(t, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.certificate)
	return p
}

func (a authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

// write makes a file with the text, and replaces it as a Secret's volume does: by renaming another one.
func write(t *testing.T, file, text string) {
	t.Helper()
	next := filepath.Join(t.TempDir(), "next")
	noError(t, os.WriteFile(next, []byte(text), 0o600))
	noError(t, os.Rename(next, file))
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
