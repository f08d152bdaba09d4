// Package document reads the platform's configuration document, as far as it is about Istio: of a file with documents of any kind, the application
// istio of the one of kind configuration/applications. It judges the whole of it before anything is done with it, and is pure: bytes in, a value or a list of
// faults out. Which keys there are, what they mean and what they are when absent is in schema.json.
package document

import (
	"cmp"
	_ "embed" // for the schema
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Document is what the platform wants of Istio. Keys that are absent in the file have the values of the platform's reference document here, but for Enabled,
// which is false unless the document says otherwise.
type Document struct {
	Enabled               bool
	UseLocalImageRegistry bool           // absent means true
	OperatorNamespace     string         // where the operator runs
	Watched               []string       // where the operator looks for IstioOperators: at least one namespace, each once
	IstioNamespace        string         // where the control plane runs
	Profile               string         // one of Istio's profiles
	Name                  string         // of the IstioOperator
	Version               string         // the tag of Istio's images; "" leaves it to the installer
	Values                map[string]any // Istio's values, as JSON would hold them; nil where there are none

	valuesPath string // of Values in the file: specification.applications[0].istio_spec.values
	places     place  // of what is in Values
}

// The kind of document and the application that are read.
const (
	Kind        = "configuration/applications"
	Application = "istio"
)

// maxName is the length of a label's value: the operator marks what it installs with the IstioOperator's name.
const maxName = validation.LabelValueMaxLength

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of a document of kind configuration/applications.
func Schema() []byte { return slices.Clone(schema) }

// profiles are those of the charts that Meshwarden renders; a test holds them against package render, which this one does not import.
func profiles() []string {
	return []string{"ambient", "default", "demo", "empty", "minimal", "openshift", "openshift-ambient", "preview", "remote", "stable"}
}

// Read reads the content of a file. The name is only for messages. The error is a Faults with everything that is wrong; of the Document there are then
// only the Values, as far as they could be read, so that somebody who knows Istio can add what is wrong with them.
func Read(name string, content []byte) (Document, error) {
	r := newReader(name)
	d := r.find(content)
	if len(r.faults) > 0 {
		return Document{Values: d.Values, valuesPath: d.valuesPath, places: d.places}, NewFaults(name, r.faults)
	}
	return d, nil
}

// application reads what the document says of Istio.
func (r *reader) application(n *yaml.Node, path string) Document {
	d := Document{
		UseLocalImageRegistry: true,
		OperatorNamespace:     "istio-operator",
		Watched:               []string{"istio-system"},
		IstioNamespace:        "istio-system",
		Profile:               "default",
		Name:                  "istiocontrolplane",
	}
	keys := r.mapping(n, path, "name", "enabled", "use_local_image_registry", "namespaces", "istio_spec")
	r.boolean(keys["enabled"], path+".enabled", &d.Enabled)
	r.boolean(keys["use_local_image_registry"], path+".use_local_image_registry", &d.UseLocalImageRegistry)
	r.namespaces(keys["namespaces"], path+".namespaces", &d)
	r.istioSpec(keys["istio_spec"], path+".istio_spec", &d)
	return d
}

func (r *reader) namespaces(n *yaml.Node, path string, d *Document) {
	keys := r.mapping(n, path, "operator", "watched", "istio")
	r.namespace(keys["operator"], path+".operator", &d.OperatorNamespace)
	r.namespace(keys["istio"], path+".istio", &d.IstioNamespace)
	if watched := keys["watched"]; watched != nil {
		d.Watched = r.watched(watched, path+".watched")
	}
}

func (r *reader) watched(n *yaml.Node, path string) []string {
	items, ok := r.list(n, path)
	if ok && len(items) == 0 {
		r.fault(n, path, "must name at least one namespace: the IstioOperator is created in the first one")
	}
	var watched []string
	for i, item := range items {
		var namespace string
		p := fmt.Sprintf("%s[%d]", path, i)
		if !r.namespace(item, p, &namespace) {
			continue
		}
		if slices.Contains(watched, namespace) {
			r.fault(item, p, "%q is in the list already", namespace)
		}
		watched = append(watched, namespace)
	}
	return watched
}

func (r *reader) istioSpec(n *yaml.Node, path string, d *Document) {
	keys := r.mapping(n, path, "profile", "name", "version", "values")
	if k := keys["profile"]; r.text(k, path+".profile", &d.Profile) && !slices.Contains(profiles(), d.Profile) {
		r.fault(k, path+".profile", "unknown profile %q; use one of %s", d.Profile, strings.Join(profiles(), ", "))
	}
	if k := keys["name"]; r.text(k, path+".name", &d.Name) {
		if len(validation.IsDNS1123Subdomain(d.Name)) > 0 {
			r.fault(k, path+".name", "%q is no name of an object: lower case letters, digits, '-' and '.', and a letter or a digit on either side of each '.' and at both ends", d.Name)
		} else if len(d.Name) > maxName {
			r.fault(k, path+".name", "%q has %d characters: at most %d are allowed, as it is written into labels", d.Name, len(d.Name), maxName)
		}
	}
	if k := keys["version"]; r.text(k, path+".version", &d.Version) && !isTag(d.Version) {
		r.fault(k, path+".version", "%q is no tag of an image: letters, digits, '_', '.' and '-', at most 128 of them, and no '.' or '-' first", d.Version)
	}
	if k := keys["values"]; k != nil {
		d.valuesPath = path + ".values"
		d.Values, d.places = r.values(k, d.valuesPath, d.IstioNamespace)
	}
}

// values reads Istio's values. What Istio makes of them is for its own validation; only Istio's namespace is known here, and must not be contradicted.
func (r *reader) values(n *yaml.Node, path, istioNamespace string) (map[string]any, place) {
	if isNull(n) {
		return nil, place{} // all of them commented out
	}
	keys := r.mapping(n, path)
	if keys == nil {
		return nil, place{}
	}
	read, places := r.value(n, path)
	values, _ := read.(map[string]any)
	global, _ := values["global"].(map[string]any)
	if namespace, ok := global["istioNamespace"]; ok && namespace != istioNamespace {
		at := r.mapping(keys["global"], path+".global")["istioNamespace"]
		r.fault(cmp.Or(at, n), path+".global.istioNamespace", "%v contradicts namespaces.istio, which is %q; leave it out", namespace, istioNamespace)
	}
	return values, places
}

// namespace reads the name of a namespace, and reports whether there is a good one.
func (r *reader) namespace(n *yaml.Node, path string, to *string) bool {
	if !r.text(n, path, to) {
		return false
	}
	if len(validation.IsDNS1123Label(*to)) > 0 {
		r.fault(n, path, "%q is no name of a namespace: lower case letters, digits and '-', at most 63 of them, and a letter or a digit at both ends", *to)
		return false
	}
	return true
}

// isTag says whether an image can have the tag, by the grammar of the OCI's distribution specification.
func isTag(s string) bool {
	return regexp.MustCompile(`^\w[\w.-]{0,127}$`).MatchString(s)
}
