package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

// TestClients: who may connect.
func TestClients(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	below := ca.authority(t, "below")
	chained := below.client(t, "kube-apiserver")
	chained.Certificate = append(chained.Certificate, below.certificate.Raw)
	apiserver := ca.client(t, "kube-apiserver", "apiserver.example.com")
	tests := []struct {
		reason string
		names  []string
		client *tls.Certificate
		says   string // empty: let in
	}{
		{"no certificate", nil, nil, "client didn't provide a certificate"},
		{"one of the CA", nil, &apiserver, ""},
		{"one of another CA", nil, new(other.client(t, "kube-apiserver")), "unknown authority"},
		{"one that signed itself", nil, new(authority{}.client(t, "kube-apiserver")), "unknown authority"},
		{"one of a CA below it, which is sent along", nil, &chained, ""},
		{"one of a CA below it, which is not", nil, new(below.client(t, "kube-apiserver")), "unknown authority"},
		{"one for servers", nil, new(ca.server(t)), "incompatible key usage"},
		{"one that is over", nil, new(ca.issue(t, func(c *x509.Certificate) {
			c.NotAfter, c.ExtKeyUsage = time.Now().Add(-time.Minute), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		})), "expired"},
		{"the common name is asked for", []string{"someone", "kube-apiserver"}, &apiserver, ""},
		{"a DNS name is asked for", []string{"apiserver.example.com"}, &apiserver, ""},
		{"another name is asked for", []string{"someone", "example.com"}, &apiserver, `the client is "kube-apiserver" with DNS names ["apiserver.example.com"]`},
		{"a name of another letter case", []string{"Kube-APIserver"}, &apiserver, "only"},
		{"the name of a client without one", []string{""}, new(ca.client(t, "x")), "only"},
		{"the right name by another CA", []string{"kube-apiserver"}, new(other.client(t, "kube-apiserver")), "unknown authority"},
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	write(t, file, ca.pem())
	serving := other.server(t)
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			clients, err := NewClients(file, tc.names, logr.Discard())
			noError(t, err)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				_, err := handshake(t, config(&serving, clients), &tls.Config{
					RootCAs: other.pool(), ServerName: "127.0.0.1", Certificates: certificates(tc.client), MaxVersion: version, MinVersion: version,
				})
				if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s: %v", tls.VersionName(version), err)
				}
			}
		})
	}
}

// TestClientCAChanges follows the file through a rotation and two accidents.
func TestClientCAChanges(t *testing.T) {
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	file := filepath.Join(t.TempDir(), "ca.crt")
	write(t, file, before.pem())
	var lines []string
	clients, err := NewClients(file, nil, funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{}))
	noError(t, err)
	serving := before.server(t)
	server := config(&serving, clients)
	// Each client comes with the session that it had, which must not let it in where its certificate would not.
	client := func(ca authority) *tls.Config {
		return &tls.Config{
			RootCAs: before.pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13,
			Certificates: []tls.Certificate{ca.client(t, "kube-apiserver")}, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		}
	}
	of := map[string]*tls.Config{"before": client(before), "after": client(after)}
	steps := []struct {
		reason string
		change func()
		let    []string
		logged int // lines with an error, so far
	}{
		{"the first", func() {}, []string{"before"}, 0},
		{"the first again", func() {}, []string{"before"}, 0},
		{"both", func() { write(t, file, before.pem()+after.pem()) }, []string{"before", "after"}, 0},
		{"the second", func() { write(t, file, after.pem()) }, []string{"after"}, 0},
		{"nonsense", func() { write(t, file, "nonsense") }, []string{"after"}, 1},
		{"a certificate that was cut off", func() { write(t, file, before.pem()[:200]) }, []string{"after"}, 1},
		{"nothing", func() { write(t, file, "") }, []string{"after"}, 1},
		{"no file", func() { noError(t, os.Remove(file)) }, []string{"after"}, 2},
		{"the second again", func() { write(t, file, after.pem()) }, []string{"after"}, 2},
		{"no file again", func() { noError(t, os.Remove(file)) }, []string{"after"}, 3},
		{"the first is back", func() { write(t, file, before.pem()) }, []string{"before"}, 3},
	}
	for i, step := range steps {
		step.change()
		for name, client := range of {
			state, err := handshake(t, server, client)
			if want := strings.Contains(strings.Join(step.let, " "), name); (err == nil) != want {
				t.Errorf("%s: the one of %s: %v", step.reason, name, err)
			}
			if name == "before" && state.DidResume != (i > 0) {
				t.Errorf("%s: resumed %t, so this does not test what it should", step.reason, state.DidResume)
			}
		}
		if got := strings.Count(strings.Join(lines, "\n"), `"the CA of the clients stays as it was"`); got != step.logged {
			t.Errorf("%s: %d errors are logged instead of %d:\n%s", step.reason, got, step.logged, strings.Join(lines, "\n"))
		}
	}
}

// TestClientCAFirst: without a CA to begin with there is no server.
func TestClientCAFirst(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewClients(filepath.Join(dir, "none"), nil, logr.Discard()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	file := filepath.Join(dir, "ca.crt")
	for _, text := range []string{"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		write(t, file, text)
		if _, err := NewClients(file, nil, logr.Discard()); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func config(serving *tls.Certificate, clients *Clients) *tls.Config {
	return NewTLSConfig(tls.VersionTLS12, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return serving, nil }, clients)
}

func certificates(c *tls.Certificate) []tls.Certificate {
	if c == nil {
		return nil
	}
	return []tls.Certificate{*c}
}
