package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

// mustSign returns a serving certificate that the CA signed then.
func mustSign(t *testing.T, by Authority, at time.Time) *tls.Certificate {
	t.Helper()
	c, err := testTerms().sign(by, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIssue(t *testing.T) {
	s := step(t, Situation{Now: start, Terms: testTerms()}).State
	ca, leaf := s.Authorities[0].Certificate, s.Serving.Leaf
	if !ca.IsCA || ca.KeyUsage&x509.KeyUsageCertSign == 0 || !ca.MaxPathLenZero || leaf.IsCA {
		t.Errorf("CA: %v, path %v; serving: %v", ca.IsCA, ca.MaxPathLen, leaf.IsCA)
	}
	if ca.PublicKeyAlgorithm != x509.ECDSA || leaf.PublicKeyAlgorithm != x509.ECDSA || ca.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
		t.Errorf("%s signs %s", ca.PublicKeyAlgorithm, leaf.PublicKeyAlgorithm)
	}
	tests := []struct {
		reason string
		at     time.Time
		name   string
		usage  x509.ExtKeyUsage
		good   bool
	}{
		{"now", start, "meshwarden-webhook.meshwarden.svc", x509.ExtKeyUsageServerAuth, true},
		{"by a clock that is behind", start.Add(-59 * time.Minute), "meshwarden-webhook.meshwarden.svc", x509.ExtKeyUsageServerAuth, true},
		{"long before", start.Add(-61 * time.Minute), "meshwarden-webhook.meshwarden.svc", x509.ExtKeyUsageServerAuth, false},
		{"at its end", start.Add(90 * day), "meshwarden-webhook.meshwarden.svc", x509.ExtKeyUsageServerAuth, true},
		{"after its end", start.Add(90*day + time.Second), "meshwarden-webhook.meshwarden.svc", x509.ExtKeyUsageServerAuth, false},
		{"another name", start, "meshwarden-webhook.other.svc", x509.ExtKeyUsageServerAuth, false},
		{"as a client", start, "meshwarden-webhook.meshwarden.svc", x509.ExtKeyUsageClientAuth, false},
	}
	for _, tc := range tests {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.Bundle())
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: tc.name, CurrentTime: tc.at, KeyUsages: []x509.ExtKeyUsage{tc.usage}})
		if (err == nil) != tc.good {
			t.Errorf("%s: %v", tc.reason, err)
		}
	}
	last := start.Add(1800 * day)
	if c := mustSign(t, s.Authorities[0], last).Leaf; !c.NotAfter.Equal(ca.NotAfter) {
		t.Errorf("a certificate outlives its CA: %s, %s", c.NotAfter, ca.NotAfter)
	}
}

// TestTimes: what follows from how long a certificate lasts.
func TestTimes(t *testing.T) {
	tests := []struct {
		reason   string
		terms    Terms
		overlap  time.Duration
		backdate time.Duration
		caDue    time.Duration // after its making
	}{
		{"the defaults", Terms{Lifetime: 2160 * time.Hour, CALifetime: 43800 * time.Hour}, 72 * time.Hour, time.Hour, 29200*time.Hour - 20*time.Minute},
		{"as short as a test's", Terms{Lifetime: 60 * time.Second, CALifetime: 600 * time.Second}, 2 * time.Second, 6 * time.Second, 380 * time.Second},
		{"a CA that cannot vouch for two certificates", Terms{Lifetime: 90 * day, CALifetime: 180 * day}, 3 * day, time.Hour, 90 * day},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			a, err := tc.terms.newAuthority(start)
			if err != nil {
				t.Fatal(err)
			}
			if got := tc.terms.authorityDueAt(a.Certificate).Sub(start); got != tc.caDue {
				t.Errorf("the CA is due after %s instead of %s", got, tc.caDue)
			}
			if tc.terms.Overlap() != tc.overlap || backdate(tc.terms.Lifetime) != tc.backdate {
				t.Errorf("overlap %s, backdated by %s", tc.terms.Overlap(), backdate(tc.terms.Lifetime))
			}
			if renewAt(a.Certificate).Add(2 * tc.overlap).After(warnAt(a.Certificate)) {
				t.Error("a rotation that goes well is warned about")
			}
		})
	}
}
