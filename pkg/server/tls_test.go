package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

// handshake shakes hands with a server of the configuration, and returns what the client got and the fault of either.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	noError(t, err)
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			defer c.Close()
			_, err = c.Write([]byte("!")) // shakes hands first, and sends the ticket of the session along
		}
		served <- err
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	noError(t, err)
	defer c.Close()
	secured := tls.Client(c, client)
	_, err = io.ReadFull(secured, make([]byte, 1))
	return secured.ConnectionState(), errors.Join(err, <-served)
}

// TestTLS: which clients find a version and a cipher suite in common with the server.
func TestTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	certificate := ca.server(t)
	tests := []struct {
		reason   string
		least    string
		oldest   uint16
		newest   uint16
		suites   []uint16
		want     uint16 // 0: refused
		wantedBy []uint16
	}{
		{reason: "the default, as the API server is", least: "1.3", want: tls.VersionTLS13},
		{reason: "1.3 is not to be had", least: "1.3", newest: tls.VersionTLS12},
		{reason: "1.2 is good enough, and both can do better", least: "1.2", want: tls.VersionTLS13},
		{reason: "1.2", least: "1.2", newest: tls.VersionTLS12, want: tls.VersionTLS12},
		{reason: "1.2 with each of the suites", least: "1.2", newest: tls.VersionTLS12, want: tls.VersionTLS12, wantedBy: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		}},
		{reason: "1.2 without authenticated encryption", least: "1.2", newest: tls.VersionTLS12, suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		}},
		{reason: "1.2 without forward secrecy", least: "1.2", newest: tls.VersionTLS12, suites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
		{reason: "1.1", least: "1.2", oldest: tls.VersionTLS10, newest: tls.VersionTLS11},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			least, err := ParseTLSVersion(tc.least)
			noError(t, err)
			server := NewTLSConfig(least, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }, nil)
			suites := [][]uint16{tc.suites}
			for _, suite := range tc.wantedBy {
				suites = append(suites, []uint16{suite})
			}
			for _, suites := range suites {
				state, err := handshake(t, server, &tls.Config{
					RootCAs: ca.pool(), ServerName: "127.0.0.1", MinVersion: tc.oldest, MaxVersion: tc.newest, CipherSuites: suites,
				})
				if (err == nil) != (tc.want != 0) || err == nil && state.Version != tc.want {
					t.Errorf("with the suites %x: %s, %v", suites, tls.VersionName(state.Version), err)
				}
			}
		})
	}
	for _, name := range []string{"", "1.1", "TLS1.3", "13"} {
		if v, err := ParseTLSVersion(name); err == nil {
			t.Errorf("%q is %s", name, tls.VersionName(v))
		}
	}
}

// TestCipherSuites: none that Go itself calls insecure, and all of TLS 1.2.
func TestCipherSuites(t *testing.T) {
	secure := map[uint16]*tls.CipherSuite{}
	for _, s := range tls.CipherSuites() {
		secure[s.ID] = s
	}
	for _, id := range cipherSuites() {
		if s := secure[id]; s == nil || s.SupportedVersions[0] != tls.VersionTLS12 {
			t.Errorf("%s is insecure or of another version", tls.CipherSuiteName(id))
		}
	}
}
