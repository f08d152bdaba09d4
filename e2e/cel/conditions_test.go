// Package cel tests the CEL expressions of the manifests with the API server's own library, object by object, in a number
// that no running API server could be asked about.
package cel

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/admission"
	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// TestConditionsLoseNothing: whatever the webhooks' conditions keep away has the same values for the rules, and the same
// annotation for admission, as the stored object. That such an update is never denied is tested in pkg/admission. And no
// condition ever fails, because the API server would refuse the request.
func TestConditionsLoseNothing(t *testing.T) {
	server, conditions := newAPIServer(t, laxSchemas()), newConditions()
	kept, sent, refused := 0, 0, 0
	try := func(what string, before, after *unstructured.Unstructured) {
		u, err := server.write(t.Context(), before, after)
		if err != nil {
			refused++
			return
		}
		if conditions.match(t, what, u) {
			sent++
			return
		}
		kept++
		if was, is := readOf(t, u.before), readOf(t, u.after); !reflect.DeepEqual(was, is) {
			t.Errorf("%s: kept away, but what is read of the object changes from\n%+v\nto\n%+v", what, was, is)
		}
	}
	for _, f := range fixtures(t) {
		if old := f.Old(); old != nil && f.Operation == fixture.Update {
			try(f.Path, old, f.Submitted)
		}
	}
	for name, o := range rich(t) {
		for what, changed := range changes(o) {
			try(name+what, o, changed)
			try(name+what+", undone", changed, o)
		}
	}
	for _, f := range fixtures(t) {
		for _, v := range variants(".spec", f.Submitted.Object["spec"]) {
			try(f.Path+v.change, f.Submitted, &unstructured.Unstructured{Object: with(f.Submitted.Object, "spec", v.value)})
		}
	}
	t.Logf("%d updates kept away, %d sent, %d refused by the API server before that", kept, sent, refused)
	if kept < 500 || sent < 10000 {
		t.Errorf("%d updates were kept away and %d sent: the test does not test what it should", kept, sent)
	}
}

// TestConditionsKeepNoiseAway: what changes only what nobody reads needs no Meshwarden.
func TestConditionsKeepNoiseAway(t *testing.T) {
	server, conditions := newAPIServer(t, laxSchemas()), newConditions()
	for _, tc := range []struct {
		reason string
		change func(*unstructured.Unstructured)
		sent   bool
	}{
		{"nothing", func(*unstructured.Unstructured) {}, false},
		{"labels", func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{"team": "b"}) }, false},
		{"no labels", func(o *unstructured.Unstructured) { o.SetLabels(nil) }, false},
		{"another annotation", annotate("example.com/note", "second"), false},
		{"an annotation more", annotate("kubectl.kubernetes.io/last-applied-configuration", "{}"), false},
		{"finalizers", func(o *unstructured.Unstructured) { o.SetFinalizers(nil) }, false},
		{"owners", func(o *unstructured.Unstructured) {
			o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: "u"}})
		}, false},
		{"managed fields", func(o *unstructured.Unstructured) {
			o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Update", APIVersion: o.GetAPIVersion(), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1("{}")}})
		}, false},
		{"a generation that a client made up", func(o *unstructured.Unstructured) { o.SetGeneration(99) }, false},
		{"status", func(o *unstructured.Unstructured) {
			o.Object["status"] = map[string]any{"observedGeneration": int64(9)}
		}, false},
		{"no status", func(o *unstructured.Unstructured) { delete(o.Object, "status") }, false},
		{"the rules that the annotation allows", annotate(admission.AllowAnnotation, "MW101"), true},
		{"no annotations at all", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }, true},
		{"a field that no rule reads yet", func(o *unstructured.Unstructured) { o.Object["spec"].(map[string]any)["new"] = "field" }, true},
		{"no spec", func(o *unstructured.Unstructured) { delete(o.Object, "spec") }, true},
		{"a generation that a client kept, with another spec", func(o *unstructured.Unstructured) {
			o.SetGeneration(1)
			o.Object["spec"] = map[string]any{}
		}, true},
	} {
		for name, o := range rich(t) {
			changed := o.DeepCopy()
			tc.change(changed)
			u, err := server.write(t.Context(), o, changed)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, tc.reason, err)
			}
			if got := conditions.match(t, tc.reason, u); got != tc.sent {
				t.Errorf("%s: %s: sent %t, want %t", name, tc.reason, got, tc.sent)
			}
		}
	}
}

