package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/e2e/pki"
)

func TestIssue(t *testing.T) {
	made, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := pki.LoadCA(made.Pair())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made.Pair().Certificate)
	tests := []struct {
		reason string
		ca     *pki.CA
	}{
		{"by a new authority", made},
		{"by an authority that was stored and loaded", loaded},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			pair, err := test.ca.Issue(pki.Identity{
				CommonName: "jane", Organizations: []string{"team"},
				DNSNames: []string{"svc.ns.svc"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
			})
			if err != nil {
				t.Fatal(err)
			}
			certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"team"}, certificate.Leaf.Subject.Organization); diff != "" {
				t.Errorf("organizations (-want +got):\n%s", diff)
			}
			for _, address := range []string{"svc.ns.svc", "127.0.0.1"} {
				_, err := certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: address})
				if err != nil {
					t.Errorf("as a server at %s: %v", address, err)
				}
			}
			_, err = certificate.Leaf.Verify(x509.VerifyOptions{
				Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			})
			if err != nil {
				t.Errorf("as a client: %v", err)
			}
		})
	}
}

func TestLoadCA(t *testing.T) {
	ca, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason string
		pair   pki.Pair
	}{
		{"nothing", pki.Pair{}},
		{"no key", pki.Pair{Certificate: ca.Pair().Certificate}},
		{"the two the wrong way round", pki.Pair{Certificate: ca.Pair().Key, Key: ca.Pair().Certificate}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			if _, err := pki.LoadCA(test.pair); err == nil {
				t.Error("no error")
			}
		})
	}
}
