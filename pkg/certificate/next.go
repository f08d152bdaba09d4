package certificate

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Renewal is a renewal that somebody asks for.
type Renewal string

// The renewals that can be asked for.
const (
	NoRenewal        Renewal = ""
	RenewCertificate Renewal = "certificate"
	RenewAuthority   Renewal = "ca"
)

// ParseRenewal returns the renewal that the value of RenewAnnotation asks for.
func ParseRenewal(value string) (Renewal, error) {
	switch r := Renewal(value); r {
	case NoRenewal, RenewCertificate, RenewAuthority:
		return r, nil
	}
	return NoRenewal, fmt.Errorf("annotation %s: unknown value %q: use %s or %s", RenewAnnotation, value, RenewCertificate, RenewAuthority)
}

// Situation is all that the next step depends on.
type Situation struct {
	// Stored is what the Secret holds; nothing when there is no Secret.
	Stored State
	// Remembered is what it held when this replica last found it good.
	Remembered State
	Renewal    Renewal
	// Bundles are the caBundles of every webhook that is registered. Where none is, none has to come to trust a CA.
	Bundles [][]byte
	Now     time.Time
	Terms   Terms
}

// Change is one thing that a step does, in the words of a log.
type Change string

// The changes that a step may consist of.
const (
	Restored         Change = "restored from memory"
	AuthorityAdded   Change = "CA added"
	AuthorityRemoved Change = "CA removed"
	Signed           Change = "serving certificate signed"
	Noted            Change = "progress noted"
)

// Step is what is to be done.
type Step struct {
	// State is what the Secret is to hold. If there is no change, it holds that already.
	State   State
	Changes []Change
	// Begun says that the renewal that was asked for has begun, and need not be asked for any more.
	Begun bool
	// Again is when to look again, if nothing else changes before.
	Again time.Time
}

// Next returns the next step. It is a pure function, apart from the randomness of new keys, and fails only where a key
// or a certificate cannot be made. See the package's documentation for the order of the steps.
func Next(in Situation) (Step, error) {
	r := &rotation{Situation: in, Step: Step{State: in.Stored}}
	if r.issuer() < 0 && in.Remembered.Issuer(in.Now, in.Terms.DNSNames) >= 0 {
		r.State = in.Remembered
		r.did(Restored)
	}
	r.State.Authorities = slices.Clone(r.State.Authorities)
	r.expire()
	if err := r.addAuthority(); err != nil {
		return Step{}, err
	}
	r.noteTrust()
	if err := r.sign(); err != nil {
		return Step{}, err
	}
	r.retire()
	r.lookAgainAtEnds()
	return r.Step, nil
}

// rotation is a Step in the making.
type rotation struct {
	Situation
	Step
}

func (r *rotation) did(c Change) {
	if !slices.Contains(r.Changes, c) {
		r.Changes = append(r.Changes, c)
	}
}

// again asks for another look then, if that is to come.
func (r *rotation) again(at time.Time) {
	if at.After(r.Now) && (r.Again.IsZero() || at.Before(r.Again)) {
		r.Again = at
	}
}

func (r *rotation) issuer() int { return r.State.Issuer(r.Now, r.Terms.DNSNames) }

// expire removes the CAs that nobody trusts, whatever the bundle says: those whose time is over, and those whose time has
// not come, because somebody's clock was ahead.
func (r *rotation) expire() {
	before := len(r.State.Authorities)
	r.State.Authorities = slices.DeleteFunc(r.State.Authorities, func(a Authority) bool {
		return r.Now.After(a.Certificate.NotAfter) || r.Now.Before(a.Certificate.NotBefore)
	})
	if len(r.State.Authorities) < before {
		r.did(AuthorityRemoved)
	}
}

// addAuthority adds a CA where there is none that can sign, or where the one in use gets old. While a new one is not in
// use yet, no further one follows: so one CA at most waits for trust.
func (r *rotation) addAuthority() error {
	newest := r.State.newest()
	if newest >= 0 && r.State.Authorities[newest].Key != nil {
		due := r.Terms.authorityDueAt(r.State.Authorities[newest].Certificate)
		if r.issuer() != newest {
			return nil
		}
		if r.Now.Before(due) && r.Renewal != RenewAuthority {
			r.again(due)
			return nil
		}
	}
	a, err := r.Terms.newAuthority(r.Now)
	if err != nil {
		return err
	}
	r.State.Authorities = append(r.State.Authorities, a)
	r.Begun = r.Begun || r.Renewal == RenewAuthority
	r.did(AuthorityAdded)
	return nil
}

