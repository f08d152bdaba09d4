// Package release tests that what names the version of a release names the same one.
package release

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestVersions holds every place that names the version to manifests/base, which the release's workflow holds to the tag.
func TestVersions(t *testing.T) {
	want := versions(t, place{file: "manifests/base/kustomization.yaml", pattern: `newTag: v(\S+)`})[0]
	for _, p := range []place{
		{"the installer's image of the Job", "manifests/bootstrap/kustomization.yaml", `newTag: v(\S+)`},
		{"the chart", "charts/meshwarden/Chart.yaml", `(?m)^version: (\S+)$`},
		{"the chart's image", "charts/meshwarden/Chart.yaml", `(?m)^appVersion: v(\S+)$`},
		{"the operator's image, of an installer that is no release itself", "installer/pkg/installation/installation.go", `lastRelease = "v([^"]+)"`},
		{"the manifests that users refer to", "docs/operations.md", `\?ref=v([\w.-]+)`},
		{"the Job's manifests that users refer to", "docs/bootstrap.md", `\?ref=v([\w.-]+)`},
		{"the image to mirror", "docs/bootstrap.md", `meshwarden/installer:v([\w.-]+)`},
		{"the image to build", "docs/operations.md", `TAG=v([\w.-]+)`},
	} {
		for _, got := range versions(t, p) {
			if got != want {
				t.Errorf("%s: %s has version %s, manifests/base has %s", p.reason, p.file, got, want)
			}
		}
	}
}

// place is where the version stands, without its v, in the group of the pattern.
type place struct{ reason, file, pattern string }

// versions returns what stands there, at least one.
func versions(t *testing.T, p place) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(p.file)))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile(p.pattern).FindAllStringSubmatch(string(content), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no version: nothing matches %s", p.file, p.pattern)
	}
	return found
}
