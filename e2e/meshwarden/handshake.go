package meshwarden

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/meshwarden/meshwarden/pkg/admission"
)

// Handshake connects to the replica as an API server does that trusts the CA, given in PEM, and returns the certificate
// that the replica serves.
func (r *Replica) Handshake(ctx context.Context, ca []byte) (*x509.Certificate, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("connect to a replica: the CA has no certificate in PEM")
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: admission.ServiceName + "." + r.installation.namespace + ".svc"}}
	connection, err := dialer.DialContext(ctx, "tcp", r.address(webhookPort))
	if err != nil {
		return nil, fmt.Errorf("connect to a replica: %w", err)
	}
	defer connection.Close() // nothing was sent
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// WebhookAddress returns the host:port at which the replica serves the API server.
func (r *Replica) WebhookAddress() string {
	return r.address(webhookPort)
}
