package document

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing that is wrong with a file.
type Fault struct {
	Line    int    // counted from 1
	Path    string // of the key: specification.applications[0].enabled; "" where the fault is about the file
	Message string
}

// Faults is everything that is wrong with a file, in the order of its lines.
type Faults struct {
	File   string
	Faults []Fault
}

// Error returns the faults, one a line: document.yaml:12: specification.applications[0].enabled: must be true or false.
func (f *Faults) Error() string {
	lines := make([]string, 0, len(f.Faults))
	for _, fault := range f.Faults {
		at := fmt.Sprintf("%s:%d: ", f.File, fault.Line)
		if fault.Path != "" {
			at += fault.Path + ": "
		}
		lines = append(lines, at+fault.Message)
	}
	return strings.Join(lines, "\n")
}

func (r *reader) fault(n *yaml.Node, path, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: n.Line, Path: path, Message: fmt.Sprintf(format, args...)})
}

// NewFaults returns faults in the order of their lines, each once: what an anchor holds is read as often as there are aliases to it.
func NewFaults(file string, faults []Fault) *Faults {
	seen := map[Fault]bool{}
	var once []Fault
	for _, f := range faults {
		if !seen[f] {
			seen[f] = true
			once = append(once, f)
		}
	}
	slices.SortStableFunc(once, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return &Faults{File: file, Faults: once}
}
