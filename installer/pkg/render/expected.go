package render

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

const aString = "a string"

// expected says what a field takes, to somebody who wrote v there.
func expected(fd protoreflect.FieldDescriptor, v any) string {
	if m := fd.Message(); m != nil {
		switch m.Name() {
		case "Struct":
			return "a mapping"
		case "ListValue":
			return "a list"
		case "Duration":
			return `a duration such as "1m30s"`
		case "Timestamp":
			return `a time such as "2026-01-31T12:00:00Z"`
		case "IntOrString":
			return "a whole number or a string"
		}
		if wrapped := m.Fields().ByName("value"); wrapped != nil && m.Fields().Len() == 1 {
			return expected(wrapped, v)
		}
		return "a mapping"
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.StringKind:
		return aString
	case protoreflect.BytesKind:
		return "a string in base64"
	case protoreflect.EnumKind:
		names := make([]string, fd.Enum().Values().Len())
		for i := range names {
			names[i] = string(fd.Enum().Values().Get(i).Name())
		}
		return "one of " + strings.Join(names, ", ")
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "a number"
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return wholeNumber(v, 0, math.MaxUint32)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return wholeNumber(v, math.MinInt32, math.MaxInt32)
	default:
		return "a whole number"
	}
}

// wholeNumber names the limits only to somebody who has gone beyond them.
func wholeNumber(v any, least, most int64) string {
	switch n := v.(type) {
	case int64:
		return fmt.Sprintf("a whole number from %d to %d", least, most)
	case float64:
		if n == math.Trunc(n) {
			return fmt.Sprintf("a whole number from %d to %d", least, most)
		}
	}
	return "a whole number"
}

// shown returns a value in a form and a length that a message can hold.
func shown(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case string:
		const longest = 60
		if runes := []rune(v); len(runes) > longest {
			v = string(runes[:longest]) + "…"
		}
		return fmt.Sprintf("the string %q", v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(text)
	}
}

// instead says what an unknown key was probably meant to be, or what there is to choose from if that is little.
func instead(key string, fields protoreflect.FieldDescriptors) string {
	var names []string
	for i := range fields.Len() {
		names = append(names, fields.Get(i).JSONName())
	}
	slices.Sort(names)
	if name := nearest(key, names); name != "" {
		return fmt.Sprintf("; did you mean %s?", name)
	}
	const few = 8
	if len(names) > few {
		return ""
	}
	return "; here can be " + strings.Join(names, ", ")
}

// nearest returns the name that a key most resembles; "" where none does. About every fourth letter may be wrong; case counts for nothing.
func nearest(key string, names []string) string {
	var best string
	limit := 1 + len(key)/4
	for _, name := range names {
		if difference := len(name) - len(key); max(difference, -difference) > limit {
			continue // which keeps keys of any length from costing anything
		}
		if d := distance(strings.ToLower(key), strings.ToLower(name)); d <= limit {
			best, limit = name, d-1
		}
	}
	return best
}

// distance is Levenshtein's: how many bytes to insert, delete or replace make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // the distances of the first i bytes of a from each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
