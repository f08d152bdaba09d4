package policy_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// textAtMost is how long a text may be: an Event's note holds 1,024 bytes, and not every client says so kindly.
const textAtMost = 1000

func TestText(t *testing.T) {
	tests := []struct {
		reason, message, want string
	}{
		{"rule, message and remedy", "it is wrong", "MW001 of-test: it is wrong. Do this."},
		{"a line break would break the line", "a\nb\r\tc", "MW001 of-test: a?b??c. Do this."},
		{"escape sequences and NUL", "\x1b[31m\x00\x7f\u0085", "MW001 of-test: ?[31m???. Do this."},
		{"text that is not UTF-8", "a\xffb", "MW001 of-test: a?b. Do this."},
		{"other letters stay", "größer, 網", "MW001 of-test: größer, 網. Do this."},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			f := policy.Finding{Rule: "MW001", Name: "of-test", Message: tc.message, Remedy: "Do this."}
			if got := f.Text(); got != tc.want {
				t.Errorf("Text: %q, want %q", got, tc.want)
			}
		})
	}
}

// TestTextLength tries every length around the bound, with letters of one to four bytes at the cut.
func TestTextLength(t *testing.T) {
	const head, remedy = "MW001 of-test: ", "Do this."
	fits := textAtMost - len(head) - len(". "+remedy)
	for _, letter := range []string{"a", "é", "網", "🚪"} {
		for n := fits - 10; n <= fits+10; n++ {
			// The letters begin after n%len others, so that the cut falls on each of their bytes in turn.
			message := strings.Repeat("b", n%len(letter)) + strings.Repeat(letter, n/len(letter))
			text := policy.Finding{Rule: "MW001", Name: "of-test", Message: message, Remedy: remedy}.Text()
			if len(text) > textAtMost || !utf8.ValidString(text) || !strings.HasSuffix(text, ". "+remedy) {
				t.Fatalf("%d bytes of %q: a text of %d bytes that ends in %q", n, letter, len(text), text[len(text)-20:])
			}
			cut := !strings.Contains(text, message)
			if cut != strings.Contains(text, "...") || cut && n <= fits-len("...") {
				t.Fatalf("%d bytes of %q, of which %d fit: cut is %t", n, letter, fits, cut)
			}
			if cut && len(text) < textAtMost-utf8.UTFMax {
				t.Fatalf("%d bytes of %q: cut to %d bytes, which is more than there was need for", n, letter, len(text))
			}
		}
	}
	long := policy.Finding{Rule: "MW001", Remedy: strings.Repeat("r", 2*textAtMost), Message: "message"}
	if text := long.Text(); !strings.HasSuffix(text, long.Remedy) {
		t.Error("a long remedy is cut")
	}
}

func TestIdentity(t *testing.T) {
	original := policy.Finding{
		Rule: "MW102", Name: "host-not-served", Action: policy.Deny, Path: "spec.hosts[0]", Message: "text", Host: "a", Gateway: "b",
		Related: []policy.Ref{{Kind: policy.KindGateway, Key: policy.Key{Namespace: "edge", Name: "public"}}},
	}
	tests := []struct {
		reason string
		change func(*policy.Finding)
		same   bool
	}{
		{"the path moves when an entry is put before it", func(f *policy.Finding) { f.Path = "spec.hosts[1]" }, true},
		{"the wording may name other things", func(f *policy.Finding) { f.Message = "other" }, true},
		{"the action is the platform's", func(f *policy.Finding) { f.Action = policy.Warn }, true},
		{"another rule", func(f *policy.Finding) { f.Rule = "MW103" }, false},
		{"another host", func(f *policy.Finding) { f.Host = "c" }, false},
		{"another gateway", func(f *policy.Finding) { f.Gateway = "c" }, false},
		{"host and gateway swapped", func(f *policy.Finding) { f.Host, f.Gateway = "b", "a" }, false},
		{"another related object", func(f *policy.Finding) {
			f.Related = []policy.Ref{{Kind: policy.KindGateway, Key: policy.Key{Namespace: "edge", Name: "internal"}}}
		}, false},
		{"a related object of another kind", func(f *policy.Finding) {
			f.Related = []policy.Ref{{Kind: policy.KindVirtualService, Key: policy.Key{Namespace: "edge", Name: "public"}}}
		}, false},
		{"no related object", func(f *policy.Finding) { f.Related = nil }, false},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			changed := original
			tc.change(&changed)
			if same := changed.Identity() == original.Identity(); same != tc.same {
				t.Errorf("same finding: %t, want %t", same, tc.same)
			}
		})
	}
}

func TestUnparsable(t *testing.T) {
	ref := policy.Ref{Kind: policy.KindGateway, Key: policy.Key{Namespace: "edge", Name: "public"}}
	want := policy.Finding{
		Rule: "MW000", Name: "unparsable", Action: policy.Warn, Object: ref, Path: "spec", Message: "spec.servers: no",
		Remedy: "Correct the field: Istio ignores an object that it cannot read.",
	}
	if diff := cmp.Diff(want, policy.Unparsable(ref, errors.New("spec.servers: no"), policy.Warn)); diff != "" {
		t.Errorf("Unparsable (-want +got):\n%s", diff)
	}
}

func TestObjectRef(t *testing.T) {
	key := policy.Key{Namespace: "edge", Name: "public"}
	g := policy.NewGateway(policy.Gateway{Key: key})
	tests := []struct {
		reason string
		object policy.Object
		want   string
	}{
		{"a VirtualService", policy.Object{VirtualService: &policy.VirtualService{Key: key}}, "VirtualService edge/public"},
		{"a Gateway", policy.Object{Gateway: g}, "Gateway edge/public"},
		{"a deleted Gateway", policy.Object{Replaced: g}, "Gateway edge/public"},
		{"nothing", policy.Object{}, " /"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := tc.object.Ref().String(); got != tc.want {
				t.Errorf("Ref: %q, want %q", got, tc.want)
			}
		})
	}
}