// TestConditionsOnLargeObjects: the API server gives conditions a budget, and refuses a request that goes beyond it.
func TestConditionsOnLargeObjects(t *testing.T) {
	v := rich(t)["virtualservice.yaml"]
	routes := make([]any, 18000)
	for i := range routes {
		routes[i] = map[string]any{
			"match": []any{map[string]any{"uri": map[string]any{"prefix": fmt.Sprintf("/%d", i)}}},
			"route": []any{map[string]any{"destination": map[string]any{"host": "web"}}},
		}
	}
	v.Object["spec"].(map[string]any)["http"] = routes
	if raw, err := v.MarshalJSON(); err != nil || len(raw) < 1_400_000 {
		t.Fatalf("the object has %d bytes, and etcd takes more; %v", len(raw), err)
	}
	u, err := newAPIServer(t, laxSchemas()).write(t.Context(), v, v)
	if err != nil {
		t.Fatal(err)
	}
	if newConditions().match(t, "a large object", u) {
		t.Error("sent without any change")
	}
}

// conditions are those of the webhooks that fail closed, by kind, compiled as the API server does.
type conditions map[string]matchconditions.Matcher

func newConditions() conditions {
	c := conditions{}
	compiler := plugincel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	for _, w := range admission.Validating("meshwarden").Webhooks {
		matcher := webhook.NewValidatingWebhookAccessor(w.Name, admission.ConfigurationName, &w).GetCompiledMatcher(compiler)
		switch w.Name {
		case "gateway.meshwarden.io":
			c["Gateway"] = matcher
		case "virtualservice.meshwarden.io":
			c["VirtualService"] = matcher
		}
	}
	return c
}

// match says whether the update is sent to Meshwarden.
func (c conditions) match(t *testing.T, what string, u write) bool {
	t.Helper()
	result := c[u.after.GetKind()].Match(t.Context(), u.attributes(), nil, nil)
	if result.Error != nil {
		t.Errorf("%s: the API server would refuse the request: %v", what, result.Error)
	}
	return result.Matches
}

// read is all that a verdict depends on of an object. Istio's own probe has an annotation, too; it always passes.
type read struct {
	Values  policy.Resource
	Fault   string
	Allowed string
}

func readOf(t *testing.T, u *unstructured.Unstructured) read {
	t.Helper()
	raw, err := u.MarshalJSON()
	noError(t, err)
	o, ok := istio.NewObject(policy.Kind(u.GetKind()))
	if !ok {
		t.Fatalf("%s is not of the mesh", u.GetKind())
	}
	noError(t, utiljson.Unmarshal(raw, o))
	values, err := istio.Translator{ClusterDomain: "cluster.local"}.Translate(o)
	return read{Values: values, Fault: fmt.Sprint(err), Allowed: o.GetAnnotations()[admission.AllowAnnotation]}
}

func annotate(key, value string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		annotations := o.GetAnnotations()
		annotations[key] = value
		o.SetAnnotations(annotations)
	}
}

func fixtures(t *testing.T) []fixture.Fixture {
	t.Helper()
	all, err := fixture.Load(os.DirFS(filepath.Join("..", "..", "testdata", "rules")))
	noError(t, err)
	return all
}

// rich are a Gateway and a VirtualService with all that there can be in them.
func rich(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, name := range []string{"gateway.yaml", "virtualservice.yaml"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		noError(t, err)
		raw, err := yaml.YAMLToJSON(text)
		noError(t, err)
		o := &unstructured.Unstructured{}
		noError(t, o.UnmarshalJSON(raw))
		all[name] = o
	}
	return all
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
