package istio_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

func TestParseMeshConfig(t *testing.T) {
	tests := []struct {
		reason, text string
		want         istio.MeshSettings
	}{
		{"nothing", "", istio.MeshSettings{}},
		{"other fields only", "accessLogFile: /dev/stdout\ndefaultConfig: {discoveryAddress: a}\n", istio.MeshSettings{}},
		{"both", "defaultVirtualServiceExportTo: [., istio-system]\nrootNamespace: root\n", istio.MeshSettings{DefaultExportTo: []string{".", "istio-system"}, RootNamespace: "root"}},
		{"an empty list says everywhere", "defaultVirtualServiceExportTo: []\n", istio.MeshSettings{DefaultExportTo: []string{}}},
		{"null says nothing", "defaultVirtualServiceExportTo: null\nrootNamespace: null\n", istio.MeshSettings{}},
		{"the default for other kinds", "defaultServiceExportTo: [a]\ndefaultDestinationRuleExportTo: [b]\n", istio.MeshSettings{}},
		{"JSON is YAML", `{"rootNamespace":"root"}`, istio.MeshSettings{RootNamespace: "root"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.ParseMeshConfig(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ParseMeshConfig (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseMeshConfigErrors(t *testing.T) {
	tests := []struct{ reason, text, want string }{
		{"text where a list is meant", "defaultVirtualServiceExportTo: .", "defaultVirtualServiceExportTo: must be a list, not a string"},
		{"a number in the list", "defaultVirtualServiceExportTo: [1]", "defaultVirtualServiceExportTo: must be a string, not a number"},
		{"a list where text is meant", "rootNamespace: [a]", "rootNamespace: must be a string, not a list"},
		{"a field that no rule reads is at fault, and Istio takes none of it", "defaultVirtualServiceExportTo: [.]\nenableTracing: xx", "cannot read it as Istio does: "},
		{"no object", "text", "must be an object, not a string"},
		{"not YAML", "a: [", "yaml: line 1: did not find expected node content"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.ParseMeshConfig(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseMeshConfig: %v, want %q", err, tc.want)
			}
			if diff := cmp.Diff(istio.MeshSettings{}, got); diff != "" {
				t.Errorf("settings beside the error:\n%s", diff)
			}
		})
	}
}

func TestParseIstiod(t *testing.T) {
	tests := []struct {
		reason, containers string
		want               istio.MeshSettings
	}{
		{"no container", `[]`, istio.MeshSettings{}},
		{"nothing said", `[{"name":"discovery","args":["discovery"]}]`, istio.MeshSettings{}},
		{"the domain, as the charts write it", `[{"name":"discovery","args":["discovery","--domain","example.org","--log"]}]`, istio.MeshSettings{ClusterDomain: "example.org"}},
		{"the domain in one word", `[{"name":"discovery","args":["discovery","--domain=example.org"]}]`, istio.MeshSettings{ClusterDomain: "example.org"}},
		{"the domain twice: the last one holds", `[{"name":"discovery","args":["--domain=a","--domain","b"]}]`, istio.MeshSettings{ClusterDomain: "b"}},
		{"a variable, as the kubelet expands it", `[{"name":"discovery","env":[{"name":"D","value":"corp.local"}],"args":["--domain","$(D)"]}]`, istio.MeshSettings{ClusterDomain: "corp.local"}},
		{"a variable from elsewhere is not known", `[{"name":"discovery","env":[{"name":"D"}],"args":["--domain=$(D)"]}]`, istio.MeshSettings{}},
		{"a flag without value", `[{"name":"discovery","args":["--domain"]}]`, istio.MeshSettings{}},
		{"a flag of another name", `[{"name":"discovery","args":["--domains","a","--domain-suffix=b"]}]`, istio.MeshSettings{}},
		{"scoped", `[{"name":"discovery","env":[{"name":"PILOT_SCOPE_GATEWAY_TO_NAMESPACE","value":"true"}]}]`, istio.MeshSettings{ScopeGateways: new(true)}},
		{"not scoped", `[{"name":"discovery","env":[{"name":"PILOT_SCOPE_GATEWAY_TO_NAMESPACE","value":"0"}]}]`, istio.MeshSettings{ScopeGateways: new(false)}},
		{"no truth value is false", `[{"name":"discovery","env":[{"name":"PILOT_SCOPE_GATEWAY_TO_NAMESPACE","value":"yes"}]}]`, istio.MeshSettings{ScopeGateways: new(false)}},
		{"a value from elsewhere is not known", `[{"name":"discovery","env":[{"name":"PILOT_SCOPE_GATEWAY_TO_NAMESPACE","valueFrom":{}}]}]`, istio.MeshSettings{}},
		{"the container counts by its name", `[{"name":"a","args":["--domain","a"]},{"name":"discovery","args":["--domain","b"]}]`, istio.MeshSettings{ClusterDomain: "b"}},
		{"without the name, the first one", `[{"name":"a","args":["--domain","a"]},{"name":"b","args":["--domain","b"]}]`, istio.MeshSettings{ClusterDomain: "a"}},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			got, err := istio.ParseIstiod(&istio.Deployment{Spec: json.RawMessage(`{"template":{"spec":{"containers":` + tc.containers + `}}}`)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("ParseIstiod (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := istio.ParseIstiod(&istio.Deployment{Spec: json.RawMessage(`{"template":1}`)}); err == nil || err.Error() != "spec.template: must be an object, not a number" {
		t.Errorf("ParseIstiod of a Deployment that cannot be read: %v", err)
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		reason string
		said   istio.MeshSettings
		want   policy.Settings
	}{
		{"Istio's defaults", istio.MeshSettings{}, policy.Settings{ClusterDomain: "cluster.local", RootNamespace: "istio-system"}},
		{
			"all that can be said",
			istio.MeshSettings{DefaultExportTo: []string{"."}, RootNamespace: "root", ScopeGateways: new(true), ClusterDomain: "example.org"},
			policy.Settings{DefaultExportTo: []string{"."}, RootNamespace: "root", ScopeGateways: true, ClusterDomain: "example.org"},
		},
		{
			"what the first source says holds, where it says anything",
			istio.MeshSettings{DefaultExportTo: []string{}, ScopeGateways: new(false)}.Or(istio.MeshSettings{
				DefaultExportTo: []string{"."}, RootNamespace: "root", ScopeGateways: new(true), ClusterDomain: "example.org",
			}),
			policy.Settings{DefaultExportTo: []string{}, RootNamespace: "root", ClusterDomain: "example.org"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.said.Settings()); diff != "" {
				t.Errorf("Settings (-want +got):\n%s", diff)
			}
		})
	}
}
