package preflight

import (
	"fmt"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// onboarded notes the namespaces that Meshwarden takes for those of applications, now or once it is installed: the bootstrap labels what
// it creates, and a namespace that is there already keeps the labels that it has. That Meshwarden is configured to leave it alone is not
// seen here.
func onboarded(t Target, s snapshot) []Finding {
	excluded := policy.NewExclusions("", policy.DefaultExclusions()...)
	var notes []Finding
	for _, o := range t.Namespaces {
		namespace, exists := s.namespaces[o.GetName()]
		if !exists || excluded.Has(o.GetName()) {
			continue
		}
		n := policy.Namespace{Labels: namespace.Labels, Annotations: namespace.Annotations}
		leave := fmt.Sprintf("to have it left alone: kubectl label namespace %s --overwrite %s=%s", o.GetName(), policy.OnboardingKey, policy.ValueDisabled)
		switch {
		case n.OptedOut():
		case n.Marked():
			notes = append(notes, Finding{
				Problem: fmt.Sprintf("Meshwarden has onboarded namespace %s like one of an application", o.GetName()),
				Remedy:  leave + " " + policy.InjectionLabel + "-",
			})
		default:
			notes = append(notes, Finding{
				Problem: fmt.Sprintf("namespace %s was there before and keeps its labels, which do not keep Meshwarden away: "+
					"where it is younger than Meshwarden's webhook, or --backfill=all is set, it is onboarded like one of an application", o.GetName()),
				Remedy: leave,
			})
		}
	}
	return notes
}
