package check

import (
	"io"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// loader gathers the objects of the input.
type loader struct {
	// namespace is that of the objects that name none.
	namespace string

	objects []*object
	known   map[policy.Ref]*object
	// others counts the objects of kinds that are not read, and makers are the namespaces of those that Secrets are made from.
	others          int
	makers          []string
	problems, notes []Problem
}

func (l *loader) problem(file string, line int, message string) {
	l.problems = append(l.problems, Problem{File: file, Line: line, Message: message})
}

// load reads the files, and returns how many it could open.
func (l *loader) load(files []string, stdin io.Reader) int {
	opened := 0
	for _, file := range files {
		r, err := open(file, stdin)
		if err != nil {
			l.problem(file, 0, cause(err))
			continue
		}
		opened++
		l.file(file, r)
		_ = r.Close() // nothing was written to it
	}
	return opened
}

// file takes in the documents of a file. One that cannot be read does not keep the others from it.
func (l *loader) file(file string, r io.Reader) {
	plain, err := plainText(r)
	if err != nil {
		l.problem(file, 0, cause(err))
		return
	}
	empty := true
	for s, err := range sections(plain) {
		empty = false
		if err != nil {
			l.problem(file, s.line, cause(err))
			return
		}
		documents, wrong := parse(s)
		for _, d := range documents {
			l.document(file, d)
		}
		if wrong != nil {
			l.problem(file, wrong.line, wrong.message)
		}
	}
	if empty && file == Stdin {
		l.problem(file, 0, "nothing came in: did the command before the pipe fail?")
	}
}
