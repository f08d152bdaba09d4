// Package installation says what a configuration document leads to: the namespaces, the operator with all that it needs, and the IstioOperator from which
// it makes the control plane. It is pure: a document in, objects out.
package installation

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/meshwarden/meshwarden/installer/pkg/document"
)

// Where images come from when neither the document nor an option says so. The charts' own defaults are no release of Istio but a build of its developers.
const (
	DefaultHub = "registry.istio.io/release"
	DefaultTag = "1.31.1"
)

// What all objects of an installation are marked with.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "meshwarden"
)

// Options are what an installer is told besides the document. The zero value is valid.
type Options struct {
	ImageRegistry string // HOST[:PORT], for documents that ask for the local registry; "" is none
	OperatorImage string // "" is the image of this release, from the local registry where the document asks for that
	Version       string // of this program; one that is no release (v1.2.3) stands for the last one
}

// Plan is what a document leads to, in the order in which it is to be applied.
type Plan struct {
	Namespaces    []*unstructured.Unstructured
	Operator      []*unstructured.Unstructured
	IstioOperator *unstructured.Unstructured
}

// Objects returns all of it.
func (p Plan) Objects() []*unstructured.Unstructured {
	return slices.Concat(p.Namespaces, p.Operator, []*unstructured.Unstructured{p.IstioOperator})
}

// New returns what the document leads to, whether Istio is enabled in it or not. It fails where the options don't fit the document.
func New(d document.Document, o Options) (Plan, error) {
	sources, err := sourcesOf(d, o)
	if err != nil {
		return Plan{}, err
	}
	operator, err := operatorObjects(d, sources.operator)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Namespaces: namespaces(d), Operator: operator, IstioOperator: istioOperator(d, sources.hub)}, nil
}

// namespaces returns those of the document, each once. They opt out of Meshwarden's onboarding, as they may have other names than those that it leaves
// alone by itself; not of injection, which gateways of the users' own may want there. Where the operator lives alone, its namespace takes no pods but such as
// its own, which keep to the strictest Pod Security; Istio's do not under every profile.
func namespaces(d document.Document) []*unstructured.Unstructured {
	var names []string
	var objects []*unstructured.Unstructured
	for _, n := range slices.Concat([]string{d.OperatorNamespace}, d.Watched, []string{d.IstioNamespace}) {
		if slices.Contains(names, n) {
			continue
		}
		names = append(names, n)
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("v1")
		o.SetKind("Namespace")
		o.SetName(n)
		labels := map[string]string{ManagedByLabel: ManagedBy, "meshwarden.io/onboarding": "disabled"}
		if n == d.OperatorNamespace && n != d.IstioNamespace && !slices.Contains(d.Watched, n) {
			for _, mode := range []string{"enforce", "audit", "warn"} {
				labels["pod-security.kubernetes.io/"+mode] = "restricted"
			}
		}
		o.SetLabels(labels)
		objects = append(objects, o)
	}
	return objects
}

func istioOperator(d document.Document, hub string) *unstructured.Unstructured {
	values := runtime.DeepCopyJSON(d.Values)
	if values == nil {
		values = map[string]any{}
	}
	// A "global" that is no mapping stays, for Istio's validation to refuse it.
	if values["global"] == nil {
		values["global"] = map[string]any{}
	}
	if global, ok := values["global"].(map[string]any); ok {
		global["istioNamespace"] = d.IstioNamespace
	}
	// Without a default revision, istiod would validate nothing but what is labelled with a revision. istioctl install makes its webhook by itself.
	_, revision := values["revision"]
	_, defaultRevision := values["defaultRevision"]
	if !revision && !defaultRevision && d.Profile != "remote" {
		values["defaultRevision"] = "default"
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"profile": d.Profile, "hub": hub, "tag": cmp.Or(d.Version, DefaultTag), "values": values},
	}}
	o.SetAPIVersion("install.istio.io/v1alpha1")
	o.SetKind("IstioOperator")
	o.SetNamespace(d.Watched[0])
	o.SetName(d.Name)
	o.SetLabels(map[string]string{ManagedByLabel: ManagedBy})
	return o
}

// sources is where images come from.
type sources struct{ hub, operator string }

func sourcesOf(d document.Document, o Options) (sources, error) {
	const lastRelease = "v0.1.0"
	tag := lastRelease
	if regexp.MustCompile(`^v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?$`).MatchString(o.Version) {
		tag = o.Version
	}
	s := sources{hub: DefaultHub, operator: "meshwarden/installer:" + tag}
	if o.ImageRegistry != "" {
		if err := checkRegistry(o.ImageRegistry); err != nil {
			return sources{}, err
		}
	}
	if d.UseLocalImageRegistry {
		if o.ImageRegistry == "" {
			return sources{}, errors.New("the document asks for the local image registry (use_local_image_registry is true, as it is when absent): " +
				"give its address by --image-registry HOST[:PORT], or set use_local_image_registry: false")
		}
		s = sources{hub: o.ImageRegistry + "/istio", operator: o.ImageRegistry + "/" + s.operator}
	}
	s.operator = cmp.Or(o.OperatorImage, s.operator)
	if _, err := reference.ParseNormalizedNamed(s.operator); err != nil {
		return sources{}, fmt.Errorf("--operator-image: %q is no name of an image: %w", s.operator, err)
	}
	return s, nil
}

// checkRegistry refuses what a container runtime would not take for the address of a registry at the beginning of an image's name. The hub is HOST/istio by
// contract with the platform, so that there is no place for a path.
func checkRegistry(registry string) error {
	named, err := reference.ParseNormalizedNamed(registry + "/istio/pilot")
	if err != nil || reference.Domain(named) != registry || reference.Path(named) != "istio/pilot" || !portInRange(registry) {
		return fmt.Errorf("--image-registry: %q is no address of a registry: give HOST or HOST:PORT, without a scheme or a path; "+
			"a host without a dot needs its port, or it would be a folder of docker.io", registry)
	}
	return nil
}

// portInRange says whether the address has no port, or one that there can be.
func portInRange(address string) bool {
	port := (&url.URL{Host: address}).Port()
	number, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && number > 0
}

// Source returns the name under which an image is published that a document takes from the local registry, given as HOST[:PORT]; another image's own name.
func Source(image, registry string) string {
	if rest, ok := strings.CutPrefix(image, registry+"/istio/"); ok {
		return DefaultHub + "/" + rest
	}
	return strings.TrimPrefix(image, registry+"/")
}
