package conformance

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConflicts holds the rules on Gateways that share workloads to Istio's generator.
func TestConflicts(t *testing.T) {
	t.Logf("seed %d, %d cases", *seed, *cases)
	report, err := Run{Seed: *seed, Cases: *cases, Out: os.Stdout, Failures: *failures, Enough: 5}.Conflicts()
	if err != nil {
		t.Fatal(err)
	}
	report.Write(os.Stdout)
	if report.Disagreements > 0 {
		t.Errorf("%d disagreements with seed %d", report.Disagreements, *seed)
	}
	for _, rule := range conflictRules() {
		if report.Cases >= enoughForShares && 100*report.Alone[rule] < report.Cases {
			t.Errorf("%s alone denies %d of %d cases: the cases are too easy for it", rule, report.Alone[rule], report.Cases)
		}
	}
	if empty := report.Coverage.Empty(); report.Cases >= enoughForCoverage && len(empty) > 0 {
		t.Errorf("%d cells are empty, such as %s", len(empty), empty[0])
	}
}

// TestConflictMutations breaks the rules on Gateways in one way after the other: the suite must notice each.
func TestConflictMutations(t *testing.T) {
	var cases []*ConflictCase
	for i := range within {
		cases = append(cases, DrawConflict(*seed, i, NewToken(i)))
	}
	judged, err := JudgeConflictCases(cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ConflictMutations() {
		t.Run(m.Name, func(t *testing.T) {
			for i, c := range judged {
				_, found, err := c.Compare(m.Seam)
				if err != nil {
					t.Fatal(err)
				}
				if len(found) > 0 {
					t.Logf("caught by case %d: %s", i+1, found[0].Kind)
					return
				}
			}
			t.Errorf("not caught in %d cases with seed %d", within, *seed)
		})
	}
}

// TestConflictSharedRuns holds that cases have nothing to do with each other which share a run of Istio's generator, and that
// a seed and a number are enough to see a case again.
func TestConflictSharedRuns(t *testing.T) {
	var all []*ConflictCase
	for i := range 60 {
		all = append(all, DrawConflict(*seed, i, NewToken(i)))
	}
	together, err := JudgeConflicts(all)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		alone, err := JudgeConflicts([]*ConflictCase{DrawConflict(*seed, i, NewToken(i))})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(alone[0], together[i]); diff != "" {
			t.Errorf("case %d, alone and with others:\n%s", i, diff)
		}
	}
}
