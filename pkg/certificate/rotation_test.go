package certificate

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The worlds of TestRotation: certificates that last 30 days, so that Overlap is a day, and nobody who is behind by more
// than a third of that.
const (
	simulatedFor = 150 * day
	behind       = 8 * time.Hour
	replicas     = 3
	apiServers   = 2
)

// version is a state of one stored object, and since when it holds.
type version struct {
	at      time.Time
	number  int
	state   State
	renewal Renewal
	bundle  []byte
	// foreign says that somebody else wrote the bundle.
	foreign bool
}

// history is all states of one stored object, the latest last.
type history []version

func (h history) latest() version { return h[len(h)-1] }

func (h *history) add(v version) {
	v.number = h.latest().number + 1
	*h = append(*h, v)
}

// seen returns what somebody sees whose view is of that time.
func (h history) seen(at time.Time) version {
	i, _ := slices.BinarySearchFunc(h, at, func(v version, at time.Time) int {
		if v.at.After(at) {
			return 1
		}
		return -1
	})
	return h[i-1]
}

// window returns all that somebody may see who is not too far behind.
func (h history) window(now time.Time) []version {
	first := h.seen(now.Add(-behind))
	return slices.DeleteFunc(slices.Clone(h), func(v version) bool { return v.number < first.number })
}

// replica is a replica's view, which is some time behind, and its memory.
type replica struct {
	secretAt, configurationAt [1 + apiServers]time.Time
	remembered                State
}

// simulation is a Secret and two webhook configurations, with replicas that keep them.
type simulation struct {
	t              *testing.T
	random         *rand.Rand
	terms          Terms
	now            time.Time
	secret         history
	configurations [2]history
	replicas       [replicas]replica
	forbidden      time.Time // until then no caBundle can be written
	signed, added  int
	accepted       map[call]bool
}

// call is one of an API server, by its caBundle, to a replica, by its certificate, on one day.
type call struct {
	bundle, certificate string
	day                 int64
}

// TestRotation lets time pass in a world in which everybody is behind, caBundles are stripped or cannot be written,
// Secrets are deleted, replicas restart and people ask for renewals, and demands at each moment that every certificate
// that a replica may be serving is accepted by every API server, whatever caBundle that still knows.
func TestRotation(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := newSimulation(t, rand.New(rand.NewPCG(seed, 1))) //nolint:gosec // the worlds must be the same in each run
			for end := start.Add(simulatedFor); s.now.Before(end) && !t.Failed(); {
				s.now = s.now.Add(time.Duration(s.random.Int64N(int64(4 * time.Hour))))
				s.disturb()
				for i := range s.replicas {
					s.keep(&s.replicas[i])
				}
				s.check()
			}
			if s.signed < 6 || s.added < 2 {
				t.Errorf("in %s, %d certificates and %d CAs: nothing moves", simulatedFor, s.signed, s.added)
			}
		})
	}
}

func newSimulation(t *testing.T, random *rand.Rand) *simulation {
	s := &simulation{t: t, random: random, now: start, accepted: map[call]bool{}, terms: Terms{
		DNSNames: []string{"meshwarden-webhook.meshwarden.svc"}, Lifetime: 30 * day, CALifetime: 90 * day,
	}}
	first, err := Next(Situation{Now: start, Terms: s.terms})
	if err != nil {
		t.Fatal(err)
	}
	past := start.Add(-2 * behind)
	s.secret = history{{at: past, state: first.State}}
	for i := range s.configurations {
		s.configurations[i] = history{{at: past, bundle: first.State.Bundle()}}
	}
	for i := range s.replicas {
		s.replicas[i].remembered = first.State
	}
	return s
}

// once says yes about once in that time, given that it is asked about every two hours.
func (s *simulation) once(in time.Duration) bool {
	return s.random.Int64N(int64(in/(2*time.Hour))) == 0
}

