package cel

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// variant is a value that differs from another one in one place.
type variant struct {
	// change says what is different, and where.
	change string
	value  any
}

// variants returns what becomes of a JSON value by one change in one place, in every place: fields and entries that are
// removed, added, set to null, emptied or of another type, numbers that are written otherwise, lists in another order. Values share what
// is equal in them.
func variants(path string, value any) []variant {
	all := []variant{{path + " is null", nil}, {path + " is of another type", map[string]any{"wrong": "type"}}}
	switch value := value.(type) {
	case map[string]any:
		all = append(all, variant{path + " is empty", map[string]any{}}, variant{path + " has an unknown field", with(value, "unknownField", "x")})
		for _, name := range slices.Sorted(maps.Keys(value)) {
			less := maps.Clone(value)
			delete(less, name)
			all = append(all, variant{path + " lacks " + name, less})
			for _, v := range variants(path+"."+name, value[name]) {
				all = append(all, variant{v.change, with(value, name, v.value)})
			}
		}
	case []any:
		reversed := slices.Clone(value)
		slices.Reverse(reversed)
		all = append(all, variant{path + " is empty", []any{}}, variant{path + " is reversed", reversed},
			variant{path + " has an entry more", append(slices.Clone(value), "more")})
		for i := range value {
			at := fmt.Sprintf("%s[%d]", path, i)
			all = append(all, variant{at + " is removed", slices.Delete(slices.Clone(value), i, i+1)},
				variant{at + " is doubled", slices.Insert(slices.Clone(value), i, value[i])})
			for _, v := range variants(at, value[i]) {
				changed := slices.Clone(value)
				changed[i] = v.value
				all = append(all, variant{v.change, changed})
			}
		}
	case string:
		all = append(all, variant{path + " is empty", ""}, variant{path + " is longer", value + "x"}, variant{path + " is in capitals", strings.ToUpper(value)},
			variant{path + " is a number", int64(7)})
	case int64:
		all = append(all, variant{path + " is one more", value + 1}, variant{path + " is a fraction", float64(value)},
			variant{path + " is in quotes", fmt.Sprint(value)})
	case float64:
		all = append(all, variant{path + " is one more", value + 1}, variant{path + " is in quotes", fmt.Sprint(value)})
	case bool:
		all = append(all, variant{path + " is the contrary", !value}, variant{path + " is in quotes", fmt.Sprint(value)})
	}
	return all
}

// changes returns an object's variants by what is different.
func changes(o *unstructured.Unstructured) iter.Seq2[string, *unstructured.Unstructured] {
	return func(yield func(string, *unstructured.Unstructured) bool) {
		for _, v := range variants("", o.Object) {
			fields, ok := v.value.(map[string]any)
			if ok && !yield(v.change, &unstructured.Unstructured{Object: fields}) {
				return
			}
		}
	}
}

func with(fields map[string]any, name string, value any) map[string]any {
	more := maps.Clone(fields)
	more[name] = value
	return more
}
