package document

import (
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// value returns a node as JSON would hold it, and with the types that Kubernetes' unstructured objects allow: map[string]any, []any, string, bool, int64,
// float64 and nil. The place is that of the node, with the places of what it holds.
func (r *reader) value(n *yaml.Node, path string) (any, place) {
	at := place{line: n.Line}
	source := r.follow(n, path)
	if source == nil || !r.enter(source, path) {
		return nil, at
	}
	defer r.leave(source)
	switch source.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		at.keys = map[string]place{}
		for _, f := range r.fields(source, path) {
			key := f.key.Value
			v, inner := r.value(f.value, join(path, key))
			inner.line = f.key.Line // where the key is, even if its value begins below
			m[key], at.keys[key] = v, inner
		}
		return m, at
	case yaml.SequenceNode:
		list := make([]any, 0, len(source.Content))
		for i, item := range source.Content {
			v, inner := r.value(item, fmt.Sprintf("%s[%d]", path, i))
			list, at.items = append(list, v), append(at.items, inner)
		}
		return list, at
	default:
		return r.scalar(source, path), at
	}
}

func (r *reader) scalar(n *yaml.Node, path string) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!str":
		// Kubernetes' tools read YAML 1.1, in which a plain yes or off is a boolean. The decoder knows these words, but only where a boolean is asked for.
		var b bool
		if n.Style == 0 && n.Decode(&b) == nil {
			return b
		}
		return n.Value
	case "!!timestamp", "!!merge":
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
		fallthrough // too large for one
	case "!!float":
		var f float64
		if n.Decode(&f) == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	}
	r.fault(n, path, "%s is nothing that JSON has: use a string, a number, true, false or null", shortened(n.Value))
	return nil
}
