package certificate

import (
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"
)

// Holder holds the certificate that a replica serves. The zero Holder holds none yet. It is safe for concurrent use.
type Holder struct {
	current atomic.Pointer[tls.Certificate]
	trusted atomic.Bool
}

// GetCertificate is that of a tls.Config.
func (h *Holder) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := h.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no serving certificate is loaded yet")
}

// Ready is a healthz.Checker. A replica is ready when it has a certificate that the webhook configurations have trusted
// once. Configurations that do not exist need not: they may be applied later, or have been taken out of the way. And it
// stays ready when they lose that trust: another replica would fare no better, and all of them would leave the Service at
// once. A replica that has never been trusted waits, so that a new installation is complete when it is ready, and one
// that may not write the caBundle is not rolled out.
func (h *Holder) Ready(*http.Request) error {
	if h.current.Load() == nil {
		return errors.New("the Secret of the serving certificate holds none yet")
	}
	if !h.trusted.Load() {
		return errors.New("the webhook configurations do not trust the serving certificate yet")
	}
	return nil
}
