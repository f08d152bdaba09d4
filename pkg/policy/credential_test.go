package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// day is a moment of the year 2030, in which the certificates of these tests live.
func day(n int) time.Time {
	return time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n)
}

// asking returns a Gateway with a server for the hosts that asks for the Secret tls, whose workload has to run in its namespace.
func asking(mode policy.TLSMode, hosts ...policy.HostName) *policy.Gateway {
	s := policy.Server{
		Port: policy.Port{Number: 443, Name: "https", Protocol: "HTTPS"}, TLS: mode,
		Credentials: []policy.Credential{{Field: "tls.credentialName", Name: "tls"}},
	}
	for _, h := range hosts {
		s.Hosts = append(s.Hosts, policy.ServerHost{Namespace: policy.EveryNamespace, Name: h})
	}
	return policy.NewGateway(policy.Gateway{Key: policy.Key{Namespace: "edge", Name: "public"}, Servers: []policy.Server{s}})
}

// judged returns what MW209 says of the Gateway at the moment, in a mesh whose Secrets are known and whose Gateways are scoped.
func judged(t *testing.T, now time.Time, g *policy.Gateway, resources ...policy.Resource) []policy.Finding {
	t.Helper()
	m, err := mesh.New()
	if err != nil {
		t.Fatal(err)
	}
	m.KnowSecrets(policy.EveryNamespace)
	if err := m.Configure(policy.Settings{ScopeGateways: true}); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(append(resources, g)...); err != nil {
		t.Fatal(err)
	}
	rules := slices.DeleteFunc(policy.Rules(), func(r policy.Rule) bool { return r.ID != "MW209" })
	return policy.Evaluate(m.World().At(now), policy.Object{Gateway: g, Standing: true}, rules)
}

// key names the Secret that asking asks for, and the Certificate that writes it.
func key() policy.Key { return policy.Key{Namespace: "edge", Name: "tls"} }

// TestCredentialOverTime: one object is judged otherwise as time passes, and at no other moments than it says.
func TestCredentialOverTime(t *testing.T) {
	secret := func(from, to int) *policy.Secret {
		return &policy.Secret{Key: key(), Pair: policy.Material{NotBefore: day(from), NotAfter: day(to), Names: []string{"a.example.com"}}, CA: policy.Material{Absent: true}}
	}
	certificate := func(c policy.Certificate) *policy.Certificate {
		c.Key, c.SecretName, c.Names = key(), "tls", []string{"a.example.com"}
		return &c
	}
	issued := func(to, issuerTo int) *policy.Secret {
		s := secret(0, to)
		s.Pair.Issuer, s.Pair.IssuerNotAfter = `"CN=issuing"`, day(issuerTo)
		return s
	}
	ca := secret(0, 3650)
	ca.CA = policy.Material{NotBefore: day(0), NotAfter: day(100)}
	tests := []struct {
		reason string
		mode   policy.TLSMode
		object policy.Resource
		// from is the first day of each thing that is said, in order, beginning with what is said on day -1; "" for nothing.
		first string
		from  map[int]string
	}{
		{
			"a year: two weeks before the end", policy.TLSSimple, secret(0, 365), "not valid before",
			map[int]string{0: "", 351: "expires on", 365: "expired on"},
		},
		{
			"six days: the last one", policy.TLSSimple, secret(0, 6), "not valid before",
			map[int]string{0: "", 5: "expires on", 6: "expired on"},
		},
		{
			"a year, and an intermediate certificate that ends before it", policy.TLSSimple, issued(365, 200), "not valid before",
			map[int]string{
				0: "", 186: `"CN=issuing" beside it, expires on 2030-07-20`, 200: `"CN=issuing" beside it, expired on 2030-07-20`,
				365: "expired on 2031-01-01",
			},
		},
		{
			"an intermediate certificate that ends a few days before: the first end is told of", policy.TLSSimple, issued(365, 360), "not valid before",
			map[int]string{
				0: "", 346: `"CN=issuing" beside it, expires on 2030-12-27`, 360: `"CN=issuing" beside it, expired on 2030-12-27`,
				365: "expired on 2031-01-01",
			},
		},
		{
			"an intermediate certificate that ends a few days after: renewing brings another", policy.TLSSimple, issued(365, 370), "not valid before",
			map[int]string{0: "", 351: "holds a certificate that expires on 2031-01-01", 365: "holds a certificate that expired on 2031-01-01"},
		},
		{
			"a CA", policy.TLSMutual, ca, "not valid before",
			map[int]string{0: "", 86: "expires on", 100: "expired on"},
		},
		{
			"a Certificate: half of the time for its renewal", policy.TLSSimple,
			certificate(policy.Certificate{Ready: true, NotBefore: day(0), NotAfter: day(90), Renewal: day(60)}), "",
			map[int]string{75: "renewal is due since 2030-03-02", 90: "expired on"},
		},
		{
			"a Certificate that is not to be renewed", policy.TLSSimple,
			certificate(policy.Certificate{Ready: true, NotBefore: day(0), NotAfter: day(365)}), "",
			map[int]string{351: "no renewal is scheduled", 365: "expired on"},
		},
		{
			"a Certificate that is never issued", policy.TLSSimple,
			certificate(policy.Certificate{Since: day(0).Add(-time.Hour)}), "",
			map[int]string{0: "is not ready since"},
		},
		{
			"a Certificate that is ready", policy.TLSSimple, certificate(policy.Certificate{Ready: true, Since: day(0)}), "", nil,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			g, said := asking(tc.mode, "a.example.com"), tc.first
			for d := -1; d <= 400; d++ {
				change, changes := tc.from[d]
				if changes {
					said = change
				}
				text := ""
				if found := judged(t, day(d), g, tc.object); len(found) > 0 {
					text = found[0].Message
				}
				if !strings.Contains(text, said) || said == "" && text != "" {
					t.Fatalf("day %d: %q is said, want %q", d, text, said)
				}
				if moment := slices.ContainsFunc(policy.Moments(tc.object), day(d).Equal); changes && !moment {
					t.Errorf("day %d: it says otherwise than before, but this is none of its moments: %v", d, policy.Moments(tc.object))
				}
			}
			if found := judged(t, time.Time{}, g, tc.object); len(found) > 0 {
				t.Errorf("without a moment something is said that depends on one: %q", found[0].Message)
			}
		})
	}
}

