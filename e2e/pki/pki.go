// Package pki is a small certificate authority for tests and local clusters.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

const (
	// validity is how long certificates are good for.
	validity = 365 * 24 * time.Hour
	// clockSkew is how far back they are valid, for clocks that are behind.
	clockSkew = time.Hour

	certificateBlock = "CERTIFICATE"
	privateKeyBlock  = "PRIVATE KEY"
)

// Pair is a certificate and its private key, both PEM-encoded. The key is PKCS #8.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// Identity is whom a certificate is for. Kubernetes takes the common name of a
// client certificate for the user and the organizations for the groups.
type Identity struct {
	CommonName    string
	Organizations []string
	// DNSNames and IPs are the addresses that a server certificate is valid for.
	DNSNames []string
	IPs      []net.IP
	// NotBefore and NotAfter are when it is valid; zero means from an hour ago on, and for a year.
	NotBefore, NotAfter time.Time
}

// CA issues certificates. It is safe for concurrent use.
type CA struct {
	pair        Pair
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewCA makes a certificate authority with a new key.
func NewCA(commonName string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of the certificate authority: %w", err)
	}
	template, err := newTemplate(Identity{CommonName: commonName})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	pair, err := sign(template, template, key, key)
	if err != nil {
		return nil, err
	}
	return LoadCA(pair)
}

// LoadCA returns the certificate authority whose pair CA.Pair returned earlier.
func LoadCA(pair Pair) (*CA, error) {
	certificateBlock, _ := pem.Decode(pair.Certificate)
	keyBlock, _ := pem.Decode(pair.Key)
	if certificateBlock == nil || keyBlock == nil {
		return nil, errors.New("load certificate authority: certificate or key is not PEM")
	}
	certificate, err := x509.ParseCertificate(certificateBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, fmt.Errorf("load the key of the certificate authority: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("load the key of the certificate authority: a %T cannot sign", key)
	}
	return &CA{pair: pair, certificate: certificate, key: signer}, nil
}

// Pair returns the certificate and key of the authority itself.
func (ca *CA) Pair() Pair { return ca.pair }

// Issue makes a key and a certificate that is good for clients, and for servers
// at the identity's addresses.
func (ca *CA) Issue(identity Identity) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key for %s: %w", identity.CommonName, err)
	}
	template, err := newTemplate(identity)
	if err != nil {
		return Pair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	return sign(template, ca.certificate, key, ca.key)
}

func newTemplate(identity Identity) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number for %s: %w", identity.CommonName, err)
	}
	notBefore, notAfter, now := identity.NotBefore, identity.NotAfter, time.Now()
	if notBefore.IsZero() {
		notBefore = now.Add(-clockSkew)
	}
	if notAfter.IsZero() {
		notAfter = now.Add(validity)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: identity.CommonName, Organization: identity.Organizations},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		DNSNames:     identity.DNSNames,
		IPAddresses:  identity.IPs,
	}, nil
}

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (Pair, error) {
	name := template.Subject.CommonName
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode the key of %s: %w", name, err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: certificate}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: privateKeyBlock, Bytes: encodedKey}),
	}, nil
}
