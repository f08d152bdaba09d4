package operator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/object"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

func key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func id(kind, name string) object.ObjMetadata {
	return object.ObjMetadata{GroupKind: schema.GroupKind{Kind: kind}, Namespace: "istio-system", Name: name}
}

// configMap is an object, and what tells it from others of the same name.
func configMap(name, content string, labels ...string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"content": content}}}
	o.SetNamespace("istio-system")
	o.SetName(name)
	if len(labels) > 0 {
		set := map[string]string{}
		for pair := range slices.Chunk(labels, 2) {
			set[pair[0]] = pair[1]
		}
		o.SetLabels(set)
	}
	return o
}

func TestAssign(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	crd, own := id("CustomResourceDefinition", "gateways"), id("Deployment", "istiod-green")
	for name, tc := range map[string]struct {
		reason string
		claims []claim
		want   map[object.ObjMetadata]share
	}{
		"Nobody": {
			reason: "Without claims, nothing belongs to anybody.",
			want:   map[object.ObjMetadata]share{},
		},
		"OldestHasIt": {
			reason: "What two want belongs to the older one, whatever their order and content; what one wants belongs to it.",
			claims: []claim{
				{owner: key("a", "young"), created: at(2), objects: map[object.ObjMetadata]string{crd: "y", own: "z"}},
				{owner: key("b", "old"), created: at(1), objects: map[object.ObjMetadata]string{crd: "x"}},
			},
			want: map[object.ObjMetadata]share{crd: {key("b", "old"), "x"}, own: {key("a", "young"), "z"}},
		},
		"SameSecond": {
			reason: "Ages are in whole seconds, so namespace and name decide; two replicas that disagreed would fight.",
			claims: []claim{
				{owner: key("b", "a"), created: at(1), objects: map[object.ObjMetadata]string{crd: "x"}},
				{owner: key("a", "b"), created: at(1), objects: map[object.ObjMetadata]string{crd: "x"}},
				{owner: key("a", "c"), created: at(1), objects: map[object.ObjMetadata]string{crd: "x"}},
			},
			want: map[object.ObjMetadata]share{crd: {key("a", "b"), "x"}},
		},
		"InvalidKeeps": {
			reason: "An older one with an invalid spec keeps what it has in the cluster.",
			claims: []claim{
				{owner: key("a", "young"), created: at(2), objects: map[object.ObjMetadata]string{crd: "x"}},
				{owner: key("b", "old"), created: at(1), objects: map[object.ObjMetadata]string{crd: unknown}},
			},
			want: map[object.ObjMetadata]share{crd: {key("b", "old"), unknown}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, assign(tc.claims), cmp.AllowUnexported(share{})); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDisputed(t *testing.T) {
	self, other := key("istio-system", "mesh"), key("mesh-two", "older")
	rendered := configMap("istio", "a")
	same := digest(rendered.Object)
	for name, tc := range map[string]struct {
		reason string
		share  share
		stored *unstructured.Unstructured
		want   string
	}{
		"Own":            {"What it owns is not disputed.", share{self, same}, nil, ""},
		"OwnOfDead":      {"What a dead IstioOperator of a watched namespace left behind is taken over.", share{self, same}, configMap("istio", "a", labelOwner, "dead", labelOwnerNamespace, "mesh-two"), ""},
		"Adopted":        {"What istioctl installed names no owner, and is taken over.", share{self, same}, configMap("istio", "a", labelOwnerNamespace, "elsewhere"), ""},
		"OfNobody":       {"What the charts render for Helm or for kubectl says that nobody owns it.", share{self, same}, configMap("istio", "a", labelOwner, "unknown"), ""},
		"Unwatched":      {"Two operators that watch different namespaces must not fight.", share{self, same}, configMap("istio", "a", labelOwner, "theirs", labelOwnerNamespace, "elsewhere"), "ConfigMap istio-system/istio belongs to IstioOperator elsewhere/theirs"},
		"SharedEqual":    {"Equal content is left to the owner.", share{other, same}, nil, ""},
		"SharedUnequal":  {"Different content cannot both be.", share{other, "different"}, nil, "ConfigMap istio-system/istio belongs to the older IstioOperator mesh-two/older"},
		"SharedUnknown":  {"What an invalid older one has may well be equal.", share{other, unknown}, nil, ""},
		"SharedAndTaken": {"Whose label is on it says nothing of whose it is to be.", share{other, same}, configMap("istio", "a", labelOwner, "theirs", labelOwnerNamespace, "elsewhere"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			stored := objects{}
			if tc.stored != nil {
				stored[object.UnstructuredToObjMetadata(tc.stored)] = tc.stored
			}
			shares := map[object.ObjMetadata]share{object.UnstructuredToObjMetadata(rendered): tc.share}
			got := disputed(render.Component{Name: "Pilot", Objects: []*unstructured.Unstructured{rendered}}, self, shares, stored, []string{"istio-system", "mesh-two"})
			if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestStale(t *testing.T) {
	self := key("istio-system", "mesh")
	of := func(more ...string) *unstructured.Unstructured {
		return configMap("old", "", append([]string{labelOwner, "mesh", labelOwnerNamespace, "istio-system", labelComponent, "Pilot"}, more...)...)
	}
	crd := of()
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	deleted := of()
	deleted.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	healthyPilot := map[string]componentState{"Pilot": {phase: healthy}}
	for name, tc := range map[string]struct {
		reason     string
		stored     *unstructured.Unstructured
		components map[string]componentState
		wanted     bool
		want       bool
	}{
		"Left":           {reason: "What its component no longer has goes once the rest is healthy.", stored: of(), components: healthyPilot, want: true},
		"NotYet":         {reason: "What comes in its place has to work first.", stored: of(), components: map[string]componentState{"Pilot": {phase: reconciling}}},
		"Failed":         {reason: "Nothing comes in its place.", stored: of(), components: map[string]componentState{"Pilot": {phase: failed}}},
		"SwitchedOff":    {reason: "Nothing comes in its place, and that is intended.", stored: of(), components: map[string]componentState{"Base": {phase: healthy}}, want: true},
		"Replaced":       {reason: "Another component may come in its place, and has to work first.", stored: of(), components: map[string]componentState{"Base": {phase: healthy}, "Ztunnel": {phase: reconciling}}},
		"Deleted":        {reason: "It is being deleted already, and that is told once.", stored: deleted, components: healthyPilot},
		"CRD":            {reason: "Users' objects would go with a CRD.", stored: crd, components: healthyPilot},
		"Wanted":         {reason: "It is part of the rendering, or another IstioOperator takes it over.", stored: of(), components: healthyPilot, wanted: true},
		"SomebodyElse's": {reason: "It belongs to another IstioOperator.", stored: of(labelOwner, "other"), components: healthyPilot},
		"NotPruned":      {reason: "Istio's own label keeps an object.", stored: of(labelNotPruned, "true"), components: healthyPilot},
	} {
		t.Run(name, func(t *testing.T) {
			at := object.UnstructuredToObjMetadata(tc.stored)
			shares := map[object.ObjMetadata]share{}
			if tc.wanted {
				shares[at] = share{owner: key("mesh-two", "other")}
			}
			if got := len(stale(self, tc.components, shares, objects{at: tc.stored})) == 1; got != tc.want {
				t.Errorf("%s\ngot %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestInherited(t *testing.T) {
	shared, existing := configMap("shared", ""), []types.NamespacedName{key("istio-system", "self"), key("mesh-two", "other")}
	rendered := map[object.ObjMetadata]string{object.UnstructuredToObjMetadata(shared): "a"}
	for name, tc := range map[string]struct {
		reason            string
		o                 string
		namespace, parent string
		want              bool
	}{
		"Dead":      {"It would have been taken over.", "shared", "mesh-two", "dead", true},
		"Existing":  {"Another IstioOperator is there, and removes it itself.", "shared", "mesh-two", "other", false},
		"Unwatched": {"Whether its IstioOperator exists cannot be seen.", "shared", "elsewhere", "dead", false},
		"Unshared":  {"It was never part of this one: istioctl may have installed it.", "own", "mesh-two", "dead", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := configMap(tc.o, "", labelOwner, tc.parent, labelOwnerNamespace, tc.namespace)
			if got := inherited(o, rendered, existing, []string{"istio-system", "mesh-two"}); got != tc.want {
				t.Errorf("%s\ngot %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestMarked(t *testing.T) {
	rendered := configMap("istio", "a", "app", "istiod", labelOwner, "unknown")
	got := mark{owner: key("istio-system", "mesh"), component: "Pilot", revision: "blue", version: "v0.1.0"}.marked(rendered)
	want := configMap("istio", "a", "app", "istiod", labelOwner, "mesh", labelOwnerNamespace, "istio-system", labelManaged, "Reconcile", labelComponent, "Pilot", labelRevision, "blue", labelVersion, "v0.1.0")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the rendering and the labels, and nothing else\n-want +got:\n%s", diff)
	}
	if rendered.GetLabels()[labelOwner] != "unknown" {
		t.Error("the rendering itself, which is remembered, was changed")
	}
}

func TestInstalled(t *testing.T) {
	slice := configMap("copy", "", labelOwner, "mesh", labelOwnerNamespace, "istio-system")
	yes := true
	slice.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Service", Name: "istiod", Controller: &yes}})
	for _, tc := range []struct {
		reason string
		o      *unstructured.Unstructured
		want   bool
	}{
		{"what carries an owner's labels is installed", configMap("a", "", labelOwner, "mesh"), true},
		{"what carries none is not", configMap("a", ""), false},
		{"what a controller made of an installed object, with its labels, is not", slice, false},
	} {
		if got := installed(tc.o); got != tc.want {
			t.Errorf("%s: got %v", tc.reason, got)
		}
	}
}

func TestLabelValue(t *testing.T) {
	for text, want := range map[string]string{
		"v0.1.0": "v0.1.0", "(devel)": "devel", "v0.1.0-4-g0123-dirty+build": "v0.1.0-4-g0123-dirty-build", "": "", strings.Repeat("a", 80): strings.Repeat("a", 63),
	} {
		if got := LabelValue(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
