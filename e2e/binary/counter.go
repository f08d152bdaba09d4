package binary

import (
	"bytes"
	"strings"
)

// counter reads what `go build -v` prints: it counts the lines that name a compiled
// package and keeps the others, which are errors.
type counter struct {
	progress Progress
	compiled int
	partial  []byte
	rest     bytes.Buffer
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.partial = append(c.partial, p...)
	for {
		line, rest, ok := bytes.Cut(c.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		c.line(string(line))
		c.partial = rest
	}
}

func (c *counter) line(line string) {
	if line == "" || strings.ContainsAny(line, " \t:") {
		c.rest.WriteString(line + "\n")
		return
	}
	c.compiled++
	if c.progress != nil {
		c.progress(c.compiled)
	}
}
