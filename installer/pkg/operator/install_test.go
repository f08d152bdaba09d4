package operator

import (
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/flowcontrol"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

func TestDue(t *testing.T) {
	as, owner := configMap("istio", "as described"), key("istio-system", "mesh")
	id := object.UnstructuredToObjMetadata(as)
	const desired = "what is described"
	good := record{desired: desired, stored: digest(description(as))}
	type want struct {
		Due, Changed bool
		Pause        time.Duration
	}
	for name, tc := range map[string]struct {
		reason string
		known  *record
		stored *unstructured.Unstructured
		// repaired is how often it was put right, and since how long ago that was last.
		repaired int
		since    time.Duration
		want     want
	}{
		"New":       {reason: "Nobody knows of it.", want: want{Due: true, Changed: true}},
		"Same":      {reason: "It is as it was when it was found right.", known: &good, stored: as},
		"Described": {reason: "It is described differently now, and that does not wait.", known: &record{desired: "before"}, stored: as, repaired: 5, want: want{Due: true, Changed: true}},
		"Drifted":   {reason: "Somebody changed it.", known: &good, stored: configMap("istio", "edited"), want: want{Due: true}},
		"Deleted":   {reason: "Somebody deleted it.", known: &good, want: want{Due: true}},
		"Again":     {reason: "It was put right a moment ago.", known: &good, stored: configMap("istio", "edited"), repaired: 1, want: want{Pause: firstTruce}},
		"Fight":     {reason: "Whoever changes it does so each time.", known: &good, stored: configMap("istio", "edited"), repaired: 3, want: want{Pause: 4 * firstTruce}},
		"Long":      {reason: "It is never given up.", known: &good, stored: configMap("istio", "edited"), repaired: 50, want: want{Pause: longestPause}},
		"Waited":    {reason: "It has waited long enough.", known: &good, stored: configMap("istio", "edited"), repaired: 3, since: 4 * firstTruce, want: want{Due: true}},
	} {
		t.Run(name, func(t *testing.T) {
			now := clocktesting.NewFakeClock(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
			r := &Reconciler{
				options: Options{Clock: now}, records: map[object.ObjMetadata]record{}, repairs: flowcontrol.NewFakeBackOff(firstTruce, longestPause, now),
			}
			if tc.known != nil {
				r.records[id] = *tc.known
			}
			for range tc.repaired {
				r.repairs.Next(id.String(), now.Now())
			}
			now.Step(tc.since)
			s := survey{
				own: rendering{desired: map[object.ObjMetadata]string{id: desired}}, stored: objects{}, shares: map[object.ObjMetadata]share{id: {owner: owner}},
			}
			if tc.stored != nil {
				s.stored[id] = tc.stored
			}
			o := ofKind(GroupVersionKind())
			o.SetNamespace(owner.Namespace)
			o.SetName(owner.Name)
			due, changed, pause := r.due(o, s, render.Component{Name: "Pilot", Objects: []*unstructured.Unstructured{as}})
			if diff := cmp.Diff(tc.want, want{len(due) == 1, changed, pause}); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFinished(t *testing.T) {
	status := func(generation int64, version string, phase phase) map[string]any {
		return map[string]any{"observedGeneration": generation, "operatorVersion": version, "componentStatus": map[string]any{"Pilot": map[string]any{"status": string(phase)}}}
	}
	for name, tc := range map[string]struct {
		reason string
		status map[string]any
		want   bool
	}{
		"New":          {reason: "Nobody has looked at it yet."},
		"Finished":     {reason: "Another replica did the same before.", status: status(2, "v1.0.0", healthy), want: true},
		"Changed":      {reason: "What was finished is described differently now.", status: status(1, "v1.0.0", healthy)},
		"Upgraded":     {reason: "Another version of the operator has other charts.", status: status(2, "v0.9.0", healthy)},
		"Unhealthy":    {reason: "Whether all of it was applied is not known.", status: status(2, "v1.0.0", reconciling)},
		"NotInstalled": {reason: "Another component was finished.", status: map[string]any{"observedGeneration": int64(2), "operatorVersion": "v1.0.0", "componentStatus": map[string]any{"Base": map[string]any{"status": "HEALTHY"}}}},
		"Nonsense":     {reason: "Somebody else wrote it.", status: map[string]any{"observedGeneration": "2", "componentStatus": "HEALTHY"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := ofKind(GroupVersionKind())
			o.SetGeneration(2)
			if tc.status != nil {
				o.Object["status"] = tc.status
			}
			r := &Reconciler{options: Options{Version: "v1.0.0"}}
			if got := r.finished(o, "Pilot"); got != tc.want {
				t.Errorf("%s: %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}
