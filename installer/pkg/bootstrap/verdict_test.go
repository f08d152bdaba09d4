package bootstrap

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

func TestPresentOperators(t *testing.T) {
	cases := map[string]struct {
		reason string
		given  verdict
		want   bool
	}{
		"FirstInstallation": {reason: "there was nothing to speak of before", given: verdict{generation: 1}, want: true},
		"Changed":           {reason: "the new spec was there only when the earlier operator was gone", given: verdict{generation: 3, before: 2, operator: "v1", expected: "v2"}, want: true},
		"Upgrade":           {reason: "the earlier one was content with its own charts", given: verdict{generation: 2, before: 2, operator: "v1", expected: "v2", silent: time.Second}},
		"Upgraded":          {reason: "the new one has spoken", given: verdict{generation: 2, before: 2, operator: "v2", expected: "v2"}, want: true},
		"Again":             {reason: "a second run of the same version", given: verdict{generation: 2, before: 2, operator: "v2", expected: "v2", silent: time.Hour}, want: true},
		"OwnImage":          {reason: "nobody knows its version, so it gets time to speak", given: verdict{generation: 2, before: 2, operator: "v1", silent: time.Second}},
		"OwnImageSilent":    {reason: "of the same version: it has nothing to write", given: verdict{generation: 2, before: 2, operator: "v1", silent: operatorSilence}, want: true},
		"OtherTag":          {reason: "a mirror with other names must not make the wait endless", given: verdict{generation: 2, before: 2, operator: "v1", expected: "v2", silent: time.Minute}, want: true},
		"OfNoVersion":       {reason: "two unknown versions need not be the same", given: verdict{generation: 2, before: 2}},
		"ClockBehind":       {reason: "this machine's clock is behind the cluster's", given: verdict{generation: 2, before: 2, silent: -time.Hour}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.given.presentOperators(); got != c.want {
				t.Errorf("%s: %+v is the present operator's: %t, want %t", c.reason, c.given, got, c.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	event := func(name, version string, e corev1.Event) corev1.Event {
		e.UID, e.ResourceVersion, e.Reason, e.Message = types.UID(name), version, "ComponentFailed", name
		return e
	}
	at := func(second int64) time.Time { return time.Unix(second, 0) }
	events := []corev1.Event{
		event("repeated", "9", corev1.Event{EventTime: metav1.NewMicroTime(at(1)), Series: &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(at(40))}}),
		event("late", "8", corev1.Event{EventTime: metav1.NewMicroTime(at(30))}),
		event("old", "2", corev1.Event{LastTimestamp: metav1.NewTime(at(50))}),
		event("early", "7", corev1.Event{LastTimestamp: metav1.NewTime(at(20))}),
	}
	told := map[types.UID]string{"old": "2", "repeated": "3"}
	want := []string{"Event ComponentFailed: early", "Event ComponentFailed: late", "Event ComponentFailed: repeated"}
	if diff := cmp.Diff(want, warnings(events, told)); diff != "" {
		t.Errorf("new Events of either kind, by when they were last seen (-want +got):\n%s", diff)
	}
}

func TestInterfered(t *testing.T) {
	stored := func(generation int64, deleted bool) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		o.SetGeneration(generation)
		if deleted {
			now := metav1.Unix(1, 0)
			o.SetDeletionTimestamp(&now)
		}
		return o
	}
	tests := []struct {
		reason string
		stored *unstructured.Unstructured
		want   string
	}{
		{reason: "as it was applied", stored: stored(2, false)},
		{reason: "another bootstrap applied another document", stored: stored(3, false), want: "somebody changed"},
		{reason: "a deletion raises the generation, and is no change", stored: stored(3, true), want: "somebody deleted"},
		{reason: "it is gone already", want: "somebody deleted"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			err := interfered(2, tc.stored)
			if got := fmt.Sprint(err); (err == nil) != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if (terminal(err) == nil) != (err == nil) {
				t.Errorf("the wait goes on after %v", err)
			}
		})
	}
}
