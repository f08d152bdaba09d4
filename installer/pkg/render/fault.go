package render

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong, or doubtful, in an IstioOperator.
type Fault struct {
	Path    string // of the key: spec.values.pilot.tolerations[0]; "" where none is known
	Message string
}

// String returns path and message.
func (f Fault) String() string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}

// Faults is everything that was found wrong with an IstioOperator. It is what an InvalidError wraps where the faults are known one by one.
type Faults []Fault

// Error returns the faults, one a line. Only so many are named that a condition of a status has room for them.
func (f Faults) Error() string {
	const most = 20
	lines := make([]string, 0, most+1)
	for i, fault := range f {
		if i == most {
			lines = append(lines, fmt.Sprintf("and %d more", len(f)-most))
			break
		}
		lines = append(lines, oneLine(fault.String()))
	}
	return strings.Join(lines, "\n")
}

// oneLine returns a text on one line: Helm's errors have several.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
