// Command generate writes the files that follow from the code, the documentation of the rules and the registration of the
// webhooks, and the templates of the Helm chart, which follow from the manifests. It is run in the repository's root; with
// -check it writes nothing and fails when a file is out of date.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/meshwarden/meshwarden/internal/fixture"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func main() {
	check := flag.Bool("check", false, "write nothing, and fail when a file is out of date")
	flag.Parse()
	if err := run(".", *check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// file is a generated file.
type file struct {
	path    string
	content []byte
}

func run(root string, check bool) error {
	files, err := generate(os.DirFS(root))
	if err != nil {
		return err
	}
	var faults []error
	for _, f := range files {
		f.path = filepath.Join(root, f.path)
		if check {
			faults = append(faults, f.check())
		} else {
			faults = append(faults, f.write())
		}
	}
	return errors.Join(faults...)
}

func generate(root fs.FS) ([]file, error) {
	cases, err := fs.Sub(root, "testdata/rules")
	if err != nil {
		return nil, err
	}
	fixtures, err := fixture.Load(cases)
	if err != nil {
		return nil, err
	}
	rules, err := rulesPage(policy.Rules(), fixtures)
	if err != nil {
		return nil, err
	}
	webhooks, err := webhooksManifest()
	if err != nil {
		return nil, err
	}
	generated := []file{{"docs/rules.md", rules}, {webhooksPath, webhooks}}
	chart, err := chartFiles(root, generated)
	if err != nil {
		return nil, err
	}
	return append(generated, chart...), nil
}

func (f file) write() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(f.path, f.content, 0o644)
}

func (f file) check() error {
	current, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(current, f.content) {
		return fmt.Errorf("%s is out of date: run go run ./internal/generate", f.path)
	}
	return nil
}
