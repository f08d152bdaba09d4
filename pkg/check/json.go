package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	yamlv3 "go.yaml.in/yaml/v3"
)

// parseJSON returns the values that follow each other, and what is wrong with the text behind the last good one.
func parseJSON(s section) ([]document, *fault) {
	p := jsonParser{text: s.text, line: s.line, decoder: json.NewDecoder(bytes.NewReader(s.text))}
	p.decoder.UseNumber()
	var documents []document
	for {
		start := p.decoder.InputOffset()
		root, err := p.value(0)
		if errors.Is(err, io.EOF) && len(bytes.TrimSpace(s.text[start:])) == 0 {
			return documents, nil
		}
		if err != nil {
			return documents, p.fault(err)
		}
		raw := json.RawMessage(s.text[start:p.decoder.InputOffset()])
		documents = append(documents, document{root: root, json: func() (json.RawMessage, error) { return raw, nil }})
	}
}

// jsonParser builds the same trees from JSON.
type jsonParser struct {
	text    []byte
	decoder *json.Decoder
	// line is the line of the offset.
	line, offset int
}

// depthAtMost is how deep values may be nested: what the decoders of JSON and YAML take, too.
const depthAtMost = 10000

func (p *jsonParser) value(depth int) (*yamlv3.Node, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	if depth == depthAtMost {
		return nil, fmt.Errorf("exceeded max depth of %d", depthAtMost)
	}
	n := &yamlv3.Node{Kind: yamlv3.ScalarNode, Line: p.lineAt(int(p.decoder.InputOffset()))}
	switch token := token.(type) {
	case string:
		n.Tag, n.Value = "!!str", token
	case json.Number:
		n.Tag, n.Value = "!!float", token.String()
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(token)
	case nil:
		n.Tag = "!!null"
	case json.Delim:
		n.Kind, n.Tag = yamlv3.MappingNode, "!!map"
		if token == '[' {
			n.Kind, n.Tag = yamlv3.SequenceNode, "!!seq"
		}
		for p.decoder.More() {
			// In an object, names and values take turns.
			child, err := p.value(depth + 1)
			if err != nil {
				return nil, unexpectedEnd(err)
			}
			n.Content = append(n.Content, child)
		}
		if _, err := p.decoder.Token(); err != nil {
			return nil, unexpectedEnd(err)
		}
	}
	return n, nil
}

func (p *jsonParser) lineAt(offset int) int {
	if offset > p.offset {
		p.line += bytes.Count(p.text[p.offset:offset], []byte("\n"))
		p.offset = offset
	}
	return p.line
}

func (p *jsonParser) fault(err error) *fault {
	offset := len(bytes.TrimRight(p.text, " \t\r\n"))
	if syntax := new(json.SyntaxError); errors.As(err, &syntax) {
		offset = int(min(max(syntax.Offset-1, 0), int64(offset)))
	}
	return &fault{p.lineAt(offset), err.Error()}
}

// unexpectedEnd keeps the end of the text inside a value from passing for the end of the values.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
