package main

import (
	"io"
	"strings"
	"testing"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
)

func TestExitCode(t *testing.T) {
	const fixtures = "../../testdata/documents/"
	const registry = "--image-registry=registry.example:5000"
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   int
	}{
		"Done":            {"a document that is not enabled asks for nothing", []string{"bootstrap", fixtures + "good/disabled.yaml"}, 0},
		"Help":            {"help is no fault", []string{"bootstrap", "--help"}, 0},
		"Version":         {"it needs no document", []string{"version"}, 0},
		"UnknownCommand":  {"it stays unknown", []string{"bootstap"}, exitcode.Input},
		"UnknownOption":   {"it stays unknown", []string{"bootstrap", "--dry", fixtures + "good/reference.yaml"}, exitcode.Input},
		"NoDocument":      {"an argument is missing", []string{"bootstrap"}, exitcode.Input},
		"MissingDocument": {"the argument names no file", []string{"bootstrap", "missing.yaml"}, exitcode.Input},
		"NoRegistry":      {"an option is missing", []string{"bootstrap", fixtures + "good/reference.yaml"}, exitcode.Input},
		"BadTimeout":      {"an option makes no sense", []string{"bootstrap", "--timeout=0s", registry, fixtures + "good/reference.yaml"}, exitcode.Input},
		"BadDocument":     {"its faults", []string{"bootstrap", "-"}, exitcode.Input},
		"BadValues":       {"what Istio refuses", []string{"images", registry, fixtures + "values/in-the-words-of-istio.yaml"}, exitcode.Input},
		"NoSuchContext":   {"the option names no cluster", []string{"bootstrap", "--context=none", registry, fixtures + "good/reference.yaml"}, exitcode.Input},
		"OperatorOptions": {"the operator's own", []string{"operator"}, exitcode.Input},
		"NoCluster":       {"the API server may come", []string{"bootstrap", "--kubeconfig=testdata/nobody.yaml", registry, fixtures + "good/reference.yaml"}, exitcode.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			root := newCommand()
			root.SetArgs(tc.args)
			root.SetIn(strings.NewReader("kind: other\n"))
			root.SetOut(io.Discard)
			root.SetErr(io.Discard)
			err := execute(t.Context(), root)
			if got := exitcode.Of(err); got != tc.want {
				t.Errorf("%s: code %d, want %d: %v", tc.reason, got, tc.want, err)
			}
		})
	}
}
