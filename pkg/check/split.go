package check

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"unicode/utf16"
)

const (
	// objectAtMost is how large an API server lets a request be, and so an object. Nothing larger can be stored.
	objectAtMost = 3 << 20
	// listAtMost is how large a document may be that is a list of objects. Parsed, it takes a hundred times the memory.
	listAtMost = 16 << 20
)

// section is what stands between two separators of a file.
type section struct {
	// line is the line of the file on which the text begins, and lines is how many lines it has.
	line, lines int
	text        []byte
	// fault says why the text cannot be read, "" when it can.
	fault string
}

// sections yields the documents of a stream with the lines they stand on, those that hold nothing left out. Documents
// end where kubectl ends them, at a line that begins with "---", and at the end that YAML knows, "...". No more than one
// document is held in memory. An error ends the stream.
func sections(r io.Reader) iter.Seq2[section, error] {
	return func(yield func(section, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		s := section{line: 1}
		for begins := true; ; {
			part, err := in.ReadSlice('\n')
			if begins && separates(part) {
				// The junk behind a separator is a section of its own, and what comes after it stays readable.
				junk := section{line: s.line + s.lines, lines: 1, fault: standsAlone(part)}
				for errors.Is(err, bufio.ErrBufferFull) {
					_, err = in.ReadSlice('\n')
				}
				if !s.empty() && !yield(s, nil) || !junk.empty() && !yield(junk, nil) {
					return
				}
				s = section{line: junk.line + 1}
			} else {
				s.add(part)
				begins = bytes.HasSuffix(part, []byte("\n"))
			}
			switch {
			case errors.Is(err, io.EOF):
				if !s.empty() {
					yield(s, nil)
				}
				return
			case err != nil && !errors.Is(err, bufio.ErrBufferFull):
				yield(section{line: s.line + s.lines}, err)
				return
			}
		}
	}
}

// standsAlone returns what is wrong with a separator, "" for nothing.
func standsAlone(line []byte) string {
	junk := bytes.TrimSpace(line[len("---"):])
	if len(junk) == 0 || junk[0] == '#' {
		return ""
	}
	return fmt.Sprintf("the separator %s must stand alone on its line, not before %.40q", line[:len("---")], junk)
}

// separates says whether a line ends a document.
func separates(line []byte) bool {
	if bytes.HasPrefix(line, []byte("---")) {
		return true
	}
	rest, ok := bytes.CutPrefix(line, []byte("..."))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// add appends to the text until it is too long.
func (s *section) add(part []byte) {
	s.lines += bytes.Count(part, []byte("\n"))
	switch {
	case s.fault != "":
	case len(s.text)+len(part) > listAtMost:
		s.text, s.fault = nil, tooLarge(listAtMost).Error()
	default:
		s.text = append(s.text, part...)
	}
}

// empty says whether the section holds nothing but blank lines, comments and directives.
func (s *section) empty() bool {
	if s.fault != "" {
		return false
	}
	for line := range bytes.Lines(s.text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// plainText returns the stream as UTF-8 without a byte order mark, as kubectl does: some editors and shells write UTF-16.
func plainText(r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	mark, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		_, err = in.Discard(3)
		return in, err
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
	default:
		return in, nil
	}
	wide, err := io.ReadAll(io.LimitReader(in, 2*listAtMost+1))
	if err != nil {
		return nil, err
	}
	if len(wide) > 2*listAtMost {
		return nil, fmt.Errorf("the file is UTF-16 and larger than %d MiB", 2*listAtMost>>20)
	}
	units := make([]uint16, 0, len(wide)/2)
	for i := 2; i+1 < len(wide); i += 2 {
		low, high := wide[i], wide[i+1]
		if mark[0] == 0xfe {
			low, high = high, low
		}
		units = append(units, uint16(high)<<8|uint16(low))
	}
	return bytes.NewReader([]byte(string(utf16.Decode(units)))), nil
}
