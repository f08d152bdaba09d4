package document_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

const fixtures = "../../testdata/documents"

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// names returns the fixtures of a folder.
func names(t testing.TB, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(fixtures, folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures in %s (%v)", folder, err)
	}
	for i, p := range paths {
		paths[i] = filepath.Base(p)
	}
	return paths
}

func TestReadGood(t *testing.T) {
	reference := document.Document{
		Enabled: true, UseLocalImageRegistry: true, OperatorNamespace: "istio-operator", Watched: []string{"istio-system"}, IstioNamespace: "istio-system",
		Profile: "default", Name: "istiocontrolplane",
	}
	with := func(change func(*document.Document)) document.Document {
		d := reference
		change(&d)
		return d
	}
	want := map[string]document.Document{
		"reference.yaml": reference,
		"defaults.yaml":  reference,
		"disabled.yaml":  with(func(d *document.Document) { d.Enabled = false }),
		"other-documents.yaml": with(func(d *document.Document) {
			d.UseLocalImageRegistry, d.Profile = false, "minimal"
		}),
		"anchors.yaml": with(func(d *document.Document) {
			d.UseLocalImageRegistry, d.Watched = false, []string{"istio-operator", "istio-system"}
			small := map[string]any{"cpu": "10m", "memory": "40Mi"}
			d.Values = map[string]any{
				"global": map[string]any{"defaultResources": map[string]any{"requests": small}},
				"pilot":  map[string]any{"resources": map[string]any{"requests": small, "limits": map[string]any{"memory": "1Gi"}}},
			}
		}),
		"every-key.yaml": {
			Enabled: true, OperatorNamespace: "mesh-operator", Watched: []string{"mesh-config", "mesh-config-canary"}, IstioNamespace: "mesh",
			Profile: "demo", Name: "mesh.example", Version: "1.31.0-distroless",
			Values: map[string]any{
				"global": map[string]any{
					"istioNamespace": "mesh",
					"proxy":          map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "10m"}}},
				},
				"pilot":      map[string]any{"autoscaleMin": int64(2), "traceSampling": 0.5, "env": map[string]any{"ENABLE_NATIVE_SIDECARS": "true"}},
				"meshConfig": map[string]any{"accessLogFile": "/dev/stdout"},
			},
		},
	}
	got := map[string]document.Document{}
	for _, name := range names(t, "good") {
		d, err := document.Read(name, fixture(t, "good/"+name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got[name] = d
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(document.Document{})); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

// Each bad fixture has the faults that the file of its name lists, all of them.
func TestReadBad(t *testing.T) {
	for _, name := range names(t, "bad") {
		t.Run(name, func(t *testing.T) {
			want := string(fixture(t, "bad/"+strings.TrimSuffix(name, ".yaml")+".txt"))
			_, err := document.Read("document.yaml", fixture(t, "bad/"+name))
			if faults := new(document.Faults); !errors.As(err, &faults) {
				t.Fatalf("error: %v (%T), want faults", err, err)
			}
			if diff := cmp.Diff(want, err.Error()+"\n"); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// The platform's own tools read YAML 1.1.
func TestReadBooleans(t *testing.T) {
	for text, want := range map[string]bool{"yes": true, "on": true, "True": true, "no": false, "OFF": false, "false": false} {
		d, err := document.Read("document.yaml", []byte("kind: configuration/applications\nspecification: {applications: [{name: istio, enabled: "+text+"}]}\n"))
		if err != nil || d.Enabled != want {
			t.Errorf("enabled: %s is read as %t (%v), want %t", text, d.Enabled, err, want)
		}
	}
}

func TestProfilesAreThoseOfTheCharts(t *testing.T) {
	for _, p := range render.Profiles() {
		if _, err := document.Read("document.yaml", []byte("kind: configuration/applications\nspecification: {applications: [{name: istio, istio_spec: {profile: "+p+"}}]}\n")); err != nil {
			t.Errorf("profile %s: %v", p, err)
		}
	}
	_, err := document.Read("document.yaml", fixture(t, "bad/unknown-profile.yaml"))
	if want := "use one of " + strings.Join(render.Profiles(), ", "); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error: %v, want %q at its end", err, want)
	}
}

// What a schema cannot say: the bad fixtures that it passes, and why.
func beyondSchema() map[string]string {
	return map[string]string{
		"alias-bomb.yaml":              "a schema judges what is left when aliases are gone",
		"alias-in-itself.yaml":         "the same",
		"contradiction.yaml":           "no keyword compares two values",
		"duplicate-keys.yaml":          "it never sees them",
		"empty.yaml":                   "there is no document to judge",
		"merge-of-nothing.yaml":        "a schema judges what is left when aliases are gone",
		"no-document.yaml":             "there is no document to judge",
		"reference-with-ellipsis.yaml": "there is no document to judge",
		"syntax.yaml":                  "there is no document to judge",
		"two-documents.yaml":           "it judges one document at a time",
		"unknown-anchor.yaml":          "there is no document to judge",
		"values-beyond-json.yaml":      "JSON does not have them",
	}
}

func TestSchema(t *testing.T) {
	schema := compile(t)
	for _, name := range names(t, "good") {
		for _, d := range documents(t, fixture(t, "good/"+name)) {
			if err := schema.Validate(d); err != nil {
				t.Errorf("good/%s: %v", name, err)
			}
		}
	}
	for _, name := range names(t, "bad") {
		why, beyond := beyondSchema()[name]
		refused := false
		for _, d := range documents(t, fixture(t, "bad/"+name)) {
			refused = refused || schema.Validate(d) != nil
		}
		if refused == beyond {
			t.Errorf("bad/%s: refused: %t, want the opposite (%s)", name, refused, why)
		}
	}
}

// The schema's defaults, which editors show, are what Read takes.
func TestSchemaDefaults(t *testing.T) {
	type keys struct {
		Default    any
		Properties map[string]keys
	}
	var parsed struct {
		Defs struct{ Istio keys } `json:"$defs"`
	}
	if err := json.Unmarshal(document.Schema(), &parsed); err != nil {
		t.Fatal(err)
	}
	top := parsed.Defs.Istio.Properties
	namespaces, spec := top["namespaces"].Properties, top["istio_spec"].Properties
	d, err := document.Read("document.yaml", fixture(t, "good/disabled.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"enabled": d.Enabled, "use_local_image_registry": d.UseLocalImageRegistry, "operator": d.OperatorNamespace, "watched": []any{d.Watched[0]},
		"istio": d.IstioNamespace, "profile": d.Profile, "name": d.Name,
	}
	want := map[string]any{
		"enabled": top["enabled"].Default, "use_local_image_registry": top["use_local_image_registry"].Default, "operator": namespaces["operator"].Default,
		"watched": namespaces["watched"].Default, "istio": namespaces["istio"].Default, "profile": spec["profile"].Default, "name": spec["name"].Default,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-schema +Read):\n%s", diff)
	}
}

// The documents that Meshwarden itself shows and ships are good ones.
func TestShippedDocuments(t *testing.T) {
	page, err := os.ReadFile("../../../docs/bootstrap.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	job, err := os.ReadFile("../../../manifests/bootstrap/document.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"docs/bootstrap.md": block, "manifests/bootstrap/document.yaml": string(job)} {
		if d, err := document.Read(name, []byte(content)); err != nil || !d.Enabled {
			t.Errorf("%s: enabled: %t, error: %v", name, d.Enabled, err)
		}
	}
}

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// documents returns what another YAML reader makes of the documents that the schema is for; nothing where it makes nothing of them.
func documents(t *testing.T, content []byte) []any {
	t.Helper()
	var all []any
	for d := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var v any
		if err := d.Decode(&v); err != nil {
			return all
		}
		if m, ok := v.(map[string]any); ok && m["kind"] == document.Kind {
			all = append(all, v)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, name := range names(f, folder) {
			content, err := os.ReadFile(filepath.Join(fixtures, folder, name))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := document.Read("document.yaml", content)
		switch {
		case err != nil && err.Error() == "":
			t.Error("an error that says nothing")
		case err == nil && len(d.Watched) == 0:
			t.Error("a document without a watched namespace got through")
		}
		for _, path := range paths(d.Values, "") {
			if f, ok := d.FaultAt(path[1:], ""); !ok || f.Line < 1 || f.Line > 1+len(content) {
				t.Errorf("%q is found: %t, in line %d", path, ok, f.Line)
			}
		}
	})
}

// paths returns the path of everything in a value, as messages have it, with a dot at its beginning.
func paths(v any, at string) []string {
	var all []string
	add := func(path string, inner any) {
		all = append(append(all, path), paths(inner, path)...)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			add(at+"."+key, inner)
		}
	case []any:
		for i, inner := range v {
			add(fmt.Sprintf("%s[%d]", at, i), inner)
		}
	}
	return all
}

func TestFaultAt(t *testing.T) {
	content := `kind: configuration/applications
specification:
  applications:
  - &other
    name: other
    small: &small
      cpu: 10m
      "a.b/c[0]":
        memory: 1Gi
  - name: istio
    istio_spec:
      values:
        global: {proxy: {resources:
          *small}}
        pilot:
          <<: [*small, *other]
          cpu: 1
          tolerations:
          - key: a
          -
            key: b
          - *small
        a:
          b: 1
        a.b: 2
`
	tests := []struct {
		reason, path string
		line         int
	}{
		{"a key, and not the line where its value begins", "global.proxy.resources", 13},
		{"what an alias stands for is where its anchor is", "global.proxy.resources.cpu", 7},
		{"a key with dots and brackets", "global.proxy.resources.a.b/c[0].memory", 9},
		{"a merged key", "pilot.a.b/c[0]", 8},
		{"a merged key of the second mapping", "pilot.name", 5},
		{"a key that another one yields to", "pilot.cpu", 17},
		{"an item", "pilot.tolerations[0].key", 19},
		{"an item that begins below its hyphen", "pilot.tolerations[1].key", 21},
		{"an item that is an alias", "pilot.tolerations[2]", 22},
		{"two keys that read alike: the one within the other", "a.b", 24},
		{"what is not there", "pilot.tolerations[3]", 0},
		{"what is not there, below a text", "a.b.c", 0},
		{"no number", "pilot.tolerations[a]", 0},
		{"no path", "pilot[", 0},
		{"all values, of which the first line counts", "", 13},
	}
	d, err := document.Read("document.yaml", []byte(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			want := document.Fault{Line: tc.line, Path: strings.TrimSuffix("specification.applications[1].istio_spec.values."+tc.path, "."), Message: "m"}
			got, ok := d.FaultAt(tc.path, "m")
			if tc.line == 0 {
				if ok {
					t.Errorf("found in line %d", got.Line)
				}
				return
			}
			if diff := cmp.Diff(want, got); !ok || diff != "" {
				t.Errorf("found: %t, fault (-want +got):\n%s", ok, diff)
			}
		})
	}
}
