package process

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

const (
	// tailLines is how many lines of a child's output an error quotes.
	tailLines = 15
	// tailLineBytes is where a longer line is cut, in bytes.
	tailLineBytes = 64 << 10
)

// tail passes whole lines on to next and keeps the last of them.
type tail struct {
	mu      sync.Mutex
	next    io.Writer
	partial []byte
	lines   []string
}

// Write never fails, since an error would end the child's output: what next
// cannot take is lost.
func (t *tail) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partial = append(t.partial, data...)
	for {
		end := bytes.IndexByte(t.partial, '\n')
		if end < 0 {
			break
		}
		t.add(t.partial[:end])
		t.partial = t.partial[end+1:]
	}
	if len(t.partial) > tailLineBytes {
		t.add(t.partial)
		t.partial = nil
	}
	return len(data), nil
}

// flush takes what is left as the last line.
func (t *tail) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.partial) > 0 {
		t.add(t.partial)
		t.partial = nil
	}
}

func (t *tail) add(line []byte) {
	text := string(line)
	if t.next != nil {
		_, _ = io.WriteString(t.next, text+"\n")
	}
	t.lines = append(t.lines, text)
	if excess := len(t.lines) - tailLines; excess > 0 {
		t.lines = t.lines[excess:]
	}
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
