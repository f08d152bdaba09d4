package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/internal/fixture"
)

// Every fixture of every rule, written for real and undone: the API server's answer holds the findings that the fixture
// wants, no more and no fewer.
func TestFixtures(t *testing.T) {
	fixtures, err := fixture.Load(os.DirFS(repository("testdata", "rules")))
	noError(t, "load the fixtures", err)
	// The stored objects of a fixture may break rules themselves. They come in by the override, which the submitted
	// object does not have.
	var rules []string
	for _, f := range fixtures {
		if !slices.Contains(rules, f.Rule) {
			rules = append(rules, f.Rule)
		}
	}
	all := strings.Join(rules, ",")
	e := start(t, setup{args: []string{"--overridable", all}})
	namespaces := map[string]bool{}
	for _, f := range fixtures {
		for _, o := range append(slices.Clone(f.Stored), f.Submitted) {
			if n := o.GetNamespace(); !namespaces[n] {
				namespaces[n] = true
				e.namespace(t, n)
			}
		}
	}
	for _, f := range fixtures {
		t.Run(f.Path, func(t *testing.T) { e.replay(t, f, all) })
	}
}

// replay stores what the fixture says, submits its object, compares the answer, and removes everything.
func (e *environment) replay(t *testing.T, f fixture.Fixture, overridden string) {
	stored := map[string]*unstructured.Unstructured{}
	counts := map[string]int{"Gateway": 0, "VirtualService": 0}
	defer func() {
		for _, o := range append(slices.Clone(f.Stored), f.Submitted) {
			noError(t, "clean up", client.IgnoreNotFound(e.client.Delete(background(t), o.DeepCopy())))
		}
		e.waitCounts(t, map[string]int{"Gateway": 0, "VirtualService": 0})
	}()
	for _, s := range f.Stored {
		o := s.DeepCopy()
		o.SetAnnotations(map[string]string{"meshwarden.io/allow": overridden})
		noError(t, "store "+o.GetName(), e.client.Create(t.Context(), o))
		stored[o.GetKind()+"/"+o.GetNamespace()+"/"+o.GetName()] = o
		counts[o.GetKind()]++
	}
	e.waitCounts(t, counts)

	submitted := f.Submitted.DeepCopy()
	var err error
	warnings := e.heard(t, func(ctx context.Context, c client.Client) {
		switch f.Operation {
		case fixture.Create:
			err = c.Create(ctx, submitted)
		case fixture.Update:
			submitted.SetResourceVersion(stored[submitted.GetKind()+"/"+submitted.GetNamespace()+"/"+submitted.GetName()].GetResourceVersion())
			err = c.Update(ctx, submitted)
		case fixture.Delete:
			err = c.Delete(ctx, submitted)
		}
	})
	got := append(causes(t, err), warnings...)
	var want []string
	for _, w := range f.Want {
		want = append(want, w.Path+": "+w.Rule)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the answer's findings (-want +got):\n%s\n%v", f.Reason, diff, err)
	}
	if denied := len(want) > 0; f.Operation == fixture.Create && denied != (err != nil) {
		t.Errorf("%s: denied is %v, want %v", f.Reason, err != nil, denied)
	}
}

// causes returns the findings of a denial as "path: rule". Any other error fails the test.
func causes(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		t.Fatalf("submit: %v", err)
	}
	var found []string
	for _, c := range status.Status().Details.Causes {
		rule, _, _ := strings.Cut(c.Message, " ")
		found = append(found, c.Field+": "+rule)
	}
	return found
}

// heard returns the findings that the call's warnings tell of, as "path: rule".
func (e *environment) heard(t *testing.T, call func(context.Context, client.Client)) []string {
	t.Helper()
	recorder := &warningRecorder{}
	config := e.cp.Config()
	config.WarningHandlerWithContext = recorder
	c, err := client.New(config, client.Options{Mapper: e.client.RESTMapper()})
	noError(t, "make a client that hears warnings", err)
	call(t.Context(), c)
	var found []string
	for _, text := range recorder.texts {
		if path, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(rest, "MW") {
			rule, _, _ := strings.Cut(rest, " ")
			found = append(found, path+": "+rule)
		}
	}
	return found
}

// waitCounts waits until the model holds as many objects of each kind.
func (e *environment) waitCounts(t *testing.T, counts map[string]int) {
	t.Helper()
	for kind, n := range counts {
		e.metric(t, fmt.Sprintf("meshwarden_model_objects{kind=%q} %d\n", kind, n))
	}
}
