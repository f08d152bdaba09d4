package document

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A hundred lines of aliases to aliases come to more than any memory holds, so that there is an end to how many YAML nodes a document may come to once
// its aliases are followed, and to how deep it may be.
const (
	maxNodes = 200_000
	maxDepth = 100
)

// reader reads YAML nodes and collects what is wrong with them. Where a key is absent its node is nil, and what there is to read it into stays as it is.
type reader struct {
	file   string
	faults []Fault
	budget int                 // how many nodes may still be read
	open   map[*yaml.Node]bool // those that are being read, each within another
	ended  bool                // nothing more is read, and it was said why
}

func newReader(file string) *reader {
	return &reader{file: file, budget: maxNodes, open: map[*yaml.Node]bool{}}
}

// follow returns what an alias stands for. It returns nil where too many nodes were read already.
func (r *reader) follow(n *yaml.Node, path string) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias // never an alias itself
	}
	if r.budget -= 1 + len(n.Content); r.budget < 0 {
		r.end(n, path, "too large: with its aliases followed, the document comes to more than %d values", maxNodes)
	}
	if r.ended {
		return nil
	}
	return n
}

// enter is to be called before what a node holds is read, and leave after it. It reports whether that may be read.
func (r *reader) enter(n *yaml.Node, path string) bool {
	switch {
	case r.open[n]:
		r.end(n, path, "goes round in a circle: an alias stands within its own anchor")
	case len(r.open) >= maxDepth:
		r.end(n, path, "nested more than %d deep", maxDepth)
	}
	if r.ended {
		return false
	}
	r.open[n] = true
	return true
}

func (r *reader) leave(n *yaml.Node) { delete(r.open, n) }

// end stops reading. What was found until then is reported.
func (r *reader) end(n *yaml.Node, path, format string, args ...any) {
	if !r.ended {
		r.ended = true
		r.fault(n, path, format, args...)
	}
}

// field is one key of a mapping.
type field struct{ key, value *yaml.Node }

// fields returns the keys of a mapping, those merged into it by "<<" included, with a fault for each key that is there twice or is no string.
func (r *reader) fields(n *yaml.Node, path string) []field {
	var all, merged []field
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch line, twice := lines[key.Value]; {
		case key.ShortTag() == "!!merge":
			merged = append(merged, r.merged(value, path)...)
		case key.Kind != yaml.ScalarNode:
			r.fault(key, path, "a key must be a string")
		case twice:
			r.fault(key, join(path, key.Value), "the key is there already, in line %d", line)
		default:
			lines[key.Value] = key.Line
			all = append(all, field{key: key, value: value})
		}
	}
	for _, f := range merged { // they yield to those of the mapping itself, and the later ones to the earlier ones
		if _, twice := lines[f.key.Value]; !twice {
			lines[f.key.Value] = f.key.Line
			all = append(all, f)
		}
	}
	return all
}

// merged returns the keys that "<<" brings: those of a mapping, or of a list of mappings of which the first one counts.
func (r *reader) merged(n *yaml.Node, path string) []field {
	source := r.follow(n, path)
	if source == nil || !r.enter(source, path) {
		return nil
	}
	defer r.leave(source)
	switch source.Kind {
	case yaml.MappingNode:
		return r.fields(source, path)
	case yaml.SequenceNode:
		var all []field
		for _, item := range source.Content {
			all = append(all, r.merged(item, path)...)
		}
		return all
	default:
		r.fault(n, join(path, "<<"), "must be a mapping, or a list of mappings")
		return nil
	}
}

// mapping returns the values of a mapping by key. Keys other than the known ones are faults; where none is given, any will do.
func (r *reader) mapping(n *yaml.Node, path string, known ...string) map[string]*yaml.Node {
	if n == nil {
		return nil
	}
	m := r.follow(n, path)
	if m == nil {
		return nil
	}
	if m.Kind != yaml.MappingNode {
		r.wrongType(n, m, path, "a mapping")
		return nil
	}
	values := map[string]*yaml.Node{}
	for _, f := range r.fields(m, path) {
		if len(known) > 0 && !slices.Contains(known, f.key.Value) {
			r.fault(f.key, join(path, f.key.Value), "unknown key; here can be %s", strings.Join(known, ", "))
			continue
		}
		values[f.key.Value] = f.value
	}
	return values
}

func (r *reader) list(n *yaml.Node, path string) (items []*yaml.Node, ok bool) {
	s := r.follow(n, path)
	if s == nil {
		return nil, false
	}
	if s.Kind != yaml.SequenceNode {
		r.wrongType(n, s, path, "a list")
		return nil, false
	}
	return s.Content, true
}

// text reads a string, and reports whether there is one.
func (r *reader) text(n *yaml.Node, path string, to *string) bool {
	if n == nil {
		return false
	}
	s := r.follow(n, path)
	if s == nil {
		return false
	}
	if s.Kind != yaml.ScalarNode || s.ShortTag() != "!!str" {
		r.wrongType(n, s, path, "a string")
		return false
	}
	*to = s.Value
	return true
}

// boolean reads true or false. The other spellings of YAML 1.1 (yes, off, …) are taken as well, because the platform's own tools take them.
func (r *reader) boolean(n *yaml.Node, path string, to *bool) {
	if n == nil {
		return
	}
	s := r.follow(n, path)
	if s == nil {
		return
	}
	quoted := s.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if s.Kind != yaml.ScalarNode || quoted || s.Decode(to) != nil || isNull(s) {
		r.wrongType(n, s, path, "true or false")
	}
}

// wrongType says what is there in place of what must be. A number in place of a string is most often a version.
func (r *reader) wrongType(at, n *yaml.Node, path, want string) {
	switch {
	case isNull(n):
		r.fault(at, path, "must be %s, and nothing is there: fill it in, or leave the key out", want)
	case n.Kind == yaml.MappingNode:
		r.fault(at, path, "must be %s, and is a mapping", want)
	case n.Kind == yaml.SequenceNode:
		r.fault(at, path, "must be %s, and is a list", want)
	case n.ShortTag() == "!!str":
		r.fault(at, path, "must be %s, and is the string %q", want, shortened(n.Value))
	case want == "a string":
		r.fault(at, path, "must be a string: put %s in quotes", shortened(n.Value))
	default:
		r.fault(at, path, "must be %s, and is %s", want, shortened(n.Value))
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func join(path, key string) string { return strings.TrimPrefix(path+"."+key, ".") }

// shortened returns a value in a length that a message can hold.
func shortened(s string) string {
	const most = 60
	if runes := []rune(s); len(runes) > most {
		return fmt.Sprintf("%s…", string(runes[:most]))
	}
	return s
}
