package check

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// lineReader hands out one line at a time and counts them: how far a parser has read tells where it failed.
type lineReader struct {
	text []byte
	// lines counts those that were begun, and within says that the last one is not at its end.
	lines  int
	within bool
}

// Read implements io.Reader.
func (r *lineReader) Read(b []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := bytes.IndexByte(r.text, '\n') + 1
	if n == 0 {
		n = len(r.text)
	}
	n = copy(b, r.text[:n])
	if !r.within {
		r.lines++
	}
	r.within = r.text[n-1] != '\n'
	r.text = r.text[n:]
	return n, nil
}

const (
	// searched is how large a text may be that is parsed again to find the line of its fault.
	searched = 1 << 20
	// searchedLines is how many lines before the one that the parser had come to may be the faulty one.
	searchedLines = 5
)

var parserLine = regexp.MustCompile(`^line (\d+): `)

// yamlFault finds the line of a syntax error. The parser names the line on which the enclosing block begins, or none; the
// faulty one is the first with which the text cannot be parsed any more.
func (s section) yamlFault(text []byte, err error) *fault {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	named := 0
	if parts := parserLine.FindStringSubmatch(message); parts != nil {
		named, _ = strconv.Atoi(parts[1])
		message = strings.TrimPrefix(message, parts[0])
		if strings.HasPrefix(message, "did not find") {
			named++ // the parser counts from 0, its scanner from 1
		}
	}
	reader := &lineReader{text: text}
	_, _ = decodeYAML(reader)
	lines := bytes.SplitAfter(text, []byte("\n"))
	at := min(max(reader.lines, 1), len(lines))
	tried := 0
	for n := at - 1; n >= 0 && tried < searchedLines && len(text) <= searched; n-- {
		if len(bytes.TrimSpace(lines[n])) == 0 {
			continue
		}
		tried++
		if _, err := decodeYAML(bytes.NewReader(bytes.Join(lines[:n], nil))); err == nil {
			return &fault{s.line + n, explain(message, lines[n])}
		}
	}
	if named > 0 && named < at {
		at = named
	}
	return &fault{s.line + at - 1, explain(message, lines[at-1])}
}

// explain says in other words what the parser says of the line.
func explain(message string, line []byte) string {
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	switch {
	case bytes.Contains(line, []byte("{{")):
		return message + "; this looks like a template: render it first, as with helm template"
	case bytes.IndexByte(line, 0) >= 0:
		return "the line holds a NUL: this is no text"
	case bytes.IndexByte(indent, '\t') >= 0:
		return "a tab indents the line, where YAML takes spaces only"
	case message == "found unexpected end of stream":
		return "a quoted text begins here and does not end"
	}
	return message
}
