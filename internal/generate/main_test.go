package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// repository returns a folder with the repository's test cases and manifests, and nothing else of it.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, folder := range []string{"testdata/rules", "manifests", "certs"} {
		if err := os.CopyFS(filepath.Join(root, folder), os.DirFS(filepath.Join("..", "..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCheck(t *testing.T) {
	tests := []struct {
		reason string
		change func(root string) error
		want   []string
	}{
		{"what was just written is current", func(string) error { return nil }, nil},
		{"a file was edited", func(root string) error {
			return os.WriteFile(filepath.Join(root, "docs/rules.md"), []byte("edited"), 0o600)
		}, []string{"docs/rules.md is out of date"}},
		{"the files are missing", func(root string) error {
			return os.RemoveAll(filepath.Join(root, "docs"))
		}, []string{"docs/rules.md is out of date"}},
		{"a template of the chart was edited", func(root string) error {
			return os.WriteFile(filepath.Join(root, "charts/meshwarden/templates/service.yaml"), []byte("edited"), 0o600)
		}, []string{"charts/meshwarden/templates/service.yaml is out of date"}},
		{"a manifest was edited, and the chart was not", func(root string) error {
			return os.WriteFile(filepath.Join(root, "manifests/base/service.yaml"), []byte("kind: Service\nmetadata:\n  name: other\n"), 0o600)
		}, []string{"charts/meshwarden/templates/service.yaml is out of date"}},
		{"each file is named", func(root string) error {
			for _, name := range []string{"docs/rules.md", "manifests/base/webhooks.yaml"} {
				if err := os.Truncate(filepath.Join(root, name), 10); err != nil {
					return err
				}
			}
			return nil
		}, []string{"docs/rules.md is out of date", "manifests/base/webhooks.yaml is out of date"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			root := repository(t)
			if err := run(root, false); err != nil {
				t.Fatal(err)
			}
			if err := tc.change(root); err != nil {
				t.Fatal(err)
			}
			err := run(root, true)
			if (err != nil) != (tc.want != nil) {
				t.Fatalf("check: %v, want %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("check: %v, want %q", err, want)
				}
			}
		})
	}
}

func TestCheckWritesNothing(t *testing.T) {
	root := repository(t)
	if err := run(root, true); err == nil {
		t.Error("check: no error where no file is")
	}
	for _, folder := range []string{"docs", "charts"} {
		if _, err := os.Stat(filepath.Join(root, folder)); !os.IsNotExist(err) {
			t.Errorf("check left %s: %v", folder, err)
		}
	}
}

// TestRulesPage looks for each rule with its real message.
func TestRulesPage(t *testing.T) {
	fixtures, err := fixture.Load(os.DirFS("../../testdata/rules"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := rulesPage(policy.Rules(), fixtures)
	if err != nil {
		t.Fatal(err)
	}
	position := 0
	for _, r := range policy.Rules() {
		heading := strings.Index(string(page), "\n## "+r.ID+" "+r.Name+"\n")
		if heading < position {
			t.Errorf("the section of %s is missing or out of order", r.ID)
		}
		position = heading
		for _, want := range []string{r.Title, "- Remedy: " + r.Remedy, ": " + r.ID + " " + r.Name + ": "} {
			if !strings.Contains(string(page[max(heading, 0):]), want) {
				t.Errorf("the section of %s lacks %q", r.ID, want)
			}
		}
	}
	if _, err := rulesPage(policy.Rules(), nil); err == nil || !strings.Contains(err.Error(), "MW101 gateway-not-found has no example") {
		t.Errorf("rules without cases: %v", err)
	}
}

// TestWebhooksManifest reads the manifest as a client does.
func TestWebhooksManifest(t *testing.T) {
	manifest, err := webhooksManifest()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(manifest), "null") || strings.Contains(string(manifest), "creationTimestamp") {
		t.Errorf("fields that nobody set are written:\n%s", manifest)
	}
	var kinds []string
	for document := range strings.SplitSeq(string(manifest), "\n---\n") {
		var o struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, o.Kind)
	}
	if diff := cmp.Diff([]string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}
