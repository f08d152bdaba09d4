package check

import (
	"fmt"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// field returns the key and the value of a field of a mapping, or nil where there is none. As YAML has it, a field of the
// mapping itself goes before one that is merged into it.
func field(n *yamlv3.Node, name string) (key, value *yamlv3.Node) {
	return fieldWithin(n, name, 0)
}

// mergesAtMost is how deep merges may be nested: one that contains itself would have no end.
const mergesAtMost = 10

func fieldWithin(n *yamlv3.Node, name string, merges int) (key, value *yamlv3.Node) {
	n = resolve(n)
	if n == nil || n.Kind != yamlv3.MappingNode || merges > mergesAtMost {
		return nil, nil
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 { // of a field that is there twice, the last one counts
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		merged := []*yamlv3.Node{n.Content[i+1]}
		if list := resolve(n.Content[i+1]); list.Kind == yamlv3.SequenceNode {
			merged = list.Content
		}
		for _, m := range merged {
			if key, value := fieldWithin(m, name, merges+1); key != nil {
				return key, value
			}
		}
	}
	return nil, nil
}

// resolve returns what an alias stands for.
func resolve(n *yamlv3.Node) *yamlv3.Node {
	if n != nil && n.Kind == yamlv3.AliasNode {
		return n.Alias
	}
	return n
}

// text returns a field of the mapping that is a string, or "".
func text(n *yamlv3.Node, name string) string {
	if _, value := field(n, name); value != nil && resolve(value).Kind == yamlv3.ScalarNode && resolve(value).Tag != "!!null" {
		return resolve(value).Value
	}
	return ""
}

// lineOf returns the line of the field at a path such as "spec.http[0].match[1]", or of the nearest one around it that is
// there.
func lineOf(n *yamlv3.Node, path string) int {
	line := n.Line
	for step := range strings.SplitSeq(strings.ReplaceAll(path, "[", ".["), ".") {
		index, isIndex := strings.CutPrefix(step, "[")
		if !isIndex {
			key, value := field(n, step)
			if key == nil {
				return line
			}
			n, line = value, key.Line
			continue
		}
		list := resolve(n)
		i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
		if err != nil || list.Kind != yamlv3.SequenceNode || i < 0 || i >= len(list.Content) {
			return line
		}
		n = list.Content[i]
		line = n.Line
	}
	return line
}

// checkSize returns an error where a value with every alias written out is larger than the limit, or an alias stands inside
// of what it stands for: a few lines of aliases of aliases can stand for terabytes.
func checkSize(n *yamlv3.Node, limit int) error {
	_, err := measure{limit: limit, known: map[*yamlv3.Node]int{}}.size(n)
	return err
}

type measure struct {
	limit int
	// known are the sizes of what has an anchor, so that each is looked at once; inside, while it is looked at.
	known map[*yamlv3.Node]int
}

const inside = -1

func (m measure) size(n *yamlv3.Node) (int, error) {
	n = resolve(n)
	if known, ok := m.known[n]; ok {
		if known == inside {
			return 0, fmt.Errorf("the anchor %q contains itself", n.Anchor)
		}
		return known, nil
	}
	if n.Anchor != "" {
		m.known[n] = inside
	}
	total := len(n.Value) + len(`"",`)
	for _, c := range n.Content {
		s, err := m.size(c)
		if err != nil {
			return 0, err
		}
		if total += s; total > m.limit {
			return 0, tooLarge(m.limit)
		}
	}
	if n.Anchor != "" {
		m.known[n] = total
	}
	return total, nil
}

func tooLarge(limit int) error {
	if limit == objectAtMost {
		return fmt.Errorf("the object is larger than %d MiB, which is more than an API server stores", limit>>20)
	}
	return fmt.Errorf("the document is larger than %d MiB: split it up", limit>>20)
}

// duplicate returns the first field that a mapping has twice, and where it was before, or nil when there is none. YAML
// forbids it; some tools take the last one, others refuse it.
func duplicate(n *yamlv3.Node) (again, first *yamlv3.Node) {
	if n.Kind == yamlv3.MappingNode {
		seen := make(map[string]*yamlv3.Node, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if before := seen[key.Value]; before != nil && key.Kind == yamlv3.ScalarNode && key.Tag != "!!merge" {
				return key, before
			}
			seen[key.Value] = key
		}
	}
	for _, c := range n.Content {
		if again, first := duplicate(c); again != nil {
			return again, first
		}
	}
	return nil, nil
}

// oddKey returns the first key of a mapping that is no text or number, or nil when there is none. JSON has no such keys; a
// template that was not rendered has, because {{ .Values.host }} is one.
func oddKey(n *yamlv3.Node) *yamlv3.Node {
	for i, c := range n.Content {
		if n.Kind == yamlv3.MappingNode && i%2 == 0 && resolve(c).Kind != yamlv3.ScalarNode {
			return c
		}
		if odd := oddKey(c); odd != nil {
			return odd
		}
	}
	return nil
}
