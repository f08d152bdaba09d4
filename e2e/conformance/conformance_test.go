package conformance

import (
	"flag"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/internal/fixture"
)

var (
	seed     = flag.Uint64("conformance.seed", 1, "seed of the random meshes")
	cases    = flag.Int("conformance.cases", 4000, "how many cases to run")
	failures = flag.String("conformance.failures", DefaultFailures(), "folder for the fixtures of disagreements")
)

// Shares and cells say something about runs of this length or longer only.
const (
	enoughForShares   = 2_000
	enoughForCoverage = 20_000
)

// TestSharedRuns holds that worlds have nothing to do with each other which share a run of Istio's generator.
func TestSharedRuns(t *testing.T) {
	generator := NewAlignmentGenerator(*seed)
	var all []*AlignmentCase
	for i := range 30 {
		all = append(all, generator.Draw(i, NewToken(i)))
	}
	together, err := JudgeCases(all)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		alone, err := JudgeCases([]*AlignmentCase{c})
		if err != nil {
			t.Fatal(err)
		}
		if a, b := together[i].Alignment.String(), alone[0].Alignment.String(); a != b {
			t.Errorf("case %d: with others %s, alone %s", i, a, b)
		}
		if diff := cmp.Diff(alone[0].Routes, together[i].Routes); diff != "" {
			t.Errorf("case %d, alone and with others:\n%s", i, diff)
		}
	}
}

// TestDrawIsRepeatable holds that a seed and a number are enough to see a case again.
func TestDrawIsRepeatable(t *testing.T) {
	a, b := NewAlignmentGenerator(*seed), NewAlignmentGenerator(*seed)
	for i := range 100 {
		if diff := cmp.Diff(treeOf(a.Draw(i, NewToken(7)).World), treeOf(b.Draw(i, NewToken(7)).World)); diff != "" {
			t.Errorf("case %d:\n%s", i, diff)
		}
	}
}

// TestShrink holds that a world is shrunk to what its fault needs, and that the fixture of it can be read.
func TestShrink(t *testing.T) {
	generator := NewAlignmentGenerator(*seed)
	for i := range 300 {
		c := generator.Draw(i, NewToken(i))
		hasBind := func(w *World) bool {
			return len(w.VirtualServices) > 0 && slices.ContainsFunc(w.Gateways, func(g *Gateway) bool { return g.Spec.Servers[0].Bind != "" })
		}
		if !hasBind(c.World) {
			continue
		}
		small := Shrink(c.World, hasBind)
		if len(small.Gateways) != 1 || len(small.VirtualServices) != 1 || len(small.Workloads)+len(small.Services) > 0 {
			t.Errorf("case %d: more is left than a Gateway and the VirtualService", i)
		}
		text, err := small.Fixture([]string{"reason: a test", "want: MW102 spec.hosts[0]"}, small.VirtualServices[0])
		if err != nil {
			t.Fatal(err)
		}
		f, err := fixture.Parse("MW102/fail_shrunk.yaml", text)
		if err != nil {
			t.Fatalf("case %d: %v\n%s", i, err, text)
		}
		if len(f.Stored) != 1 || f.Submitted.GetKind() != "VirtualService" {
			t.Errorf("case %d: read back as %d stored objects and a %s", i, len(f.Stored), f.Submitted.GetKind())
		}
		return
	}
	t.Error("no case has a server with bind")
}
