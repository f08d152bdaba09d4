package conformance

import (
	"os"
	"testing"
)

// TestAlignment holds the rules on VirtualServices to Istio's generator.
func TestAlignment(t *testing.T) {
	t.Logf("seed %d, %d cases", *seed, *cases)
	report, err := Run{Seed: *seed, Cases: *cases, Out: os.Stdout, Failures: *failures, Enough: 5}.Alignment()
	if err != nil {
		t.Fatal(err)
	}
	report.Write(os.Stdout)
	if report.Disagreements > 0 {
		t.Errorf("%d disagreements with seed %d", report.Disagreements, *seed)
	}
	for _, rule := range append(alignmentRules(), "MW106", "MW107") {
		if report.Cases >= enoughForShares && 100*report.Alone[rule] < report.Cases {
			t.Errorf("%s is the only finding in %d of %d cases: the cases are too easy for it", rule, report.Alone[rule], report.Cases)
		}
	}
	if empty := report.Coverage.Empty(); report.Cases >= enoughForCoverage && len(empty) > 0 {
		t.Errorf("%d cells are empty, such as %s", len(empty), empty[0])
	}
}
