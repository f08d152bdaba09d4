package certificate

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const day = 24 * time.Hour

// start is when the worlds of these tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testTerms() Terms {
	return Terms{DNSNames: []string{"meshwarden-webhook.meshwarden.svc"}, Lifetime: 90 * day, CALifetime: 1825 * day}
}

// step returns the next step, and fails the test if there is none.
func step(t *testing.T, in Situation) Step {
	t.Helper()
	s, err := Next(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stages are the states of one rotation, each made by the step from the one before, with the time of it.
type stages struct {
	fresh, added, trusted, switched, done State
	addedAt, switchedAt, doneAt           time.Time
}

func newStages(t *testing.T) stages {
	t.Helper()
	var s stages
	overlap := testTerms().Overlap()
	s.fresh = step(t, Situation{Now: start, Terms: testTerms()}).State
	s.addedAt = start.Add(10 * day)
	before := [][]byte{s.fresh.Bundle()}
	s.added = step(t, Situation{Stored: s.fresh, Now: s.addedAt, Renewal: RenewAuthority, Bundles: before, Terms: testTerms()}).State
	after := [][]byte{s.added.Bundle(), s.added.Bundle()}
	s.trusted = step(t, Situation{Stored: s.added, Now: s.addedAt, Bundles: after, Terms: testTerms()}).State
	s.switchedAt = s.addedAt.Add(overlap)
	s.switched = step(t, Situation{Stored: s.trusted, Now: s.switchedAt, Bundles: after, Terms: testTerms()}).State
	s.doneAt = s.switchedAt.Add(overlap)
	s.done = step(t, Situation{Stored: s.switched, Now: s.doneAt, Bundles: after, Terms: testTerms()}).State
	return s
}

func TestNext(t *testing.T) {
	s := newStages(t)
	terms := testTerms()
	overlap := terms.Overlap()
	carries := func(states ...State) [][]byte {
		var all [][]byte
		for _, s := range states {
			all = append(all, s.Bundle())
		}
		return all
	}
	keyless := func(s State) State {
		s.Authorities = slices.Clone(s.Authorities)
		for i := range s.Authorities {
			s.Authorities[i].Key = nil
		}
		return s
	}
	with := func(s State, change func(*State)) State {
		s.Authorities = slices.Clone(s.Authorities)
		change(&s)
		return s
	}
	leafDue, caDue := renewAt(s.fresh.Serving.Leaf), renewAt(s.fresh.Authorities[0].Certificate)
	tests := []struct {
		reason string
		in     Situation
		want   []Change
		// authorities and issuer are how many CAs there are afterwards, and which of them signed.
		authorities, issuer int
		begun               bool
		again               time.Time // zero: not looked at
	}{
		{
			reason: "nothing is there: a CA and a certificate",
			in:     Situation{Now: start},
			want:   []Change{AuthorityAdded, Signed}, authorities: 1, again: leafDue.Add(time.Duration(0)),
		},
		{
			reason: "the state of rest: nothing to do until the certificate is due",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(day)}, authorities: 1, again: leafDue,
		},
		{
			reason: "at rest, it does not matter what the configurations trust",
			in:     Situation{Stored: s.fresh, Bundles: [][]byte{nil, []byte("nonsense")}, Now: start.Add(day)}, authorities: 1,
		},
		{
			reason: "two thirds of the certificate's life are over",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: leafDue},
			want:   []Change{Signed}, authorities: 1,
		},
		{
			reason: "the certificate has expired, as after a long rest of the cluster",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(100 * day)},
			want:   []Change{Signed}, authorities: 1,
		},
		{
			reason: "somebody asks for a certificate",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(day), Renewal: RenewCertificate},
			want:   []Change{Signed}, authorities: 1, begun: true,
		},
		{
			reason: "the certificate is for another name",
			in: Situation{
				Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(day),
				Terms: Terms{DNSNames: []string{"meshwarden-webhook.other.svc"}, Lifetime: terms.Lifetime, CALifetime: terms.CALifetime},
			},
			want: []Change{Signed}, authorities: 1,
		},
		{
			reason: "the serving certificate cannot be read: the CA signs another one",
			in:     Situation{Stored: with(s.fresh, func(s *State) { s.Serving = nil }), Bundles: carries(s.fresh), Now: start.Add(day)},
			want:   []Change{Signed}, authorities: 1,
		},
		{
			reason: "the serving certificate is of a CA that nobody trusts",
			in:     Situation{Stored: with(s.fresh, func(to *State) { to.Serving = s.switched.Serving }), Bundles: carries(s.fresh), Now: s.switchedAt},
			want:   []Change{Signed}, authorities: 1,
		},
		{
			reason: "a certificate and two thirds of the CA's life are over, as after a long rest: the trusted CA signs first",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: caDue},
			want:   []Change{Signed}, authorities: 1,
		},
		{
			reason: "everything has expired",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(2000 * day)},
			want:   []Change{AuthorityRemoved, AuthorityAdded, Signed}, authorities: 1,
		},
		{
			reason: "the clock was ahead when all was made: the CA is not valid yet",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(-2 * time.Hour)},
			want:   []Change{AuthorityRemoved, AuthorityAdded, Signed}, authorities: 1,
		},
		{
			reason: "the CA's key is lost: another CA, and the certificate stays until that is trusted",
			in:     Situation{Stored: keyless(s.fresh), Bundles: carries(s.fresh), Now: start.Add(day)},
			want:   []Change{AuthorityAdded}, authorities: 2,
		},
		{
			reason: "the CA's key is lost and the certificate due: still nobody is trusted who could sign",
			in:     Situation{Stored: keyless(s.fresh), Bundles: carries(s.fresh), Now: leafDue},
			want:   []Change{AuthorityAdded}, authorities: 2,
		},
		{
			reason: "the CA's key and the certificate are lost: a CA that nobody trusts yet signs at once",
			in:     Situation{Stored: keyless(with(s.fresh, func(s *State) { s.Serving = nil })), Bundles: carries(s.fresh), Now: start.Add(day)},
			want:   []Change{AuthorityAdded, Signed}, authorities: 2, issuer: 1,
		},
		{
			reason: "somebody asks for a CA: it is added and does not sign",
			in:     Situation{Stored: s.fresh, Bundles: carries(s.fresh), Now: start.Add(day), Renewal: RenewAuthority},
			want:   []Change{AuthorityAdded}, authorities: 2, begun: true, again: leafDue,
		},
		{
			reason: "no webhook is registered: there is nobody to wait for but replicas and API servers that are behind",
			in:     Situation{Stored: s.fresh, Now: start.Add(day), Renewal: RenewAuthority},
			want:   []Change{AuthorityAdded, Noted}, authorities: 2, begun: true, again: start.Add(day).Add(overlap),
		},
		{
			reason: "a CA is asked for while another one waits for trust: the request waits as well",
			in:     Situation{Stored: s.added, Bundles: carries(s.fresh), Now: s.addedAt, Renewal: RenewAuthority}, authorities: 2,
		},
		{
			reason: "the old CA is far past its time while the new one waits for trust: no third one",
			in:     Situation{Stored: with(s.added, func(to *State) { to.Serving = mustSign(t, s.added.Authorities[0], caDue) }), Bundles: carries(s.fresh), Now: caDue}, authorities: 2,
		},
		{
			reason: "one webhook of two does not trust the new CA",
			in:     Situation{Stored: s.added, Bundles: carries(s.added, s.fresh), Now: s.addedAt}, authorities: 2,
		},
		{
			reason: "all webhooks trust the new CA: from now on time counts",
			in:     Situation{Stored: s.added, Bundles: carries(s.added, s.added), Now: s.addedAt},
			want:   []Change{Noted}, authorities: 2, again: s.addedAt.Add(overlap),
		},
		{
			reason: "trusted, but not for long enough",
			in:     Situation{Stored: s.trusted, Bundles: carries(s.added), Now: s.switchedAt.Add(-1)}, authorities: 2, again: s.switchedAt,
		},
		{
			reason: "trusted for long enough: the new CA signs, and the old one's key goes",
			in:     Situation{Stored: s.trusted, Bundles: carries(s.added), Now: s.switchedAt},
			want:   []Change{Signed, Noted}, authorities: 2, issuer: 1, again: s.doneAt,
		},
		{
			reason: "trusted for long enough, and then not any more: time counts anew",
			in:     Situation{Stored: s.trusted, Bundles: carries(s.added, s.fresh), Now: s.switchedAt},
			want:   []Change{Noted}, authorities: 2,
		},
		{
			reason: "the mark of trust is about another CA, as after somebody edited the Secret",
			in: Situation{
				Stored:  with(s.trusted, func(to *State) { to.Trusted.Of = fingerprint(s.fresh.Authorities[0].Certificate) }),
				Bundles: carries(s.added), Now: s.switchedAt,
			},
			want: []Change{Noted}, authorities: 2, again: s.switchedAt.Add(overlap),
		},
		{
			reason: "the mark of trust is of a clock that was ahead",
			in: Situation{
				Stored:  with(s.trusted, func(to *State) { to.Trusted.Since = s.switchedAt.Add(time.Hour) }),
				Bundles: carries(s.added), Now: s.switchedAt,
			},
			want: []Change{Noted}, authorities: 2, again: s.switchedAt.Add(overlap),
		},
		{
			reason: "the certificate is due while the new CA waits for trust: the old one signs",
			in:     Situation{Stored: s.added, Bundles: carries(s.fresh), Now: leafDue},
			want:   []Change{Signed}, authorities: 2,
		},
		{
			reason: "the certificate is lost while the new CA waits for trust: the old one signs",
			in:     Situation{Stored: with(s.added, func(s *State) { s.Serving = nil }), Bundles: carries(s.fresh), Now: s.addedAt},
			want:   []Change{Signed}, authorities: 2,
		},
		{
			reason: "the old CA ends before another certificate of it would: nothing is gained by signing",
			in: Situation{
				Stored:  with(s.added, func(to *State) { to.Serving = mustSign(t, s.added.Authorities[0], start.Add(1800*day)) }),
				Bundles: carries(s.fresh), Now: start.Add(1824 * day),
			},
			authorities: 2, again: s.fresh.Authorities[0].Certificate.NotAfter.Add(1),
		},
		{
			reason: "in use, but an old certificate may still be served somewhere",
			in:     Situation{Stored: s.switched, Bundles: carries(s.added), Now: s.doneAt.Add(-1)}, authorities: 2, issuer: 1, again: s.doneAt,
		},
		{
			reason: "in use for long enough: the old CA goes",
			in:     Situation{Stored: s.switched, Bundles: carries(s.added), Now: s.doneAt},
			want:   []Change{AuthorityRemoved}, authorities: 1,
		},
		{
			reason: "since when it is in use was lost: time counts anew",
			in:     Situation{Stored: with(s.switched, func(s *State) { s.Served = Mark{} }), Bundles: carries(s.added), Now: s.doneAt},
			want:   []Change{Noted}, authorities: 2, issuer: 1, again: s.doneAt.Add(overlap),
		},
		{
			reason: "a CA is asked for while the one before the last is still trusted",
			in:     Situation{Stored: s.switched, Bundles: carries(s.added), Now: s.switchedAt, Renewal: RenewAuthority},
			want:   []Change{AuthorityAdded}, authorities: 3, issuer: 1, begun: true,
		},
		{
			reason: "the Secret is gone, and the replica remembers it",
			in:     Situation{Remembered: s.trusted, Bundles: carries(s.added), Now: s.addedAt.Add(time.Hour)},
			want:   []Change{Restored}, authorities: 2,
		},
		{
			reason: "the Secret is damaged, and the replica remembers it",
			in:     Situation{Stored: with(s.done, func(s *State) { s.Authorities = nil }), Remembered: s.done, Bundles: carries(s.done), Now: s.doneAt},
			want:   []Change{Restored}, authorities: 1,
		},
		{
			reason: "the Secret is gone, and what the replica remembers has expired",
			in:     Situation{Remembered: s.fresh, Bundles: carries(s.fresh), Now: start.Add(100 * day)},
			want:   []Change{AuthorityAdded, Signed}, authorities: 1,
		},
		{
			reason: "the Secret is good: what the replica remembers does not matter",
			in:     Situation{Stored: s.done, Remembered: s.fresh, Bundles: carries(s.done), Now: s.doneAt}, authorities: 1,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if tc.in.Terms.DNSNames == nil {
				tc.in.Terms = terms
			}
			before := slices.Clone(tc.in.Stored.Authorities)
			got := step(t, tc.in)
			if diff := cmp.Diff(tc.want, got.Changes, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			issuer := got.State.Issuer(tc.in.Now, tc.in.Terms.DNSNames)
			if len(got.State.Authorities) != tc.authorities || issuer != tc.issuer || got.Begun != tc.begun {
				t.Errorf("%d CAs, signed by %d, begun %v", len(got.State.Authorities), issuer, got.Begun)
			}
			if !tc.again.IsZero() && !got.Again.Equal(tc.again) {
				t.Errorf("looks again at %s instead of %s", got.Again, tc.again)
			}
			if !got.Again.After(tc.in.Now) {
				t.Errorf("looks again at %s, which has been", got.Again)
			}
			for i, a := range before {
				if tc.in.Stored.Authorities[i] != a {
					t.Error("the stored state was changed in place")
				}
			}
			if again := step(t, Situation{Stored: got.State, Bundles: tc.in.Bundles, Now: tc.in.Now, Terms: tc.in.Terms}); slices.Contains(again.Changes, Signed) {
				t.Errorf("signs again at once: %v", again.Changes)
			}
		})
	}
}

// TestKeysGo: a CA that has a successor in use cannot sign any more, before it ceases to be trusted.
func TestKeysGo(t *testing.T) {
	s := newStages(t)
	tests := []struct {
		reason string
		state  State
		want   []bool
	}{
		{"at rest", s.fresh, []bool{true}},
		{"the new one waits: both may have to sign", s.trusted, []bool{true, true}},
		{"the new one is in use", s.switched, []bool{false, true}},
		{"the old one is gone", s.done, []bool{true}},
	}
	for _, tc := range tests {
		var got []bool
		for _, a := range tc.state.Authorities {
			got = append(got, a.Key != nil)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: keys (-want +got):\n%s", tc.reason, diff)
		}
	}
}

func TestParseRenewal(t *testing.T) {
	for value, good := range map[string]bool{"": true, "certificate": true, "ca": true, "CA": false, "now": false} {
		if _, err := ParseRenewal(value); (err == nil) != good {
			t.Errorf("%q: %v", value, err)
		}
	}
}
