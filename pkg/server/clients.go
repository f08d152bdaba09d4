package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/cert"
)

// Clients are those that may connect: the holders of a certificate that a CA has signed for clients, and of those the ones
// with a certain name, if names are given. It is safe for concurrent use.
type Clients struct {
	file  string
	names []string
	log   logr.Logger

	mu      sync.Mutex
	content []byte // of the file, when it was last good
	roots   *x509.CertPool
	fault   string // of the file now; what was logged last
}

// NewClients returns the clients whose CA is in the file, PEM-encoded; several certificates are all trusted. Names are
// common names or DNS names; none means any. It fails when the file cannot be used: a server that is to check its clients
// does not start without being able to.
func NewClients(file string, names []string, log logr.Logger) (*Clients, error) {
	c := &Clients{file: file, names: names, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// verify is a tls.Config's VerifyConnection, which is called for resumed sessions as well: a CA that has gone from the file
// lets nobody in again.
func (c *Clients) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the client has no certificate")
	}
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, issuer := range state.PeerCertificates[1:] {
		intermediates.AddCert(issuer)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.current(), Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("the client's certificate, of %q, is not one of the CA in %s: %w", leaf.Subject.CommonName, c.file, err)
	}
	known := func(name string) bool { return slices.Contains(c.names, name) }
	if len(c.names) > 0 && !known(leaf.Subject.CommonName) && !slices.ContainsFunc(leaf.DNSNames, known) {
		return fmt.Errorf("the client is %q with DNS names %q, and only %q may connect", leaf.Subject.CommonName, leaf.DNSNames, c.names)
	}
	return nil
}

// current returns the CA as the file has it now, or as it last was if the file cannot be used. To read a few KiB costs
// little beside a handshake, and misses no change.
func (c *Clients) current() *x509.CertPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	fault := ""
	if err := c.load(); err != nil {
		fault = err.Error()
		if fault != c.fault {
			c.log.Error(err, "the CA of the clients stays as it was")
		}
	}
	c.fault = fault
	return c.roots
}

// load reads the file, if it is another one than before.
func (c *Clients) load() error {
	content, err := os.ReadFile(c.file)
	if err != nil {
		return fmt.Errorf("cannot read the CA of the clients: %w", err)
	}
	if c.roots != nil && bytes.Equal(content, c.content) {
		return nil
	}
	certificates, err := cert.ParseCertsPEM(content)
	if err != nil {
		return fmt.Errorf("cannot read the CA of the clients in %s: %w", c.file, err)
	}
	c.content, c.roots = content, x509.NewCertPool()
	for _, ca := range certificates {
		c.roots.AddCert(ca)
	}
	c.log.Info("clients need a certificate", "ca", c.file, "certificates", len(certificates), "names", c.names)
	return nil
}
