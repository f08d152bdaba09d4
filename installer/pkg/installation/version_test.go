package installation_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/installer/pkg/installation"
)

func TestVersionNotes(t *testing.T) {
	const (
		untested   = "which Istio does not test with the charts of 1.31 that this installer has; use a version 1.31.x, or the installer that has the charts of "
		overridden = "of istio_spec.version, because istio_spec.values say so"
	)
	for _, c := range []struct {
		reason, version string
		images, want    []string
	}{
		{reason: "a profile without images"},
		{reason: "nothing said", images: []string{"registry.istio.io/release/pilot:1.31.1", "registry.istio.io/release/proxyv2:1.31.1"}},
		{reason: "another patch of the charts' minor version, either way", version: "1.31.9", images: []string{"registry.istio.io/release/pilot:1.31.9"}},
		{
			reason: "an older minor version, said once for all images that have it", version: "1.30.2",
			images: []string{"r.example:5000/istio/pilot:1.30.2", "r.example:5000/istio/proxyv2:1.30.2", "r.example:5000/meshwarden/installer:v0.1.0"},
			want:   []string{"pilot, proxyv2: version 1.30.2, " + untested + "1.30"},
		},
		{reason: "a newer one", version: "1.32.0", images: []string{"istio/ztunnel:1.32.0"}, want: []string{"ztunnel: version 1.32.0, " + untested + "1.32"}},
		{
			reason: "values.global.tag beats the document, and is of another minor version, too", version: "1.31.1", images: []string{"istio/pilot:1.29.0", "istio/proxyv2:1.29.0"},
			want: []string{"pilot, proxyv2: version 1.29.0, and not the 1.31.1 " + overridden, "pilot, proxyv2: version 1.29.0, " + untested + "1.29"},
		},
		{
			reason: "values.pilot.tag, for istiod alone", version: "1.31.1", images: []string{"istio/pilot:1.31.2", "istio/proxyv2:1.31.1"},
			want: []string{"pilot: version 1.31.2, and not the 1.31.1 " + overridden},
		},
		{reason: "values.global.tag, and no version that it could beat", images: []string{"istio/pilot:1.31.2"}},
		{reason: "values.global.tag says the same", version: "1.31.2", images: []string{"istio/pilot:1.31.2"}},
		{reason: "values.global.variant is no version", version: "1.31.1", images: []string{"istio/pilot:1.31.1-distroless", "istio/proxyv2:1.31.1-debug"}},
		{reason: "the variant is in the tag, and for the proxy replaced", version: "1.31.1-distroless", images: []string{"istio/pilot:1.31.1-distroless", "istio/proxyv2:1.31.1-debug"}},
		{reason: "a build of Istio's developers", version: "1.31-alpha.5b7fb8a", images: []string{"istio/pilot:1.31-alpha.5b7fb8a"}},
		{reason: "one of another minor version", images: []string{"istio/pilot:1.32-alpha.5b7fb8a"}, want: []string{"pilot: version 1.32-alpha.5b7fb8a, " + untested + "1.32"}},
		{reason: "a candidate", version: "1.31.0-rc.1", images: []string{"istio/pilot:1.31.0-rc.1"}},
		{reason: "nobody knows what the latest is", version: "latest", images: []string{"istio/pilot:latest"}},
		{reason: "a v before it", version: "v1.30.5", images: []string{"istio/pilot:v1.30.5"}, want: []string{"pilot: version v1.30.5, " + untested + "1.30"}},
		{reason: "a v before the charts' own", version: "v1.31.5", images: []string{"istio/pilot:v1.31.5"}},
		{reason: "another major version", version: "2.31.0", images: []string{"istio/pilot:2.31.0"}, want: []string{"pilot: version 2.31.0, " + untested + "2.31"}},
		{reason: "both", version: "v2.0", images: []string{"istio/pilot:v2.0"}, want: []string{"pilot: version v2.0, " + untested + "2.0"}},
		{reason: "names", images: []string{"istio/pilot:main", "istio/pilot:release-1.30", "istio/pilot:asm-1305-1", "istio/pilot:5b7fb8a", "istio/pilot:1305"}},
		{
			reason: "the values may say that nobody knows, too", version: "1.31.1", images: []string{"istio/pilot:latest"},
			want: []string{"pilot: version latest, and not the 1.31.1 " + overridden},
		},
		{reason: "a proxy of somebody's own has versions of its own", version: "1.31.1", images: []string{"example.com/envoy:1.36.0"}},
		{reason: "a digest says nothing, a tag beside it does", images: []string{
			"istio/pilot@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"istio/proxyv2:1.30.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		}, want: []string{"proxyv2: version 1.30.0, " + untested + "1.30"}},
		{reason: "what is no image", images: []string{"istio/Pilot:1.30.0", ""}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, installation.VersionNotes(c.version, c.images)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
