package mesh_test

import (
	"testing"
	"time"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestSecretsKnown(t *testing.T) {
	tests := []struct {
		reason            string
		known             []string
		of, ofAll, ofNone bool
	}{
		{"those of no namespace", nil, false, false, false},
		{"those of one", []string{"edge"}, true, false, false},
		{"all of them", []string{policy.EveryNamespace}, true, true, true},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			m := newModel(t)
			m.KnowSecrets(tc.known...)
			w := m.World()
			if w.SecretsKnown("edge") != tc.of || w.SecretsKnown(policy.EveryNamespace) != tc.ofAll || w.SecretsKnown("shop") != tc.ofNone {
				t.Errorf("edge %t, all %t, shop %t", w.SecretsKnown("edge"), w.SecretsKnown(policy.EveryNamespace), w.SecretsKnown("shop"))
			}
		})
	}
}

func TestNow(t *testing.T) {
	m, moment := newModel(t), time.Unix(1, 0)
	if w := m.World(); !w.Now().IsZero() || !w.At(moment).Now().Equal(moment) || !m.World().Now().IsZero() {
		t.Error("a world has a moment that nobody gave it, or another one than it was given")
	}
}
