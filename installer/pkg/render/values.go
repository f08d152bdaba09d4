package render

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/operator/pkg/apis"
	"istio.io/istio/pkg/util/protomarshal"
	"k8s.io/apimachinery/pkg/runtime"
)

// Check judges the keys and types of a spec's values, and of its mesh configuration in either place, against Istio's own types. Istio's validation knows
// the same, but ends at the first fault and does not say where it is.
//
// Faults are what Istio refuses. Doubts are unknown keys of the mesh configuration, which Istio ignores: they may be meant for a newer istiod.
func Check(spec map[string]any) (faults, doubts Faults) {
	faults, doubts, _ = check(spec)
	return faults, doubts
}

// check is Check, and returns what is left of the spec without the faults.
func check(spec map[string]any) (faults, doubts Faults, sound map[string]any) {
	sound = runtime.DeepCopyJSON(spec)
	var values, mesh judge
	fields, ok := sound["values"].(map[string]any)
	if sound["values"] != nil && !ok {
		values.mismatch("spec.values", "a mapping", sound["values"])
		delete(sound, "values")
	}
	values.message((&apis.Values{}).ProtoReflect(), fields, "spec.values")
	mesh.meshConfig(fields, "spec.values")
	mesh.meshConfig(sound, "spec")
	for _, f := range mesh.unknown {
		doubts = append(doubts, Fault{Path: f.Path, Message: f.Message + " (istiod ignores it, unless it is newer than Istio's charts in this program)"})
	}
	return slices.Concat(values.unknown, values.wrong, mesh.wrong), doubts, sound
}

// judge goes through values as JSON holds them, along the descriptors of Istio's types, collects what does not fit, and takes it out.
type judge struct{ unknown, wrong Faults }

// meshConfig judges the mesh configuration among the keys that are given.
func (j *judge) meshConfig(given map[string]any, path string) {
	const key = "meshConfig"
	path += "." + key
	switch v := given[key].(type) {
	case nil:
	case map[string]any:
		j.message((&meshconfig.MeshConfig{}).ProtoReflect(), v, path)
	default:
		j.mismatch(path, "a mapping", v)
		delete(given, key)
	}
}

// message judges the fields of a message.
func (j *judge) message(m protoreflect.Message, given map[string]any, path string) {
	fields := m.Descriptor().Fields()
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if unread(path + "." + key) {
			continue
		}
		fd := fields.ByJSONName(key)
		if fd == nil {
			// A field has a second name, that of its definition. Where both are there, Istio does not look at this one.
			if fd = fields.ByTextName(key); fd != nil {
				if _, both := given[fd.JSONName()]; both {
					continue
				}
			}
		}
		if fd == nil {
			j.unknown = append(j.unknown, Fault{Path: path + "." + key, Message: "unknown key" + instead(key, fields)})
			delete(given, key)
			continue
		}
		if !j.field(m, fd, given[key], path+"."+key) {
			delete(given, key)
		}
	}
}

// unread says whether Istio does not look at what a spec has there, and so refuses nothing: over the first two its renderer writes which components are
// enabled, and the gateways are in the default profile by their other names, which come first; all profiles build on that one.
func unread(path string) bool {
	return slices.Contains([]string{
		"spec.values.pilot.enabled", "spec.values.pilot.cni.enabled", "spec.values.gateways.istio_ingressgateway", "spec.values.gateways.istio_egressgateway",
	}, path)
}

// field judges the value of a field of m, and reports whether it can stay. Null is as good as absent, wherever it is.
func (j *judge) field(m protoreflect.Message, fd protoreflect.FieldDescriptor, v any, path string) bool {
	switch {
	case v == nil:
		return true
	case fd.IsList():
		items, ok := v.([]any)
		if !ok {
			j.mismatch(path, "a list", v)
		}
		for i, item := range items {
			if !j.value(m, fd, item, fmt.Sprintf("%s[%d]", path, i), []any{item}) {
				items[i] = nil
			}
		}
		return ok
	case fd.IsMap():
		entries, ok := v.(map[string]any)
		if !ok {
			j.mismatch(path, "a mapping", v)
		}
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if !j.value(m, fd, entries[key], path+"."+key, map[string]any{key: entries[key]}) {
				delete(entries, key)
			}
		}
		return ok
	default:
		return j.value(m, fd, v, path, v)
	}
}

// value judges a single value, that of a field or one in its list or mapping, and reports whether it can stay. Whole is what the field would have if it
// had nothing else.
func (j *judge) value(m protoreflect.Message, fd protoreflect.FieldDescriptor, v any, path string, whole any) bool {
	if v == nil {
		return true
	}
	want := ""
	if inner := held(m, fd); inner != nil && !special(inner) {
		if given, ok := v.(map[string]any); ok {
			j.message(inner, given, path)
			return true
		}
		want = "a mapping"
	} else if accepts(m, fd, whole) {
		return true
	}
	if fd.IsMap() {
		fd = fd.MapValue()
	}
	j.mismatch(path, cmp.Or(want, expected(fd, v)), v)
	return false
}

// held returns an empty message of the kind that a field holds, singly, in a list or in a mapping; nil where it holds something else.
func held(m protoreflect.Message, fd protoreflect.FieldDescriptor) protoreflect.Message {
	field := m.NewField(fd)
	switch {
	case fd.IsList() && fd.Message() != nil:
		return field.List().NewElement().Message()
	case fd.IsMap() && fd.MapValue().Message() != nil:
		return field.Map().NewValue().Message()
	case !fd.IsList() && !fd.IsMap() && fd.Message() != nil:
		return field.Message()
	default:
		return nil
	}
}

// special says whether a message stands in JSON for something of its own, such as a text or a mapping with any keys.
func special(m protoreflect.Message) bool {
	_, ok := m.Interface().(*apis.IntOrString)
	return ok || m.Descriptor().ParentFile().Package() == "google.protobuf"
}

// accepts asks Istio's own decoder whether a field may have the value, since it has ideas of its own (a number may be in quotes, but no true or false).
func accepts(m protoreflect.Message, fd protoreflect.FieldDescriptor, v any) bool {
	text, err := json.Marshal(map[string]any{fd.JSONName(): v})
	return err == nil && protomarshal.Unmarshal(text, m.New().Interface()) == nil
}

// mismatch says what is there in place of what must be.
func (j *judge) mismatch(path, want string, v any) {
	message := fmt.Sprintf("must be %s, and is %s", want, shown(v))
	switch v.(type) {
	case string, map[string]any, []any:
	default:
		if want == aString {
			message = fmt.Sprintf("must be a string: put %s in quotes", shown(v))
		}
	}
	j.wrong = append(j.wrong, Fault{Path: path, Message: message})
}
