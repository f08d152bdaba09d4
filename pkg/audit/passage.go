package audit

import (
	"maps"
	"slices"
	"time"

	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// lookAgain is when to look again at the latest.
const lookAgain = 24 * time.Hour

// passage is the passing of time, which changes verdicts as objects do: a certificate expires and nothing tells of it.
type passage struct {
	// seen is the moment up to which what time has changed was looked at, and next is the first one after it that changes
	// anything, or zero where that is not known.
	seen, next time.Time
}

// renew forgets when the next moment comes if one of the changes may bring another one.
func (p *passage) renew(changed changes) {
	for ref := range changed {
		if dated(ref.Kind) {
			p.next = time.Time{}
			return
		}
	}
}

// dated says whether objects of the kind bring moments with them.
func dated(kind policy.Kind) bool {
	return kind == policy.KindSecret || kind == policy.KindCertificate
}

// touched returns the Gateways whose verdict time alone may have changed since the last call, in order. Most calls find
// nothing to do.
func (p *passage) touched(world *mesh.World) []policy.Ref {
	now := world.Now()
	if !p.next.IsZero() && now.Before(p.next) {
		return nil
	}
	if p.seen.IsZero() {
		p.seen = now
	}
	t := newTouched(world)
	next := now.Add(lookAgain)
	for _, kind := range []policy.Kind{policy.KindSecret, policy.KindCertificate} {
		for _, ref := range world.Refs(kind) {
			o, _ := world.Object(ref)
			for _, moment := range policy.Moments(o) {
				switch {
				case moment.After(now) && moment.Before(next):
					next = moment
				case moment.After(p.seen) && !moment.After(now):
					t.follow(o)
				}
			}
		}
	}
	p.seen, p.next = now, next
	return slices.SortedFunc(maps.Keys(t.refs), compareRefs)
}