// disturb is the rest of the world.
func (s *simulation) disturb() {
	last := s.secret.latest()
	if s.once(40 * day) {
		s.secret.add(version{at: s.now, state: last.state, renewal: []Renewal{RenewCertificate, RenewAuthority}[s.random.IntN(2)]})
	}
	if s.once(30 * day) { // a GitOps tool strips the caBundle of one configuration
		s.configurations[s.random.IntN(2)].add(version{at: s.now, foreign: true})
	}
	if s.once(60 * day) {
		s.forbidden = s.now.Add(time.Duration(s.random.Int64N(int64(5 * day))))
	}
	if s.once(30*day) && s.replicas[0].remembered.Serving != nil {
		s.secret.add(version{at: s.now})
	}
	if s.once(10*day) && last.state.Serving != nil && s.secret.latest().number == last.number {
		s.replicas[s.random.IntN(replicas)] = replica{remembered: last.state}
	}
}

// view moves a view forward, to a time that is not too far behind, and returns it.
func (s *simulation) view(of *time.Time) time.Time {
	at := s.now.Add(-time.Duration(s.random.Int64N(int64(behind))))
	if s.random.IntN(3) == 0 {
		at = s.now
	}
	if at.After(*of) {
		*of = at
	}
	return *of
}

// keep is what the keeper of one replica does.
func (s *simulation) keep(r *replica) {
	seen := s.secret.seen(s.view(&r.secretAt[0]))
	good := seen.state.Issuer(s.now, s.terms.DNSNames) >= 0
	if good {
		r.remembered = seen.state
	}
	var bundles [][]byte
	for i := range s.configurations {
		c := s.configurations[i].seen(s.view(&r.configurationAt[i]))
		bundles = append(bundles, c.bundle)
		current := c.number == s.configurations[i].latest().number
		if good && current && !bytes.Equal(c.bundle, seen.state.Bundle()) && !s.now.Before(s.forbidden) {
			s.configurations[i].add(version{at: s.now, bundle: seen.state.Bundle()})
		}
	}
	next, err := Next(Situation{Stored: seen.state, Remembered: r.remembered, Renewal: seen.renewal, Bundles: bundles, Now: s.now, Terms: s.terms})
	if err != nil {
		s.t.Fatal(err)
	}
	if seen.number != s.secret.latest().number || len(next.Changes) == 0 {
		return
	}
	renewal := seen.renewal
	if next.Begun {
		renewal = NoRenewal
	}
	s.secret.add(version{at: s.now, state: next.State, renewal: renewal})
	for _, c := range next.Changes {
		switch c {
		case Signed:
			s.signed++
		case AuthorityAdded:
			s.added++
		}
	}
}

// check lets every API server call every replica.
func (s *simulation) check() {
	s.t.Helper()
	for _, served := range s.secret.window(s.now) {
		if served.state.Serving == nil {
			continue // deleted: the replicas go on with what they have
		}
		for i := range s.configurations {
			for _, c := range s.configurations[i].window(s.now) {
				if c.foreign {
					continue
				}
				this := call{bundle: string(c.bundle), certificate: string(served.state.Serving.Certificate[0]), day: s.now.Unix() / int64(day/time.Second)}
				if s.accepted[this] {
					continue
				}
				roots, err := parseCertificates(c.bundle)
				if err != nil {
					s.t.Fatal(err)
				}
				s.accepted[this] = verifies(served.state.Serving, s.now, s.terms.DNSNames, roots...)
				if !s.accepted[this] {
					s.t.Fatalf("after %s: the certificate stored at %s, by %s, is refused by the caBundle written at %s with %v", s.now.Sub(start),
						served.at.Sub(start), served.state.Serving.Leaf.Issuer.CommonName, c.at.Sub(start), names(roots))
				}
			}
		}
	}
}

func names(certificates []*x509.Certificate) []string {
	var all []string
	for _, c := range certificates {
		all = append(all, c.Subject.CommonName)
	}
	return all
}
