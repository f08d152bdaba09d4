package operator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// digest returns a short text that differs when the content does.
func digest(content map[string]any) string {
	b, err := json.Marshal(content)
	if err != nil {
		return unknown // what comes from JSON and YAML can be written as JSON
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Slim leaves out of an object what the cache does not need: who wrote which field, the schemas of CRDs, of which the generation tells when they change,
// and the status where it is of no account. It implements cache.TransformFunc.
func Slim(o any) (any, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return o, nil
	}
	u.SetManagedFields(nil)
	if !hasHealth(u) && u.GroupVersionKind() != GroupVersionKind() {
		unstructured.RemoveNestedField(u.Object, "status")
	}
	if isCRD(u) {
		unstructured.RemoveNestedField(u.Object, "spec", "versions")
	}
	return u, nil
}

// content returns the content of a slim object without its version.
func content(slim *unstructured.Unstructured) map[string]any {
	c := copied(slim.Object, "metadata")
	delete(c["metadata"].(map[string]any), "resourceVersion")
	return c
}

// description returns the content of a slim object without its status: what the operator and others write. Where no generation tells that it has been
// changed and changed back, its version does; that of an autoscaler changes every few seconds with its status.
func description(slim *unstructured.Unstructured) map[string]any {
	c := content(slim)
	delete(c, "status")
	if slim.GetGeneration() == 0 && slim.GetKind() != "HorizontalPodAutoscaler" {
		c["metadata"].(map[string]any)["resourceVersion"] = slim.GetResourceVersion()
	}
	return c
}

// copied returns a shallow copy in which one field, a map, is a shallow copy as well.
func copied(original map[string]any, field string) map[string]any {
	c := make(map[string]any, len(original))
	for k, v := range original {
		c[k] = v
	}
	inner := map[string]any{}
	if m, ok := original[field].(map[string]any); ok {
		for k, v := range m {
			inner[k] = v
		}
	}
	c[field] = inner
	return c
}
