package documentflags_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/documentflags"
	"github.com/meshwarden/meshwarden/installer/pkg/document"
)

const fixtures = "../../../testdata/documents"

// istio returns a document that says this of Istio.
func istio(keys string) string {
	return "kind: configuration/applications\nspecification:\n  applications:\n  - {name: istio, enabled: true, use_local_image_registry: false, " + keys + "}\n"
}

func TestLoad(t *testing.T) {
	i, err := (&documentflags.Options{ImageRegistry: "registry.example:5000"}).Load(filepath.Join(fixtures, "good/reference.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := i.Rendering.Namespace + " " + i.Plan.IstioOperator.GetName(); got != "istio-system istiocontrolplane" {
		t.Errorf("loaded %q, want the reference document", got)
	}
}

func TestLoadDisabled(t *testing.T) {
	i, err := (&documentflags.Options{}).Load(filepath.Join(fixtures, "good/disabled.yaml"), nil)
	if err != nil {
		t.Fatalf("a document that is not enabled needs no registry: %v", err)
	}
	if i.Document.Enabled || i.Plan.IstioOperator != nil {
		t.Error("a document that is not enabled leads to something")
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct{ reason, content, want string }{
		{"every fault of the document, each with its line", istio("enable: yes, istio_spec: {profile: foo}"), "wrong with the document:\nstandard input:4: specification.applications[0].enable: unknown key"},
		{"values that Istio does not know", istio("istio_spec: {values: {pilots: {}}}"), `standard input: Istio refuses what the document makes of istio_spec: invalid IstioOperator: could not unmarshal: error unmarshaling JSON: while decoding JSON: unknown field "pilots"`},
		{"values of a wrong type", istio("istio_spec: {values: {global: 5}}"), "spec.values.global: must be a mapping"},
		{"a document that is none", "\t", "standard input:1: not YAML"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			_, err := (&documentflags.Options{}).Load("-", strings.NewReader(tc.content))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error: %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestLoadNotes(t *testing.T) {
	local := strings.Replace(istio("istio_spec: {values: {pilot: {hub: other.example}}}"), "false", "true", 1)
	tests := []struct {
		reason, content, operator string
		want                      []string
	}{
		{reason: "all from the local registry", content: strings.Replace(istio("istio_spec: {}"), "false", "true", 1)},
		{reason: "values that lead elsewhere", content: local, want: []string{"image other.example/pilot:1.31.1 is not from the local registry registry.example:5000, because the values or --operator-image say so"}},
		{
			reason: "an operator from elsewhere", content: strings.Replace(istio("istio_spec: {}"), "false", "true", 1), operator: "other.example/operator:v1",
			want: []string{"image other.example/operator:v1 is not from the local registry registry.example:5000, because the values or --operator-image say so"},
		},
		{reason: "without a local registry, images come from anywhere", content: istio("istio_spec: {values: {pilot: {hub: other.example}}}")},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			i, err := (&documentflags.Options{ImageRegistry: "registry.example:5000", OperatorImage: tc.operator}).Load("-", strings.NewReader(tc.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, i.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// endless is a standard input that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestLoadEndless(t *testing.T) {
	_, err := (&documentflags.Options{}).Load("-", endless{})
	if err == nil || !strings.Contains(err.Error(), "more than 16 MiB") {
		t.Errorf("error: %v, want that it is too large", err)
	}
}

// failing is a standard input that breaks off.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestLoadUnreadable(t *testing.T) {
	if _, err := (&documentflags.Options{}).Load("-", failing{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error: %v, want %v", err, io.ErrUnexpectedEOF)
	}
	_, err := (&documentflags.Options{}).Load(filepath.Join(t.TempDir(), "missing.yaml"), nil)
	if faults := new(document.Faults); !errors.Is(err, os.ErrNotExist) || errors.As(err, &faults) {
		t.Errorf("error: %v, want that the file does not exist", err)
	}
}
