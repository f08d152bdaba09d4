package installation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
	"github.com/meshwarden/meshwarden/installer/pkg/installation"
)

// reference is the platform's reference document.
func reference() document.Document {
	return document.Document{
		Enabled: true, UseLocalImageRegistry: true, OperatorNamespace: "istio-operator", Watched: []string{"istio-system"}, IstioNamespace: "istio-system",
		Profile: "default", Name: "istiocontrolplane",
	}
}

// outline returns what a document decides about each object, a line each, and the IstioOperator as a whole.
func outline(t *testing.T, p installation.Plan) string {
	t.Helper()
	var b strings.Builder
	for _, o := range p.Objects() {
		if o == p.IstioOperator {
			text, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(text)
			continue
		}
		fmt.Fprintf(&b, "%s %s", o.GetKind(), strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"))
		if label := o.GetLabels()["meshwarden.io/onboarding"]; label != "" {
			fmt.Fprintf(&b, " onboarding=%s", label)
		}
		for _, mode := range []string{"enforce", "audit", "warn"} {
			if level := o.GetLabels()["pod-security.kubernetes.io/"+mode]; level != "" {
				fmt.Fprintf(&b, " %s=%s", mode, level)
			}
		}
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		for _, s := range subjects {
			m := s.(map[string]any)
			fmt.Fprintf(&b, " to %s %s/%s", m["kind"], m["namespace"], m["name"])
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			m := c.(map[string]any)
			fmt.Fprintf(&b, " runs %s %v", m["image"], m["args"].([]any)[:2])
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestNew(t *testing.T) {
	tests := []struct {
		reason   string
		document func(*document.Document)
		options  installation.Options
		want     string
	}{
		{
			reason: "the reference document", options: installation.Options{ImageRegistry: "registry.example:5000", Version: "v1.2.3"},
			want: `Namespace istio-operator onboarding=disabled enforce=restricted audit=restricted warn=restricted
Namespace istio-system onboarding=disabled
CustomResourceDefinition istiooperators.install.istio.io
ServiceAccount istio-operator/istio-operator
ClusterRole istio-operator
ClusterRoleBinding istio-operator to ServiceAccount istio-operator/istio-operator
Role istio-operator/istio-operator
RoleBinding istio-operator/istio-operator to ServiceAccount istio-operator/istio-operator
Role istio-system/istio-operator-watched
RoleBinding istio-system/istio-operator-watched to ServiceAccount istio-operator/istio-operator
Deployment istio-operator/istio-operator runs registry.example:5000/meshwarden/installer:v1.2.3 [operator --watch-namespaces=istio-system]
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  labels:
    app.kubernetes.io/managed-by: meshwarden
  name: istiocontrolplane
  namespace: istio-system
spec:
  hub: registry.example:5000/istio
  profile: default
  tag: 1.31.1
  values:
    defaultRevision: default
    global:
      istioNamespace: istio-system
`,
		},
		{
			reason: "every key, and namespaces of other names: each is created once, the operator sees IstioOperators in the watched ones only, and its own takes " +
				"whatever pods they ask for, as it is one of them",
			document: func(d *document.Document) {
				*d = document.Document{
					Enabled: true, OperatorNamespace: "ops", Watched: []string{"one", "ops", "two"}, IstioNamespace: "mesh", Profile: "demo", Name: "main", Version: "1.30.0",
					Values: map[string]any{"global": map[string]any{"proxy": map[string]any{"logLevel": "debug"}}, "pilot": map[string]any{"autoscaleMin": int64(2)}},
				}
			},
			want: `Namespace ops onboarding=disabled
Namespace one onboarding=disabled
Namespace two onboarding=disabled
Namespace mesh onboarding=disabled
CustomResourceDefinition istiooperators.install.istio.io
ServiceAccount ops/istio-operator
ClusterRole istio-operator
ClusterRoleBinding istio-operator to ServiceAccount ops/istio-operator
Role ops/istio-operator
RoleBinding ops/istio-operator to ServiceAccount ops/istio-operator
Role one/istio-operator-watched
Role ops/istio-operator-watched
Role two/istio-operator-watched
RoleBinding one/istio-operator-watched to ServiceAccount ops/istio-operator
RoleBinding ops/istio-operator-watched to ServiceAccount ops/istio-operator
RoleBinding two/istio-operator-watched to ServiceAccount ops/istio-operator
Deployment ops/istio-operator runs meshwarden/installer:v0.1.0 [operator --watch-namespaces=one,ops,two]
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  labels:
    app.kubernetes.io/managed-by: meshwarden
  name: main
  namespace: one
spec:
  hub: registry.istio.io/release
  profile: demo
  tag: 1.30.0
  values:
    defaultRevision: default
    global:
      istioNamespace: mesh
      proxy:
        logLevel: debug
    pilot:
      autoscaleMin: 2
`,
		},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			d := reference()
			if tc.document != nil {
				tc.document(&d)
			}
			p, err := installation.New(d, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, outline(t, p)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			for _, o := range p.Objects() {
				if o.GetLabels()["app.kubernetes.io/managed-by"] != "meshwarden" {
					t.Errorf("%s %s is not marked as Meshwarden's", o.GetKind(), o.GetName())
				}
			}
		})
	}
}

// A plan is the caller's own: neither the document nor another plan changes with it.
func TestNewSharesNothing(t *testing.T) {
	d := reference()
	d.UseLocalImageRegistry, d.Values = false, map[string]any{"global": map[string]any{}}
	first, err := installation.New(d, installation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := outline(t, first)
	for _, o := range first.Objects() {
		clear(o.Object)
	}
	second, err := installation.New(d, installation.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, outline(t, second)); diff != "" {
		t.Errorf("the second plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"global": map[string]any{}}, d.Values); diff != "" {
		t.Errorf("the document's values (-want +got):\n%s", diff)
	}
}

func TestImages(t *testing.T) {
	local, published := reference(), reference()
	published.UseLocalImageRegistry = false
	tests := []struct {
		reason             string
		document           document.Document
		options            installation.Options
		hub, image, failed string
	}{
		{reason: "the local registry has to be named", document: local, failed: "give its address by --image-registry HOST[:PORT], or set use_local_image_registry: false"},
		{
			reason: "a local registry", document: local, options: installation.Options{ImageRegistry: "registry.example", Version: "v1.0.0-rc.1"},
			hub: "registry.example/istio", image: "registry.example/meshwarden/installer:v1.0.0-rc.1",
		},
		{
			reason: "one without a domain", document: local, options: installation.Options{ImageRegistry: "registry:443", Version: "v1.0.0"},
			hub: "registry:443/istio", image: "registry:443/meshwarden/installer:v1.0.0",
		},
		{
			reason: "one by its address", document: local, options: installation.Options{ImageRegistry: "[fd00::1]:5000", Version: "v1.0.0"},
			hub: "[fd00::1]:5000/istio", image: "[fd00::1]:5000/meshwarden/installer:v1.0.0",
		},
		{
			reason: "a registry is of no use to a document that does not ask for it", document: published,
			options: installation.Options{ImageRegistry: "registry.example", Version: "v1.0.0"}, hub: "registry.istio.io/release", image: "meshwarden/installer:v1.0.0",
		},
		{
			reason: "there is an image of releases only", document: published, options: installation.Options{Version: "v1.2.0-4-g0123456789ab-dirty"},
			hub: "registry.istio.io/release", image: "meshwarden/installer:v0.1.0",
		},
		{
			reason: "nor is there one of what the go command calls a version", document: published, options: installation.Options{Version: "v1.2.1-0.20260301120000-0123456789ab"},
			hub: "registry.istio.io/release", image: "meshwarden/installer:v0.1.0",
		},
		{
			reason: "an image of one's own is taken in full", document: local, options: installation.Options{ImageRegistry: "registry.example", OperatorImage: "other.example/op@sha256:" + strings.Repeat("0", 64)},
			hub: "registry.example/istio", image: "other.example/op@sha256:" + strings.Repeat("0", 64),
		},
		{reason: "an image that is none", document: published, options: installation.Options{OperatorImage: "a b"}, failed: `--operator-image: "a b" is no name of an image`},
		{reason: "a scheme", document: local, options: installation.Options{ImageRegistry: "https://registry.example"}, failed: "without a scheme or a path"},
		{reason: "a path", document: local, options: installation.Options{ImageRegistry: "registry.example/mirror"}, failed: "without a scheme or a path"},
		{reason: "a slash at the end", document: local, options: installation.Options{ImageRegistry: "registry.example/"}, failed: "without a scheme or a path"},
		{reason: "a user", document: local, options: installation.Options{ImageRegistry: "me@registry.example"}, failed: "no address of a registry"},
		{reason: "a space", document: local, options: installation.Options{ImageRegistry: "registry.example "}, failed: "no address of a registry"},
		{reason: "a port that is none", document: local, options: installation.Options{ImageRegistry: "registry.example:port"}, failed: "no address of a registry"},
		{reason: "a port that is too high", document: local, options: installation.Options{ImageRegistry: "registry.example:70000"}, failed: "no address of a registry"},
		{reason: "a port alone", document: local, options: installation.Options{ImageRegistry: ":5000"}, failed: "no address of a registry"},
		{reason: "a colon without a port", document: local, options: installation.Options{ImageRegistry: "registry.example:"}, failed: "no address of a registry"},
		{reason: "IPv6 without brackets", document: local, options: installation.Options{ImageRegistry: "::1"}, failed: "no address of a registry"},
		{reason: "an empty label", document: local, options: installation.Options{ImageRegistry: "registry..example"}, failed: "no address of a registry"},
		{reason: "a name that no host has", document: local, options: installation.Options{ImageRegistry: "-registry.example"}, failed: "no address of a registry"},
		{
			reason: "IPv6 in brackets", document: local, options: installation.Options{ImageRegistry: "[fd00::1]:5000", Version: "v1.0.0"},
			hub: "[fd00::1]:5000/istio", image: "[fd00::1]:5000/meshwarden/installer:v1.0.0",
		},
		{reason: "what would be a folder of docker.io", document: local, options: installation.Options{ImageRegistry: "registry"}, failed: "needs its port"},
		{reason: "a fault of a registry that is of no use is told, too", document: published, options: installation.Options{ImageRegistry: "https://a"}, failed: "no address of a registry"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			p, err := installation.New(tc.document, tc.options)
			if tc.failed != "" {
				if err == nil || !strings.Contains(err.Error(), tc.failed) {
					t.Errorf("error: %v, want %q in it", err, tc.failed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			hub, _, _ := unstructured.NestedString(p.IstioOperator.Object, "spec", "hub")
			if got := outline(t, p); hub != tc.hub || !strings.Contains(got, " runs "+tc.image+" ") {
				t.Errorf("hub %q, want %q; image %q expected in:\n%s", hub, tc.hub, tc.image, got)
			}
		})
	}
}

func TestSource(t *testing.T) {
	tests := []struct{ reason, image, want string }{
		{"an image of Istio's", "registry.example/istio/pilot:1.31.1", "registry.istio.io/release/pilot:1.31.1"},
		{"the operator's", "registry.example/meshwarden/installer:v0.1.0", "meshwarden/installer:v0.1.0"},
		{"one that the values name in full", "other.example/istio/pilot:1", "other.example/istio/pilot:1"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			if got := installation.Source(tc.image, "registry.example"); got != tc.want {
				t.Errorf("source: %s, want %s", got, tc.want)
			}
		})
	}
}

func TestDefaultRevision(t *testing.T) {
	tests := []struct {
		reason, profile string
		values          map[string]any
		want            any
	}{
		{reason: "without one, istiod validates nothing that is not labelled with a revision", profile: "default", want: "default"},
		{reason: "who names a revision may have another one that is the default", profile: "default", values: map[string]any{"revision": "canary"}},
		{reason: "what the document says stays", profile: "default", values: map[string]any{"defaultRevision": ""}, want: ""},
		{reason: "there is no istiod here that could validate", profile: "remote"},
	}
	for _, tc := range tests {
		t.Run(tc.reason, func(t *testing.T) {
			d := reference()
			d.Profile, d.Values = tc.profile, tc.values
			p, err := installation.New(d, installation.Options{ImageRegistry: "registry.example:5000"})
			if err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedFieldNoCopy(p.IstioOperator.Object, "spec", "values", "defaultRevision")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("defaultRevision (-want +got):\n%s", diff)
			}
		})
	}
}
