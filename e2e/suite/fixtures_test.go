package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/meshwarden/meshwarden/e2e/certmanager"
	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// istioSettings begins the line of the log that tells of the mesh-wide settings in force.
const istioSettings = "Istio's settings"

// replayer writes fixtures for real and undoes them. It is for one fixture at a time.
type replayer struct {
	*environment
	// overridden are the rules that stored objects may break. Those of a fixture may break any; they come in by the override,
	// which the submitted object does not have.
	overridden string
	// before is how many objects of each kind there are without any fixture.
	before map[string]int
	// hearing is a client whose warnings go to heard.
	hearing client.Client
	heard   *warningRecorder
}

// Every fixture of every rule, written for real and undone: the API server's answer holds the findings that the fixture
// wants, no more and no fewer.
func TestFixtures(t *testing.T) {
	t.Parallel()
	replayFixtures(t, false)
}

// The same for those in which Secrets are read.
func TestFixturesWithSecrets(t *testing.T) {
	t.Parallel()
	replayFixtures(t, true)
}

func replayFixtures(t *testing.T, secrets bool) {
	t.Helper()
	fixtures, err := fixture.Load(os.DirFS(repository("testdata", "rules")))
	noError(t, "load the fixtures", err)
	fixtures = slices.DeleteFunc(fixtures, func(f fixture.Fixture) bool { return f.Secrets != secrets })
	r := newReplayer(t, secrets)
	namespaces := map[string]bool{}
	for _, f := range fixtures {
		for _, o := range append(slices.Clone(f.Stored), f.Submitted) {
			if n := o.GetNamespace(); !namespaces[n] {
				namespaces[n] = true
				r.namespace(t, n)
			}
		}
	}
	for _, f := range fixtures {
		t.Run(f.Path, func(t *testing.T) { r.replay(t, f) })
	}
}

// newReplayer starts Meshwarden, with Secrets read or not, beside Istio's and cert-manager's CRDs.
func newReplayer(t *testing.T, secrets bool) *replayer {
	t.Helper()
	var rules []string
	for _, r := range policy.Rules() {
		rules = append(rules, r.ID)
	}
	r := &replayer{overridden: strings.Join(rules, ","), heard: &warningRecorder{}}
	s := setup{args: []string{"--overridable", r.overridden}, before: func(t *testing.T, e *environment) {
		crds, err := certmanager.CRDs(t.Context())
		noError(t, "find cert-manager's CRDs", err)
		noError(t, "apply cert-manager's CRDs", e.cp.ApplyCRDs(t.Context(), crds))
	}}
	if secrets {
		s.components = []string{"read-secrets"}
	}
	r.environment = start(t, s)
	config := r.cp.Config()
	config.WarningHandlerWithContext = r.heard
	var err error
	r.hearing, err = client.New(config, client.Options{Mapper: r.client.RESTMapper()})
	noError(t, "make a client that hears warnings", err)
	r.eventually(t, "count the objects", func(ctx context.Context) (err error) {
		r.before, err = r.counts(ctx)
		// Meshwarden's own certificate is in a Secret.
		if kind := string(policy.KindSecret); err == nil && secrets && r.before[kind] == 0 {
			return errors.New("no Secret is known")
		}
		return err
	})
	return r
}

// replay stores what the fixture says, submits its object, compares the answer, and removes everything.
func (r *replayer) replay(t *testing.T, f fixture.Fixture) {
	c, err := f.Change(istio.Translator{ClusterDomain: "cluster.local"})
	noError(t, "translate the fixture", err)
	defer func() {
		for _, o := range append(slices.Clone(f.Stored), f.Submitted) {
			noError(t, "clean up", client.IgnoreNotFound(r.client.Delete(background(t), o.DeepCopy())))
		}
		r.waitCounts(t, nil)
	}()
	stored := r.store(t, f, held(c))
	r.waitSettings(t, c.Settings)

	submitted := f.Submitted.DeepCopy()
	err = r.write(t, func(ctx context.Context) error {
		r.heard.texts = nil
		switch f.Operation {
		case fixture.Update:
			submitted.SetResourceVersion(stored[refOf(submitted)].GetResourceVersion())
			return r.hearing.Update(ctx, submitted)
		case fixture.Delete:
			return r.hearing.Delete(ctx, submitted)
		}
		return r.hearing.Create(ctx, submitted)
	})
	compareAnswer(t, f, c, causes(t, err), warned(r.heard.texts))
}

// store writes the objects that exist before, and waits until the model has them: so many of each kind.
func (r *replayer) store(t *testing.T, f fixture.Fixture, counts map[string]int) map[policy.Ref]*unstructured.Unstructured {
	t.Helper()
	stored := map[policy.Ref]*unstructured.Unstructured{}
	var last *unstructured.Unstructured
	for _, s := range f.Stored {
		o := s.DeepCopy()
		o.SetAnnotations(map[string]string{"meshwarden.io/allow": r.overridden})
		noError(t, "store "+o.GetName(), r.write(t, func(ctx context.Context) error { return r.client.Create(ctx, o) }))
		stored[refOf(o)] = o
		if status, ok := s.Object["status"]; ok {
			o.Object["status"] = status
			noError(t, "write the status of "+o.GetName(), r.client.Status().Update(t.Context(), o))
			last = o
		}
	}
	r.waitCounts(t, counts)
	if last != nil {
		r.passOn(t, last, counts)
	}
	return stored
}

