package policy_test

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// fixturesFolder holds a folder of cases for each rule.
const fixturesFolder = "../../testdata/rules"

func loadFixtures(t *testing.T) []fixture.Fixture {
	t.Helper()
	fixtures, err := fixture.Load(os.DirFS(fixturesFolder))
	if err != nil {
		t.Fatal(err)
	}
	return fixtures
}

func changeOf(t *testing.T, f fixture.Fixture) fixture.Change {
	t.Helper()
	c, err := f.Change(istio.Translator{ClusterDomain: "cluster.local"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func findingsOf(t *testing.T, c fixture.Change) []policy.Finding {
	t.Helper()
	found, err := c.Findings(policy.Rules())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestFixtures judges every case by every rule: what is found must be what the case wants, no more, no less, in its order.
func TestFixtures(t *testing.T) {
	for _, f := range loadFixtures(t) {
		t.Run(f.Path, func(t *testing.T) {
			c := changeOf(t, f)
			all := findingsOf(t, c)
			for _, found := range all {
				if found.Name == "" || found.Message == "" || found.Remedy == "" || found.Action == "" {
					t.Errorf("the finding of %s does not say everything: %+v", found.Rule, found)
				}
				if found.Object != c.Object.Ref() {
					t.Errorf("the finding of %s is about %s, not about %s", found.Rule, found.Object, c.Object.Ref())
				}
			}
			if diff := cmp.Diff(f.Want, wantsOf(all), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", f.Reason, diff)
			}
		})
	}
}

// TestFixturesOfOneSecond judges every case as if all its objects were created in one second, as an API server may do: their
// names have to decide as their order in the file does.
func TestFixturesOfOneSecond(t *testing.T) {
	for _, f := range loadFixtures(t) {
		c := changeOf(t, f)
		objects := c.Stored
		if c.Object.Gateway != nil {
			objects = append(objects, c.Object.Gateway)
		}
		if c.Object.VirtualService != nil {
			objects = append(objects, c.Object.VirtualService)
		}
		for _, o := range objects {
			switch o := o.(type) {
			case *policy.Gateway:
				o.Created = 1
			case *policy.VirtualService:
				o.Created = 1
			case *policy.Service:
				o.Created = 1
			}
		}
		if diff := cmp.Diff(f.Want, wantsOf(findingsOf(t, c)), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", f.Path, diff)
		}
	}
}

func wantsOf(found []policy.Finding) []fixture.Want {
	var wants []fixture.Want
	for _, f := range found {
		wants = append(wants, fixture.Want{Rule: f.Rule, Path: f.Path})
	}
	return wants
}

// TestEachRuleHasFixtures fails for a rule without cases of both kinds, and for a folder of cases without a rule.
func TestEachRuleHasFixtures(t *testing.T) {
	passing, failing, reasons := map[string]int{}, map[string]int{}, map[string]string{}
	for _, f := range loadFixtures(t) {
		if f.Fails {
			failing[f.Rule]++
		} else {
			passing[f.Rule]++
		}
		key := f.Rule + f.Reason
		if other, ok := reasons[key]; ok && other[:len("MW102/pass")] == f.Path[:len("MW102/pass")] {
			t.Errorf("%s and %s give the same reason", other, f.Path)
		}
		reasons[key] = f.Path
	}
	known := map[string]bool{}
	for _, r := range policy.Rules() {
		known[r.ID] = true
		if passing[r.ID] == 0 || failing[r.ID] == 0 {
			t.Errorf("%s %s has %d cases that pass and %d that fail: add %s/%s/pass_<clause>.yaml and fail_<clause>.yaml",
				r.ID, r.Name, passing[r.ID], failing[r.ID], fixturesFolder, r.ID)
		}
	}
	folders, err := fs.ReadDir(os.DirFS(fixturesFolder), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if !known[folder.Name()] {
			t.Errorf("%s/%s is the folder of no rule", fixturesFolder, folder.Name())
		}
	}
}

// TestEvaluateChangesNothing compares everything that the rules are handed with a second translation of the same text.
func TestEvaluateChangesNothing(t *testing.T) {
	everything := cmp.Exporter(func(reflect.Type) bool { return true })
	for _, f := range loadFixtures(t) {
		judged, untouched := changeOf(t, f), changeOf(t, f)
		findingsOf(t, judged)
		if diff := cmp.Diff(untouched, judged, everything); diff != "" {
			t.Errorf("%s: the rules changed what they judged (-before +after):\n%s", f.Path, diff)
		}
	}
}

// TestEvaluateIsDeterministic judges every case several times, with the stored objects put in another order each time.
func TestEvaluateIsDeterministic(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, f := range loadFixtures(t) {
		c := changeOf(t, f)
		want := findingsOf(t, c)
		for range 5 {
			random.Shuffle(len(c.Stored), func(i, j int) { c.Stored[i], c.Stored[j] = c.Stored[j], c.Stored[i] })
			if diff := cmp.Diff(want, findingsOf(t, c)); diff != "" {
				t.Fatalf("%s: findings differ from the first run's (-first +now):\n%s", f.Path, diff)
			}
		}
	}
}
