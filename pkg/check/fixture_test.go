package check_test

import (
	"cmp"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestFixtures judges the rules' cases as files, after the change that they are about: what is found on the object that the
// case submits is what the case wants. What a change takes from another Gateway is the other one's finding here, for which
// a change is told and an object as it stands is not. Deletions leave nothing to judge, and MW207 is about changes alone. Where
// no Secret is in the files, none is missing.
func TestFixtures(t *testing.T) {
	fixtures, err := fixture.Load(os.DirFS("../../testdata/rules"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fixtures {
		if f.Operation == fixture.Delete {
			continue
		}
		t.Run(f.Path, func(t *testing.T) {
			r := run(t, defaults(), after(t, f), "-")
			if len(r.Problems) > 0 {
				t.Fatalf("problems: %q", texts(r.Problems))
			}
			var got, others []fixture.Want
			for _, found := range r.Findings {
				w := fixture.Want{Rule: found.Rule, Path: found.Path}
				if o := f.Submitted; found.Object == (policy.Ref{Kind: policy.Kind(o.GetKind()), Key: policy.Key{Namespace: o.GetNamespace(), Name: o.GetName()}}) {
					got = append(got, w)
				} else {
					others = append(others, w)
				}
			}
			isSecret := func(o *unstructured.Unstructured) bool { return o.GetKind() == string(policy.KindSecret) }
			want := slices.DeleteFunc(slices.Clone(f.Want), func(w fixture.Want) bool {
				return w.Rule == "MW207" || w.Rule == "MW209" && f.Secrets && !slices.ContainsFunc(f.Stored, isSecret) ||
					!slices.Contains(got, w) && takenFromAnother(w.Rule, &others)
			})
			// Findings come in the order of their lines here.
			order := func(a, b fixture.Want) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Path, b.Path)) }
			slices.SortFunc(want, order)
			slices.SortFunc(got, order)
			if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s", f.Reason, diff)
			}
		})
	}
}

// takenFromAnother says whether a conflict is found on another Gateway, and takes that finding out of the list.
func takenFromAnother(rule string, others *[]fixture.Want) bool {
	i := slices.IndexFunc(*others, func(w fixture.Want) bool { return w.Rule == rule })
	if i < 0 || !slices.Contains([]string{"MW201", "MW202", "MW203"}, rule) {
		return false
	}
	*others = slices.Delete(*others, i, i+1)
	return true
}

// after returns the objects as they are after the change. An updated one keeps its place, and so its age.
func after(t *testing.T, f fixture.Fixture) string {
	t.Helper()
	objects := slices.Clone(f.Stored)
	if i := slices.Index(objects, f.Old()); i >= 0 {
		objects[i] = f.Submitted
	} else {
		objects = append(objects, f.Submitted)
	}
	text := ""
	for _, o := range objects {
		document, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		text += "---\n" + string(document)
	}
	return text
}
