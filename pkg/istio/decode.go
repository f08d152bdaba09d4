package istio

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// istioSpec is a spec as Istio itself reads it.
type istioSpec interface {
	json.Unmarshaler
	json.Marshaler
}

// decodeSpec reads a spec with the API server's own rules for field names. An absent spec is an empty one. Where that
// fails, Istio's own type has the last word: it takes a few spellings more, such as a number in quotes, that a CRD without
// a schema lets through, and what Istio reads is not to be refused. byIstio is nil for the kinds that are Kubernetes' own.
func decodeSpec[S any](raw json.RawMessage, byIstio func() istioSpec) (S, error) {
	var spec, none S
	if len(raw) == 0 {
		return none, nil
	}
	fault := utiljson.Unmarshal(raw, &spec)
	if fault == nil {
		return spec, nil
	}
	if byIstio != nil {
		if canonical, err := rewrite(raw, byIstio()); err == nil {
			var read S
			if err := utiljson.Unmarshal(canonical, &read); err == nil {
				return read, nil
			}
		}
	}
	return none, inWords("spec", fault)
}

// inWords says of a fault in the field, or in what it holds, what should stand there.
func inWords(field string, fault error) error {
	if wrong := new(json.UnmarshalTypeError); errors.As(fault, &wrong) {
		return fmt.Errorf("%s: must be %s, not %s", strings.Trim(field+"."+wrong.Field, "."), wanted(wrong.Type), given(wrong.Value))
	}
	if field == "" {
		return fault
	}
	return fmt.Errorf("%s: %w", field, fault)
}

// rewrite reads a spec as Istio does and writes it in its plainest form.
func rewrite(raw json.RawMessage, spec istioSpec) (json.RawMessage, error) {
	if err := spec.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	return spec.MarshalJSON()
}

// wanted names a type in the words of whoever wrote the YAML.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Uint32:
		return "a whole number from 0 to 4294967295"
	case reflect.Bool:
		return "true or false"
	}
	return "a string"
}

// given names what stands in its place, as json.UnmarshalTypeError describes it.
func given(value string) string {
	switch value {
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return "a " + value
}
