package audit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// until lets time pass without a round on the way, until one just before the moment and one at it.
func (w *world) until(moment time.Time) {
	w.clock.SetTime(moment.Add(-period))
	w.tick(1)
}

// TestAuditorFollowsTime: nothing changes but the time, and what it does to certificates is told when it comes.
func TestAuditorFollowsTime(t *testing.T) {
	const day = 24 * time.Hour
	issued := time.Unix(0, 0).UTC()
	valid := policy.Material{NotBefore: issued, NotAfter: issued.Add(90 * day), Names: []string{"a.example.com"}}
	renewed := valid
	renewed.NotBefore, renewed.NotAfter = issued.Add(89*day), issued.Add(179*day)
	inWorld(t, func(t *testing.T, w *world) {
		later := certificate("edge", "late", "a.example.com")
		later.Since = issued.Add(200 * day)
		w.put(t, deployment("in", "ingress"), asking("public", "tls"), asking("other", "late"), secret("tls", valid), later)
		w.lead(t)
		w.settle()
		steps := []struct {
			what   string
			moment time.Time
			told   []string
		}{
			{"the certificate is valid", issued.Add(day), nil},
			{"a moment before two weeks are left", issued.Add(76*day - time.Second), nil},
			{"two weeks are left", issued.Add(76 * day), []string{"Credential infra/public"}},
			{"that is told once", issued.Add(80 * day), nil},
			{"it is expired", issued.Add(90 * day), []string{"Credential infra/public"}},
			{"which is told once", issued.Add(91 * day), nil},
		}
		for _, s := range steps {
			w.until(s.moment)
			if diff := cmp.Diff(s.told, w.told()); diff != "" {
				t.Errorf("%s: told (-want +got):\n%s", s.what, diff)
			}
		}
		w.put(t, secret("tls", renewed))
		w.settle()
		if got := w.standing(t); got != 0 {
			t.Errorf("%v findings stand on a renewed certificate", got)
		}
		w.until(renewed.NotAfter)
		if diff := cmp.Diff([]string{"Credential infra/public", "Credential infra/public"}, w.told()); diff != "" {
			t.Errorf("just before the renewed one expires, and when it does: told (-want +got):\n%s", diff)
		}
		w.until(later.Since.Add(time.Hour))
		if diff := cmp.Diff([]string{"Credential infra/other"}, w.told()); diff != "" {
			t.Errorf("after a Certificate was not issued within an hour: told (-want +got):\n%s", diff)
		}
	})
}

// TestAuditorJudgesNothingWhileTimePasses: no Gateway is judged because time passes, but for those whose certificates have come
// to a moment that counts.
func TestAuditorJudgesNothingWhileTimePasses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		now := w.clock.Now()
		w.put(t, deployment("in", "ingress"), asking("public", "tls"), asking("other", "tls-2"), gateway("plain", "a.example.com"))
		w.put(t, secret("tls", policy.Material{NotBefore: now, NotAfter: now.Add(time.Hour), Names: []string{"a.example.com"}}))
		w.lead(t)
		w.settle()
		before := w.cluster.judgements()
		for range 100 {
			w.until(w.clock.Now().Add(20 * time.Second))
		}
		if got := w.cluster.judgements() - before; got != 0 {
			t.Errorf("%d objects were judged while nothing happened", got)
		}
		w.until(now.Add(51 * time.Minute))
		// Once in the round, and once more after what it rests on was read again.
		if got := w.cluster.judgements() - before; got != 2 {
			t.Errorf("%d judgements when one certificate is about to expire, want 2 of one Gateway", got)
		}
	})
}
