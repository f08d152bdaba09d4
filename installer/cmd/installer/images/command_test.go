package images_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/images"
)

const fixtures = "../../../testdata/documents/"

// twice is the line of an image that is used under the name under which it is published.
func twice(image string) string { return image + " " + image + "\n" }

func TestCommand(t *testing.T) {
	tests := []struct {
		reason, stdin              string
		args                       []string
		stdout, stderr, failedWith string
	}{
		{
			reason: "the reference document, from the local registry", args: []string{"--image-registry", "registry.example:5000", fixtures + "good/reference.yaml"},
			stdout: "registry.example:5000/istio/pilot:1.31.1\nregistry.example:5000/istio/proxyv2:1.31.1\nregistry.example:5000/meshwarden/installer:v0.1.0\n",
		},
		{
			reason: "where they are to be mirrored from", args: []string{"--sources", "--image-registry", "registry.example:5000", fixtures + "good/reference.yaml"},
			stdout: "registry.istio.io/release/pilot:1.31.1 registry.example:5000/istio/pilot:1.31.1\n" +
				"registry.istio.io/release/proxyv2:1.31.1 registry.example:5000/istio/proxyv2:1.31.1\n" +
				"meshwarden/installer:v0.1.0 registry.example:5000/meshwarden/installer:v0.1.0\n",
		},
		{
			reason: "a document that takes them from where they are published has nothing to mirror from", args: []string{"--sources", fixtures + "good/every-key.yaml"},
			stdout: twice("meshwarden/installer:v0.1.0") + twice("registry.istio.io/release/pilot:1.31.0-distroless") + twice("registry.istio.io/release/proxyv2:1.31.0-distroless"),
		},
		{
			reason: "standard input, and an operator of one's own", args: []string{"--operator-image", "other.example/operator:1", "-"},
			stdin: "kind: configuration/applications\nspecification: {applications: [{name: istio, enabled: true, use_local_image_registry: false, istio_spec: {profile: ambient}}]}\n",
			stdout: "other.example/operator:1\nregistry.istio.io/release/install-cni:1.31.1-distroless\nregistry.istio.io/release/pilot:1.31.1-distroless\n" +
				"registry.istio.io/release/proxyv2:1.31.1-distroless\nregistry.istio.io/release/ztunnel:1.31.1-distroless\n",
		},
		{
			reason: "a document that is not enabled needs none", args: []string{fixtures + "good/disabled.yaml"},
			stderr: "the document does not enable istio: nothing to do\n",
		},
		{reason: "a bad document", args: []string{fixtures + "bad/unknown-profile.yaml"}, failedWith: `unknown profile "foo"`},
		{reason: "no document", failedWith: "which document?"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			c := images.NewCommand()
			c.SilenceErrors, c.SilenceUsage = true, true
			c.SetIn(strings.NewReader(tc.stdin))
			c.SetOut(&stdout)
			c.SetErr(&stderr)
			c.SetArgs(tc.args)
			err := c.Execute()
			if got := err != nil; got != (tc.failedWith != "") || got && !strings.Contains(err.Error(), tc.failedWith) {
				t.Errorf("error: %v, want %q in it", err, tc.failedWith)
			}
			if diff := cmp.Diff([]string{tc.stdout, tc.stderr}, []string{stdout.String(), stderr.String()}); diff != "" {
				t.Errorf("standard output and error (-want +got):\n%s", diff)
			}
		})
	}
}
