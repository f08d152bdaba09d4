// Package architecture tests that imports run one way:
//
//	cmd -> {admission, onboarding, audit, certificate, check, informer} -> {mesh, istio} -> policy -> std and the API types
//	installer/cmd -> bootstrap -> operator -> {installation, health, render} -> document -> std and a YAML parser
package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/meshwarden/meshwarden"

// layer is what the packages of one folder may import.
type layer struct {
	folder, reason string
	// own are the folders of this module that it may import, besides itself.
	own []string
	// only, where set, are the modules that it may import beside std and this one; not are packages that it itself must
	// not import all the same. What an allowed package drags in is allowed.
	only, not []string
	// unreachable are what it must not even reach.
	unreachable []string
}

func layers() []layer {
	lower := []string{"pkg/mesh", "pkg/istio", "pkg/policy"}
	clients := []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	return []layer{
		{
			folder: "pkg/policy", reason: "a verdict depends on nothing but its arguments",
			only: []string{"k8s.io/api", "k8s.io/apimachinery"}, not: []string{"context", "os"},
			unreachable: append([]string{"istio.io", "go.uber.org/zap", "github.com/go-logr/zapr"}, clients...),
		},
		{folder: "pkg/apis", reason: "types are for everybody", unreachable: clients},
		{folder: "pkg/mesh", reason: "informers and files feed it, and it knows neither", own: []string{"pkg/policy"}, unreachable: clients},
		{folder: "pkg/istio", reason: "it translates and does nothing else", own: []string{"pkg/policy"}, unreachable: clients},
		{folder: "pkg/admission", reason: "siblings don't import each other", own: lower},
		{folder: "pkg/onboarding", reason: "siblings don't import each other", own: lower},
		{folder: "pkg/audit", reason: "siblings don't import each other", own: lower},
		{folder: "pkg/informer", reason: "siblings don't import each other", own: lower},
		{folder: "pkg/server", reason: "it knows nothing of what it serves"},
		{folder: "pkg/certificate", reason: "it keeps certificates, whatever they are for"},
		{folder: "pkg/check", reason: "the offline commands need no cluster", own: lower, unreachable: clients},
		{folder: "internal/fixture", reason: "test cases are read without a cluster", own: lower, unreachable: clients},
		{folder: "internal/generate", reason: "it documents the packages", own: []string{"internal/fixture", "pkg"}},
		{folder: "internal/architecture", reason: "it holds a test only"},
		{folder: "internal/release", reason: "it holds a test only"},
		{
			folder: "cmd", reason: "what is in internal is for tests and generators, and the webhook stays small", own: []string{"pkg"},
			unreachable: []string{"istio.io/istio", "helm.sh/helm"},
		},
	}
}

// installerLayers are those of the installer's module.
func installerLayers() []layer {
	istio := []string{"istio.io", "helm.sh/helm"}
	clients := []string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime"}
	return []layer{
		{folder: "installer/pkg/document", reason: "a document is judged by nothing but its text", unreachable: append(istio, clients...)},
		{
			folder: "installer/pkg/installation", reason: "what a document leads to depends on nothing else",
			own: []string{"installer/pkg/document"}, unreachable: append(istio, clients...),
		},
		{folder: "installer/pkg/render", reason: "it renders, for whomever"},
		{folder: "installer/pkg/health", reason: "it looks at workloads, whoever asks", unreachable: istio},
		{
			folder: "installer/pkg/operator", reason: "the operator knows IstioOperators and no documents",
			own: []string{"installer/pkg/render", "installer/pkg/health"},
		},
		{
			folder: "installer/pkg/bootstrap", reason: "it installs the operator, waits for what the operator says, and knows which namespaces Meshwarden leaves alone",
			own: []string{"installer/pkg/document", "installer/pkg/installation", "installer/pkg/operator", "installer/pkg/render", "installer/pkg/health", "pkg/policy"},
		},
		{
			folder: "installer/cmd", reason: "of the webhook's module it needs the version alone",
			own: []string{"installer/pkg", "cmd/webhook/version"},
		},
	}
}

// listed is a package as `go list -json` prints it.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func TestImports(t *testing.T) {
	for dir, rows := range map[string][]layer{".": layers(), "installer": installerLayers()} {
		t.Run(dir, func(t *testing.T) { testImports(t, dir, rows) })
	}
}

// testImports holds the packages of the module in a folder to its layers.
func testImports(t *testing.T, dir string, rows []layer) {
	prefix := path.Join(module, dir)
	packages := list(t, dir)
	for importPath, p := range packages {
		if !within(importPath, prefix) {
			continue
		}
		folder := strings.TrimPrefix(importPath, module+"/")
		i := slices.IndexFunc(rows, func(l layer) bool { return within(folder, l.folder) })
		if i < 0 {
			t.Errorf("%s belongs to no layer: say in this test what it may import", folder)
			continue
		}
		rows[i].check(t, packages, p)
	}
}

func (l layer) check(t *testing.T, packages map[string]listed, p listed) {
	for _, imported := range p.Imports {
		folder, own := strings.CutPrefix(imported, module+"/")
		switch {
		case own && !slices.ContainsFunc(append(l.own, l.folder), func(f string) bool { return within(folder, f) }):
			t.Errorf("%s imports %s: %s", p.ImportPath, imported, l.reason)
		case slices.Contains(l.not, imported):
			t.Errorf("%s imports %s: %s", p.ImportPath, imported, l.reason)
		case !own && l.only != nil && !packages[imported].Standard &&
			!slices.ContainsFunc(l.only, func(m string) bool { return within(imported, m) }):
			t.Errorf("%s imports %s: %s", p.ImportPath, imported, l.reason)
		}
	}
	for _, unreachable := range l.unreachable {
		if way := wayTo(packages, p.ImportPath, unreachable); way != nil {
			t.Errorf("%s reaches %s by way of %s: %s", p.ImportPath, unreachable, strings.Join(way, " -> "), l.reason)
		}
	}
}

// wayTo returns a shortest chain of imports from a package to one of the module, or nil when there is none.
func wayTo(packages map[string]listed, from, module string) []string {
	ways := [][]string{{from}}
	seen := map[string]bool{from: true}
	for len(ways) > 0 {
		way := ways[0]
		ways = ways[1:]
		for _, next := range packages[way[len(way)-1]].Imports {
			if seen[next] {
				continue
			}
			seen[next] = true
			longer := append(slices.Clone(way), next)
			if within(next, module) {
				return longer[1:]
			}
			ways = append(ways, longer)
		}
	}
	return nil
}

// within says whether a path is the folder or below it.
func within(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, folder+"/")
}

// watch reads the module's folders. The go command keeps a test's result for as long as nothing changes that the test
// itself has looked at, and what `go list` looks at does not count.
func watch(t *testing.T, dir string) {
	t.Helper()
	for _, folder := range []string{"cmd", "internal", "pkg"} {
		folder = filepath.Join("..", "..", dir, folder)
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := filepath.WalkDir(folder, func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// list returns every package of the module in a folder, and all that they depend on.
func list(t *testing.T, dir string) map[string]listed {
	t.Helper()
	watch(t, dir)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports", path.Join(module, dir, "..."))
	cmd.Dir = filepath.Join("..", "..", dir)
	output, err := cmd.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	packages := map[string]listed{}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
	return packages
}