// passOn waits until the model has heard of the last change of an object, which no count tells of: events of one kind come in
// their order, so another object of the kind is made and counted.
func (r *replayer) passOn(t *testing.T, o *unstructured.Unstructured, counts map[string]int) {
	t.Helper()
	other := &unstructured.Unstructured{Object: map[string]any{"spec": o.Object["spec"]}}
	other.SetGroupVersionKind(o.GroupVersionKind())
	other.SetNamespace(o.GetNamespace())
	other.SetName(o.GetName() + "-next")
	noError(t, "make the next object", r.client.Create(t.Context(), other))
	more := maps.Clone(counts)
	more[o.GetKind()]++
	r.waitCounts(t, more)
	noError(t, "remove the next object", r.client.Delete(t.Context(), other))
	r.waitCounts(t, counts)
}

// held counts the stored objects that the model is to hold, by kind.
func held(c fixture.Change) map[string]int {
	counts := map[string]int{}
	for _, o := range c.Stored {
		if s, ok := o.(*policy.Secret); !ok || s.Relevant() {
			counts[string(o.Ref().Kind)]++
		}
	}
	return counts
}

// write makes a write, and again while nobody could be asked about it: on a busy machine an answer to a probe may come too
// late, and Meshwarden gets no requests for a moment. Nothing is judged then, so no verdict is lost.
func (r *replayer) write(t *testing.T, once func(context.Context) error) error {
	t.Helper()
	var err error
	r.eventually(t, "somebody judges", func(ctx context.Context) error {
		if err = once(ctx); err != nil && strings.Contains(err.Error(), "failed calling webhook") {
			return err
		}
		return nil
	})
	return err
}

// compareAnswer holds the answer to the fixture. Of a creation it tells denials and warnings apart; an update may warn of what
// the old version is at fault for as well.
func compareAnswer(t *testing.T, f fixture.Fixture, c fixture.Change, denied, warned []string) {
	t.Helper()
	var want []string
	for _, w := range f.Want {
		want = append(want, w.Path+": "+w.Rule)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(slices.Concat(denied, warned)))); diff != "" {
		t.Errorf("%s: the answer's findings (-want +got):\n%s", f.Reason, diff)
	}
	if f.Operation != fixture.Create {
		return
	}
	found, err := c.Findings(policy.Rules())
	noError(t, "judge the fixture", err)
	var denies []string
	for _, finding := range found {
		if finding.Action == policy.Deny {
			denies = append(denies, finding.Path+": "+finding.Rule)
		}
	}
	if diff := cmp.Diff(denies, denied); diff != "" {
		t.Errorf("%s: the findings that deny (-want +got):\n%s", f.Reason, diff)
	}
}

func refOf(o *unstructured.Unstructured) policy.Ref {
	return policy.Ref{Kind: policy.Kind(o.GetKind()), Key: policy.Key{Namespace: o.GetNamespace(), Name: o.GetName()}}
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

// warned returns the findings that the warnings tell of, as "path: rule".
func warned(warnings []string) []string {
	var found []string
	for _, text := range warnings {
		if path, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(rest, "MW") {
			rule, _, _ := strings.Cut(rest, " ")
			found = append(found, path+": "+rule)
		}
	}
	return found
}

// waitCounts waits until the model holds as many objects of each kind besides those that were there before.
func (r *replayer) waitCounts(t *testing.T, added map[string]int) {
	t.Helper()
	want := maps.Clone(r.before)
	for kind, n := range added {
		if _, counted := want[kind]; counted {
			want[kind] += n
		}
	}
	r.eventually(t, "the model holds what is stored", func(ctx context.Context) error {
		got, err := r.counts(ctx)
		if err == nil && !maps.Equal(want, got) {
			err = fmt.Errorf("it holds %v, want %v", got, want)
		}
		return err
	})
}

// counts returns how many objects of each kind the model holds.
func (r *replayer) counts(ctx context.Context) (map[string]int, error) {
	text, err := r.replicas[0].Metrics(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]int{}
	for line := range strings.Lines(text) {
		var kind string
		var n int
		if _, err := fmt.Sscanf(line, "meshwarden_model_objects{kind=%q} %d", &kind, &n); err == nil {
			found[kind] = n
		}
	}
	return found, nil
}

// waitSettings waits until the log tells that the settings are in force. No count holds them, and a ConfigMap is no object of
// the model.
func (r *replayer) waitSettings(t *testing.T, want policy.Settings) {
	t.Helper()
	r.eventually(t, "the settings are in force", func(context.Context) error {
		lines := r.log.find(istioSettings)
		if len(lines) == 0 {
			return errors.New("the log does not tell of any")
		}
		var got policy.Settings
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
			return err
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			return fmt.Errorf("settings (-want +got):\n%s", diff)
		}
		return nil
	})
}
