package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/meshwarden/meshwarden/e2e/module"
)

func TestBill(t *testing.T) {
	tests := []struct {
		reason string
		module *debug.Module
		want   string
	}{
		{"a module is what go.mod says", &debug.Module{Path: "k8s.io/api", Version: "v0.37.2"}, "pkg:golang/k8s.io/api@v0.37.2"},
		{"a plus sign would be a space", &debug.Module{Path: "example.com/a", Version: "v2.0.0+incompatible"}, "pkg:golang/example.com/a@v2.0.0%2Bincompatible"},
		{"lower case, as scanners look it up", &debug.Module{Path: "github.com/CycloneDX/a", Version: "v1.0.0"}, "pkg:golang/github.com/cyclonedx/a@v1.0.0"},
		{
			"what was linked is the replacement",
			&debug.Module{Path: "example.com/a", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/b", Version: "v1.1.0"}},
			"pkg:golang/example.com/b@v1.1.0",
		},
		{
			"a folder is this repository",
			&debug.Module{Path: "example.com/own", Version: "v0.0.0", Replace: &debug.Module{Path: "../"}},
			"pkg:golang/example.com/own@v1.2.0",
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			bom := bill(program{version: "v1.2.0", info: &buildinfo.BuildInfo{
				GoVersion: "go1.26.0", Path: "example.com/own/cmd/tool", Main: debug.Module{Path: "example.com/own"}, Deps: []*debug.Module{tc.module},
			}})
			got := []string{bom.Metadata.Component.PackageURL}
			for _, c := range *bom.Components {
				got = append(got, c.PackageURL)
			}
			want := []string{"pkg:golang/example.com/own@v1.2.0#cmd/tool", "pkg:golang/stdlib@1.26.0", tc.want}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("package URLs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWrite lists a real program, this one, and holds the list to CycloneDX's own schema.
func TestWrite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	var written [2][]byte
	for i := range written {
		if err := run("v1.2.0", time.Unix(1767225600, 0), []string{path}); err != nil {
			t.Fatal(err)
		}
		if written[i], err = os.ReadFile(path + ".cdx.json"); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(written[0], written[1]) {
		t.Error("two lists of one program differ")
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(written[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t).Validate(instance); err != nil {
		t.Errorf("not a valid bill of materials: %v", err)
	}
	bom := new(cyclonedx.BOM)
	if err := cyclonedx.NewBOMDecoder(bytes.NewReader(written[0]), cyclonedx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	for _, c := range *bom.Components {
		if c.Name == "github.com/CycloneDX/cyclonedx-go" && c.Version != "" {
			return
		}
	}
	t.Errorf("the library that this test is linked with is missing:\n%s", written[0])
}

// schema compiles the schema that the library ships beside its code. It names the others by addresses at which nothing needs to be asked.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	library, err := module.Dir(t.Context(), "github.com/CycloneDX/cyclonedx-go")
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	for file, name := range map[string]string{
		"bom-1.6.schema.json":   "bom-1.6.schema.json",
		"spdx.schema.json":      "spdx.schema.json",
		"jsf-0.82.schemax.json": "jsf-0.82.schema.json",
	} {
		content, err := os.ReadFile(filepath.Join(library, "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, document); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}