// noteTrust keeps the mark of a CA that is not in use yet.
func (r *rotation) noteTrust() {
	newest := r.State.Authorities[r.State.newest()].Certificate
	marked := r.State.Trusted.of(newest, r.Now)
	waits := r.State.newest() > 0 && r.issuer() != r.State.newest()
	carried := waits && r.carried(newest)
	switch {
	case carried && !marked:
		r.State.Trusted = Mark{Of: fingerprint(newest), Since: r.Now}
		r.did(Noted)
	case !carried && r.State.Trusted != Mark{}:
		r.State.Trusted = Mark{}
		r.did(Noted)
	}
}

// carried says whether every registered webhook trusts the CA.
func (r *rotation) carried(ca *x509.Certificate) bool {
	return !slices.ContainsFunc(r.Bundles, func(bundle []byte) bool { return !Trusts(bundle, ca) })
}

// signer returns the index of the CA that may sign, or -1: the newest one when it is in use or has been trusted for
// long enough, otherwise the one before that still has its key.
func (r *rotation) signer() int {
	newest := r.State.newest()
	ripe := r.State.Trusted.Since.Add(r.Terms.Overlap())
	switch {
	case r.issuer() == newest:
		return newest
	case r.State.Trusted.Of == "": // it waits for the webhook configurations, not for time to pass
	case r.Now.Before(ripe):
		r.again(ripe)
	default:
		return newest
	}
	for i, a := range slices.Backward(r.State.Authorities[:newest]) {
		if a.Key != nil {
			return i
		}
	}
	return -1
}

// sign replaces the serving certificate where that is broken or old, or where a newer CA may sign.
func (r *rotation) sign() error {
	issuer, signer := r.issuer(), r.signer()
	switch {
	case issuer < 0 && signer < 0:
		// Nothing can be served without interruption any more.
		signer = r.State.newest()
	case issuer < 0, signer > issuer:
	case signer < 0:
		return nil
	case r.Renewal == RenewCertificate:
	case r.Now.Before(renewAt(r.State.Serving.Leaf)):
		r.again(renewAt(r.State.Serving.Leaf))
		return nil
	case !r.Terms.servingEnd(r.State.Authorities[signer].Certificate, r.Now).After(r.State.Serving.Leaf.NotAfter):
		return nil // it would last no longer than the one that there is
	}
	serving, err := r.Terms.sign(r.State.Authorities[signer], r.Now)
	if err != nil {
		return err
	}
	r.State.Serving = serving
	r.State.Served = Mark{Of: fingerprint(serving.Leaf), Since: r.Now}
	if signer == r.State.newest() {
		r.State.Trusted = Mark{}
	}
	r.Begun = r.Begun || r.Renewal == RenewCertificate
	r.again(renewAt(serving.Leaf))
	r.did(Signed)
	return nil
}

// retire takes their keys from CAs that have a successor in use, and drops them once nobody serves what they signed.
func (r *rotation) retire() {
	issuer := r.issuer()
	if issuer <= 0 {
		return
	}
	for i := range r.State.Authorities[:issuer] {
		if r.State.Authorities[i].Key != nil {
			r.State.Authorities[i].Key = nil
			r.did(Noted)
		}
	}
	if !r.State.Served.of(r.State.Serving.Leaf, r.Now) {
		r.State.Served = Mark{Of: fingerprint(r.State.Serving.Leaf), Since: r.Now}
		r.did(Noted)
	}
	gone := r.State.Served.Since.Add(r.Terms.Overlap())
	if r.Now.Before(gone) {
		r.again(gone)
		return
	}
	r.State.Authorities = r.State.Authorities[issuer:]
	r.did(AuthorityRemoved)
}

// lookAgainAtEnds asks for another look when something expires, whatever keeps it from being replaced before.
func (r *rotation) lookAgainAtEnds() {
	for _, a := range r.State.Authorities {
		r.again(a.Certificate.NotAfter.Add(time.Nanosecond))
	}
	if r.State.Serving != nil {
		r.again(r.State.Serving.Leaf.NotAfter.Add(time.Nanosecond))
	}
}
