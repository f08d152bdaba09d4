package render_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/render"
)

const fixtures = "../../../testdata/documents/"

// run runs the command and returns what it prints on standard output and standard error.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, problems bytes.Buffer
	c := render.NewCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&out)
	c.SetErr(&problems)
	c.SetArgs(args)
	err = c.Execute()
	return out.String(), problems.String(), err
}

// The reference document's objects come in the order in which they come about, each under its heading and once.
func TestReference(t *testing.T) {
	stdout, stderr, err := run(t, "", "--image-registry", "registry.example:5000", fixtures+"good/reference.yaml")
	if err != nil || stderr != "" {
		t.Fatalf("error %v, standard error %q", err, stderr)
	}
	var headings []string
	for line := range strings.Lines(stdout) {
		if heading, ok := strings.CutPrefix(line, "# "); ok && (len(headings) == 0 || headings[len(headings)-1] != strings.TrimSpace(heading)) {
			headings = append(headings, strings.TrimSpace(heading))
		}
	}
	want := []string{
		"namespaces", "operator", "IstioOperator",
		"applied by the operator: Base", "applied by the operator: Pilot", "applied by the operator: IngressGateways",
	}
	if diff := cmp.Diff(want, headings); diff != "" {
		t.Errorf("headings (-want +got):\n%s", diff)
	}
	seen := map[string]bool{}
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(stdout), 4096); ; {
		o := &unstructured.Unstructured{}
		err := d.Decode(o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("what was printed is not YAML: %v", err)
		}
		name := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if seen[name] {
			t.Errorf("%s is printed twice", name)
		}
		seen[name] = true
	}
	for _, name := range []string{
		"Namespace /istio-operator", "Deployment istio-operator/istio-operator", "IstioOperator istio-system/istiocontrolplane", "Deployment istio-system/istiod",
	} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestCommand(t *testing.T) {
	tests := []struct {
		reason, stdin      string
		args               []string
		stderr, failedWith string
	}{
		{reason: "a document that is not enabled leads to nothing", args: []string{fixtures + "good/disabled.yaml"}, stderr: "the document does not enable istio: nothing to do\n"},
		{reason: "the local registry has to be named", args: []string{fixtures + "good/reference.yaml"}, failedWith: "--image-registry HOST[:PORT]"},
		{reason: "a registry with a scheme", args: []string{"--image-registry", "https://a.example", fixtures + "good/reference.yaml"}, failedWith: "without a scheme or a path"},
		{reason: "a bad document on standard input", args: []string{"-"}, stdin: "kind: other\n", failedWith: "standard input:1: no document of kind configuration/applications; found other"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			stdout, stderr, err := run(t, tc.stdin, tc.args...)
			if got := err != nil; got != (tc.failedWith != "") || got && !strings.Contains(err.Error(), tc.failedWith) {
				t.Errorf("error: %v, want %q in it", err, tc.failedWith)
			}
			if diff := cmp.Diff([]string{"", tc.stderr}, []string{stdout, stderr}); diff != "" {
				t.Errorf("standard output and error (-want +got):\n%s", diff)
			}
		})
	}
}

// What Istio finds doubtful is told, and not among the objects.
func TestWarnings(t *testing.T) {
	stdout, stderr, err := run(t, `kind: configuration/applications
specification:
  applications:
  - name: istio
    enabled: true
    use_local_image_registry: false
    istio_spec: {profile: minimal, values: {global: {proxy: {holdApplicationUntilProxyStarts: true}}}}
`, "-")
	if err != nil {
		t.Fatal(err)
	}
	const want = `warning: "global.proxy.holdApplicationUntilProxyStarts" is deprecated; use "meshConfig.defaultConfig.holdApplicationUntilProxyStarts" instead.` + "\n"
	if stderr != want || !strings.HasPrefix(stdout, "---\n") || strings.Contains(stdout, "is deprecated; use") {
		t.Errorf("standard error %q, want %q; standard output begins with %.40q", stderr, want, stdout)
	}
}
