package server

import (
	"crypto/tls"
	"fmt"
)

// ParseTLSVersion returns the version called "1.2" or "1.3". No older one is served.
func ParseTLSVersion(name string) (uint16, error) {
	switch name {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("unknown version %q: use 1.3 or 1.2", name)
}

// NewTLSConfig returns how to shake hands: with nothing older than the version, the certificate that the function returns
// at the time, and the clients alone that may connect, which are all of them if clients is nil.
func NewTLSConfig(minVersion uint16, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), clients *Clients) *tls.Config {
	config := &tls.Config{
		MinVersion:     minVersion,
		GetCertificate: certificate,
		CipherSuites:   cipherSuites(),
	}
	if clients != nil {
		// The connection is verified by hand, because the CA may change while the server runs.
		config.ClientAuth = tls.RequireAnyClientCert
		config.VerifyConnection = clients.verify
	}
	return config
}

// cipherSuites are those of TLS 1.2 that RFC 9325, section 4.2, recommends: forward secrecy and authenticated encryption.
// Those of TLS 1.3 are all like that, and Go lets nobody choose among them.
func cipherSuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}
