package render_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

func TestImages(t *testing.T) {
	tests := []struct {
		reason, spec string
		want         []string
	}{
		{
			reason: "the proxy of a mesh without gateways is only in the injector's values", spec: `{profile: minimal, hub: r.example/istio, tag: 1.31.1}`,
			want: []string{"r.example/istio/pilot:1.31.1", "r.example/istio/proxyv2:1.31.1"},
		},
		{
			reason: "with a gateway it is the same one, and comes once", spec: `{profile: demo, hub: r.example/istio, tag: 1.31.1}`,
			want: []string{"r.example/istio/pilot:1.31.1", "r.example/istio/proxyv2:1.31.1"},
		},
		{
			reason: "ambient has images of a variant, and more of them", spec: `{profile: ambient, hub: r.example/istio, tag: 1.31.1}`,
			want: []string{
				"r.example/istio/install-cni:1.31.1-distroless", "r.example/istio/pilot:1.31.1-distroless",
				"r.example/istio/proxyv2:1.31.1-distroless", "r.example/istio/ztunnel:1.31.1-distroless",
			},
		},
		{
			reason: "whole names in the values are taken as they are",
			spec:   `{profile: minimal, hub: r.example/istio, tag: 1.31.1, values: {global: {proxy: {image: other.example/envoy:5}, proxy_init: {image: other.example/init:6}}, pilot: {image: other.example/istiod:4}}}`,
			want:   []string{"other.example/envoy:5", "other.example/init:6", "other.example/istiod:4"},
		},
		{
			reason: "a name alone is one in the hub",
			spec:   `{profile: minimal, hub: r.example/istio, tag: 1.31.1, values: {global: {proxy: {image: myproxy}}}}`,
			want:   []string{"r.example/istio/myproxy:1.31.1", "r.example/istio/pilot:1.31.1", "r.example/istio/proxyv2:1.31.1"},
		},
		{
			reason: "the mesh configuration may ask for another variant of the proxy",
			spec:   `{profile: minimal, hub: r.example/istio, tag: 1.31.1, meshConfig: {defaultConfig: {image: {imageType: debug}}}}`,
			want:   []string{"r.example/istio/pilot:1.31.1", "r.example/istio/proxyv2:1.31.1", "r.example/istio/proxyv2:1.31.1-debug"},
		},
		{
			reason: "istiod starts gateways with another proxy only where that is switched on",
			spec:   `{profile: minimal, hub: r.example/istio, tag: 1.31.1, values: {pilot: {env: {PILOT_ENABLE_AGENTGATEWAY: "true"}}}}`,
			want:   []string{"r.example/istio/agentgateway:1.31.1", "r.example/istio/pilot:1.31.1", "r.example/istio/proxyv2:1.31.1"},
		},
		{reason: "nothing needs no image", spec: `profile: empty`},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			r, err := render.Render(istioOperator(t, tc.spec), nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, render.Images(r)); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}
