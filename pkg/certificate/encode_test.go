package certificate

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// encode returns the Secret of a state.
func encode(t *testing.T, s State) (map[string][]byte, map[string]string) {
	t.Helper()
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	return data, s.Annotations()
}

// TestEncode: whatever is stored is read as it was.
func TestEncode(t *testing.T) {
	s := newStages(t)
	for reason, state := range map[string]State{
		"at rest": s.fresh, "added": s.added, "trusted": s.trusted, "switched": s.switched, "done": s.done,
	} {
		data, annotations := encode(t, state)
		got, err := Parse(data, annotations)
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		again, marks := encode(t, got)
		if diff := cmp.Diff(data, again); diff != "" {
			t.Errorf("%s: data (-want +got):\n%s", reason, diff)
		}
		if diff := cmp.Diff(annotations, marks); diff != "" {
			t.Errorf("%s: annotations (-want +got):\n%s", reason, diff)
		}
		for i, a := range state.Authorities {
			if (a.Key == nil) != (got.Authorities[i].Key == nil) || !a.Certificate.Equal(got.Authorities[i].Certificate) {
				t.Errorf("%s: CA %d differs", reason, i)
			}
		}
		if !bytes.Equal(data[AuthoritiesKey], state.Bundle()) {
			t.Errorf("%s: ca.crt is not the caBundle", reason)
		}
	}
}

// TestParseDamage: what is left of a damaged Secret is used.
func TestParseDamage(t *testing.T) {
	s := newStages(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := encode(t, newStages(t).fresh)
	tests := []struct {
		reason string
		damage map[string]string
		says   []string
		// authorities and keys are how many are left.
		authorities, keys int
		serving           bool
	}{
		{"nothing", nil, nil, 2, 2, true},
		{"everything is empty", map[string]string{"ca.crt": "", "ca.key": "", "tls.crt": "", "tls.key": ""}, []string{
			"ca.key: holds no private key", "ca.crt: holds no certificate", "tls.crt and tls.key: ",
		}, 0, 0, false},
		{"the CAs", map[string]string{"ca.crt": "nonsense"}, []string{"ca.crt: holds no certificate"}, 0, 0, true},
		{"one CA among good ones", map[string]string{"ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + string(s.added.Bundle())}, []string{"ca.crt: x509"}, 2, 2, true},
		{"a CA twice, and text between", map[string]string{"ca.crt": string(s.fresh.Bundle()) + "and again:\n" + string(s.added.Bundle())}, nil, 2, 2, true},
		{"the CAs' keys", map[string]string{"ca.key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, []string{"ca.key: "}, 2, 0, true},
		{"a key of another kind", map[string]string{"ca.key": string(pem.EncodeToMemory(&pem.Block{Type: privateKeyBlock, Bytes: rsaKey}))}, []string{"ca.key: a *rsa.PrivateKey is no key of Meshwarden's"}, 2, 0, true},
		{"the key of another CA", map[string]string{"ca.key": string(stranger["ca.key"])}, nil, 2, 0, true},
		{"a key that does not fit", map[string]string{"tls.key": string(stranger["tls.key"])}, []string{"tls.crt and tls.key: tls: private key does not match"}, 2, 2, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			data, annotations := encode(t, s.added)
			for key, value := range tc.damage {
				data[key] = []byte(value)
			}
			got, err := Parse(data, annotations)
			var lines []string
			if err != nil {
				lines = slices.DeleteFunc(strings.Split(err.Error(), "\n"), func(l string) bool { return l == "" })
			}
			if !slices.EqualFunc(lines, tc.says, strings.HasPrefix) {
				t.Errorf("says %q instead of %q", lines, tc.says)
			}
			keys := 0
			for _, a := range got.Authorities {
				if a.Key != nil {
					keys++
				}
			}
			if len(got.Authorities) != tc.authorities || keys != tc.keys || (got.Serving != nil) != tc.serving {
				t.Errorf("%d CAs with %d keys, serving %v", len(got.Authorities), keys, got.Serving != nil)
			}
		})
	}
}

func TestParseMark(t *testing.T) {
	s := newStages(t)
	good := s.trusted.Trusted.String()
	for text, want := range map[string]Mark{
		good: s.trusted.Trusted, "": {}, "yesterday " + s.trusted.Trusted.Of: {}, "2026-03-01T12:00:00Z": {}, start.Format(time.RFC3339) + " ": {},
	} {
		if diff := cmp.Diff(want, parseMark(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestTrusts(t *testing.T) {
	s := newStages(t)
	first, second := s.added.Authorities[0].Certificate, s.added.Authorities[1].Certificate
	tests := []struct {
		reason        string
		bundle        string
		first, second bool
	}{
		{"nothing", "", false, false},
		{"nonsense", "nonsense", false, false},
		{"one", string(s.fresh.Bundle()), true, false},
		{"both", string(s.added.Bundle()), true, true},
		{"somebody else's before ours", string(newStages(t).fresh.Bundle()) + string(s.added.Bundle()), true, true},
	}
	for _, tc := range tests {
		if Trusts([]byte(tc.bundle), first) != tc.first || Trusts([]byte(tc.bundle), second) != tc.second {
			t.Errorf("%s: trusts %v, %v", tc.reason, !tc.first, !tc.second)
		}
	}
	for bundle, want := range map[string]bool{string(s.added.Bundle()): true, string(s.fresh.Bundle()): true, "nonsense": false} {
		if got := IssuerIn([]byte(bundle), s.fresh.Serving.Leaf); (got != nil && got.Equal(first)) != want {
			t.Errorf("vouched for: %v", got != nil)
		}
	}
}