// TestExpiryIsNews: that a certificate is about to expire and that it has expired are two findings, or nobody would be told the
// second time.
func TestExpiryIsNews(t *testing.T) {
	secret := &policy.Secret{Key: key(), Pair: policy.Material{NotBefore: day(0), NotAfter: day(90), Names: []string{"a.example.com"}}}
	before, after := judged(t, day(89), asking(policy.TLSSimple, "a.example.com"), secret), judged(t, day(90), asking(policy.TLSSimple, "a.example.com"), secret)
	if len(before) != 1 || len(after) != 1 || before[0].Identity() == after[0].Identity() {
		t.Errorf("%v, then %v", before, after)
	}
}

func TestNamesCoverHosts(t *testing.T) {
	tests := []struct {
		reason      string
		host        policy.HostName
		names, left []string
	}{
		{"the name itself", "a.example.com", []string{"b.example.com", "a.example.com"}, nil},
		{"another letter case", "A.example.com", []string{"a.Example.com"}, nil},
		{"a wildcard for one label", "a.example.com", []string{"*.example.com"}, nil},
		{"a wildcard in another letter case", "a.example.com", []string{"*.Example.com"}, nil},
		{"a wildcard for two labels", "a.b.example.com", []string{"*.example.com"}, []string{"a.b.example.com"}},
		{"a wildcard for none", "example.com", []string{"*.example.com"}, []string{"example.com"}},
		{"the same wildcard", "*.example.com", []string{"*.example.com"}, nil},
		{"a wildcard above a wildcard", "*.a.example.com", []string{"*.example.com"}, []string{"*.a.example.com"}},
		{"single names under a wildcard", "*.example.com", []string{"a.example.com", "b.example.com"}, []string{"*.example.com"}},
		{"part of a label", "www.example.com", []string{"w*.example.com", "*w.example.com"}, []string{"www.example.com"}},
		{"no name", "a.example.com", nil, []string{"a.example.com"}},
		{"every host has no name", "*", nil, nil},
		{"neither have a pattern of Istio's own", "*-a.example.com", nil, nil},
		{"and an address", "10.0.0.1", nil, nil},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			secret := &policy.Secret{Key: key(), Pair: policy.Material{Names: tc.names, NotBefore: day(0), NotAfter: day(900)}}
			var left []string
			for _, f := range judged(t, day(1), asking(policy.TLSSimple, tc.host), secret) {
				_, uncovered, _ := strings.Cut(f.Message, "does not cover ")
				left = append(left, uncovered)
			}
			if diff := cmp.Diff(tc.left, left, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("hosts that are not covered (-want +got):\n%s", diff)
			}
		})
	}
}

// TestSealedSecretIsNotJudged: a Secret that is encrypted is there, and that is all.
func TestSealedSecretIsNotJudged(t *testing.T) {
	sealed := &policy.Secret{Key: key(), Sealed: true}
	if found := judged(t, day(1), asking(policy.TLSMutual, "a.example.com"), sealed); len(found) > 0 {
		t.Errorf("something is said of a Secret of which nothing is known: %v", found)
	}
}
