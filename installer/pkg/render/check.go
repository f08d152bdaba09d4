package render

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// checkSpec refuses what Istio's renderer would accept and Meshwarden does not, and what would make the renderer panic, so that the message can name it.
func checkSpec(o *unstructured.Unstructured) error {
	for _, path := range []string{"spec", "spec.components", "spec.values"} {
		v, _, err := unstructured.NestedFieldNoCopy(o.Object, strings.Split(path, ".")...)
		if _, ok := v.(map[string]any); err == nil && v != nil && !ok {
			return invalid(path, "must be a mapping")
		}
	}
	if p, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "installPackagePath"); p != nil && p != "" {
		return invalid("spec.installPackagePath", "charts are taken from the program itself and never from its file system; remove it")
	}
	for _, field := range []string{"ingressGateways", "egressGateways"} {
		gateways, found, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "components", field)
		if found && gateways == nil {
			return invalid("spec.components."+field, "must be a list, not null")
		}
		list, _ := gateways.([]any)
		if i := slices.Index(list, nil); i >= 0 {
			return invalid(fmt.Sprintf("spec.components.%s[%d]", field, i), "must not be null")
		}
	}
	profile, _, err := unstructured.NestedString(o.Object, "spec", "profile")
	if err != nil {
		return invalid("spec.profile", "must be a string")
	}
	if profile != "" && !slices.Contains(Profiles(), profile) {
		return invalid("spec.profile", "unknown profile %q; use one of %s", profile, strings.Join(Profiles(), ", "))
	}
	return nil
}

// checkRendering refuses a rendering that the API server would refuse only after a part of it was applied.
func checkRendering(o *unstructured.Unstructured, r Rendering) error {
	if faults := validation.IsDNS1123Label(r.Namespace); len(faults) > 0 {
		return invalid("spec.values.global.istioNamespace", "%q: %s", r.Namespace, strings.Join(faults, ", "))
	}
	if faults := validation.IsDNS1123Label(r.Revision); len(faults) > 0 {
		path := "spec.revision"
		if v, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "values", "revision"); v != nil {
			path = "spec.values.revision"
		}
		return invalid(path, "%q: %s", r.Revision, strings.Join(faults, ", "))
	}
	owners := map[string]string{}
	for _, c := range r.Components {
		for _, object := range c.Objects {
			if object.GetName() == "" {
				return invalid("", "component %s: a %s has no name left; see the overlays of the component", c.Name, object.GetKind())
			}
			// istioctl lets the last one win; an operator that repairs drift would change the object to and fro for ever.
			name := object.GetKind() + " " + strings.TrimPrefix(object.GetNamespace()+"/"+object.GetName(), "/")
			if other, ok := owners[name]; ok {
				return invalid("", "%s is described twice, by component %s and by %s: give each gateway a name of its own", name, other, c.Name)
			}
			owners[name] = c.Name
		}
	}
	return nil
}

func invalid(path, format string, args ...any) error {
	return &InvalidError{Err: Faults{{Path: path, Message: fmt.Sprintf(format, args...)}}}
}
