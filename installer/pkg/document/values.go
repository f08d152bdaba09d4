package document

import (
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// value returns a node as JSON would hold it, and with the types that Kubernetes' unstructured objects allow: map[string]any, []any, string, bool, int64,
// float64 and nil.
func (r *reader) value(n *yaml.Node, path string) any {
	source := r.follow(n, path)
	if source == nil || !r.enter(source, path) {
		return nil
	}
	defer r.leave(source)
	switch source.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for _, f := range r.fields(source, path) {
			m[f.key.Value] = r.value(f.value, join(path, f.key.Value))
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, 0, len(source.Content))
		for i, item := range source.Content {
			list = append(list, r.value(item, fmt.Sprintf("%s[%d]", path, i)))
		}
		return list
	default:
		return r.scalar(source, path)
	}
}

func (r *reader) scalar(n *yaml.Node, path string) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!str", "!!timestamp":
		return n.Value
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return i
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	r.fault(n, path, "%s is nothing that JSON has: use a string, a number, true, false or null", shortened(n.Value))
	return nil
}
