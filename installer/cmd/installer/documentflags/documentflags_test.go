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

// Each document has the faults in its values that the file of its name lists, all of them.
func TestLoadRefusesValues(t *testing.T) {
	documents, err := filepath.Glob(filepath.Join(fixtures, "values/*.yaml"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("no fixtures (%v)", err)
	}
	for _, name := range documents {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(name, ".yaml") + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			_, err = (&documentflags.Options{}).Load(name, nil)
			if err == nil {
				t.Fatal("it is not refused")
			}
			got := strings.ReplaceAll(err.Error(), name, "document.yaml") + "\n"
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadWarnings(t *testing.T) {
	content := istio("istio_spec: {values: {meshConfig: {\n      accessLogFil: a}}}")
	i, err := (&documentflags.Options{}).Load("-", strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"standard input:5: specification.applications[0].istio_spec.values.meshConfig.accessLogFil: unknown key; did you mean accessLogFile? (istiod ignores it, unless it is newer than Istio's charts in this program)",
	}
	if diff := cmp.Diff(want, i.Rendering.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
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
