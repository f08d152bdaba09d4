package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// document is one parsed value of a file. The tree knows the lines, and JSON is the value as kubectl reads it: the two
// parsers differ in the version of YAML.
type document struct {
	root *yamlv3.Node
	// json returns the value. It is asked for only where the value counts, because it is the larger part of the work.
	json func() (json.RawMessage, error)
}

// fault is a reason why something cannot be judged, on a line of the file.
type fault struct {
	line    int
	message string
}

// parse returns the documents of a section, several where JSON values follow each other, and what is wrong with the rest.
func parse(s section) ([]document, *fault) {
	if s.fault != "" {
		return nil, &fault{s.line, s.fault}
	}
	if bytes.HasPrefix(bytes.TrimSpace(s.text), []byte("{")) {
		// kubectl tries JSON first, and YAML where the first value is none.
		if documents, wrong := parseJSON(s); len(documents) > 0 || wrong == nil {
			return documents, wrong
		}
	}
	return parseYAML(s)
}

func parseYAML(s section) ([]document, *fault) {
	text := s.text
	if len(text) > objectAtMost && !bytes.Contains(text, []byte("List")) {
		return nil, &fault{s.line, tooLarge(objectAtMost).Error()}
	}
	for bytes.HasPrefix(text, []byte("%")) {
		// A directive belongs to the separator that follows it. What comes without one is read as if there were none.
		_, text, _ = bytes.Cut(text, []byte("\n"))
		s.line++
	}
	root, err := decodeYAML(bytes.NewReader(text))
	if err != nil {
		return nil, s.yamlFault(text, err)
	}
	if root == nil {
		return nil, nil
	}
	renumber(root, lineTable(text, s.line))
	return []document{{root: root, json: func() (json.RawMessage, error) { return yaml.YAMLToJSON(text) }}}, nil
}

// decodeYAML returns the root of the one document, or nil for null.
func decodeYAML(r io.Reader) (*yamlv3.Node, error) {
	decoder := yamlv3.NewDecoder(r)
	var document yamlv3.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	// kubectl drops what follows the end of a document without a separator. It was hardly meant so.
	switch err := decoder.Decode(new(yamlv3.Node)); {
	case err == nil:
		return nil, errors.New("text follows the end of the document")
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	root := document.Content[0]
	if root.Kind == yamlv3.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, nil
}

// lineTable returns what turns a line as the YAML parser counts it into a line of the file. To the parser, a lone
// carriage return and three characters of Unicode end a line as well; to an editor they don't.
func lineTable(text []byte, first int) func(int) int {
	odd := false
	for _, c := range []string{"\r", "\u0085", "\u2028", "\u2029"} {
		odd = odd || bytes.Contains(text, []byte(c))
	}
	if !odd {
		return func(line int) int { return first + line - 1 }
	}
	table := []int{first}
	for i, c := range string(text) {
		switch {
		case c == '\n':
			first++
			table = append(table, first)
		case c == '\r' && !bytes.HasPrefix(text[i+1:], []byte("\n")), c == '\u0085', c == '\u2028', c == '\u2029':
			table = append(table, first)
		}
	}
	return func(line int) int { return table[min(max(line, 1), len(table))-1] }
}

// renumber gives every node of the tree its line in the file.
func renumber(n *yamlv3.Node, line func(int) int) {
	n.Line = line(n.Line)
	for _, c := range n.Content {
		renumber(c, line)
	}
}
