package serve

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"
)

// generateCertificate makes a CA and a serving certificate for this machine and for Meshwarden's Service, unless the
// folder holds them already. Whoever registers the webhooks takes ca.crt for their caBundle. The certificate lasts a
// year and nothing renews it: it is for local use.
func generateCertificate(dir, namespace string) error {
	if _, err := os.Stat(filepath.Join(dir, "tls.crt")); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot look for a serving certificate: %w", err)
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	chain, key, err := cert.GenerateSelfSignedCertKey("localhost", loopback, []string{serviceHost(namespace)})
	if err != nil {
		return fmt.Errorf("cannot generate a serving certificate: %w", err)
	}
	certs, err := cert.ParseCertsPEM(chain)
	if err != nil {
		return fmt.Errorf("cannot read the generated certificate: %w", err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: certs[len(certs)-1].Raw})
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder for the serving certificate: %w", err)
	}
	// tls.crt last: it is what tells that the folder is complete.
	for _, file := range []struct {
		name    string
		content []byte
	}{{"tls.key", key}, {"ca.crt", ca}, {"tls.crt", chain}} {
		if err := os.WriteFile(filepath.Join(dir, file.name), file.content, 0o600); err != nil {
			return fmt.Errorf("cannot write the serving certificate: %w", err)
		}
	}
	return nil
}
