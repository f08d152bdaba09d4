package conformance

import "testing"

// within is how many cases a broken rule may survive.
const within = 2_000

// TestAlignmentMutations breaks the rules on VirtualServices in one way after the other: the suite must notice each.
func TestAlignmentMutations(t *testing.T) {
	generator := NewAlignmentGenerator(*seed)
	var cases []*AlignmentCase
	for i := range within {
		cases = append(cases, generator.Draw(i, NewToken(i)))
	}
	judged, err := JudgeCases(cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range AlignmentMutations() {
		t.Run(m.Name, func(t *testing.T) {
			for i, c := range judged {
				_, d, err := c.Compare(m.Seam)
				if err != nil {
					t.Fatal(err)
				}
				if d != nil {
					t.Logf("caught by case %d: %s", i+1, d.Kind)
					return
				}
			}
			t.Errorf("not caught in %d cases with seed %d", within, *seed)
		})
	}
}
