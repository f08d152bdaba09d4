package documentflags

import (
	"errors"
	"fmt"
	"strings"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
	"github.com/meshwarden/meshwarden/installer/pkg/document"
	"github.com/meshwarden/meshwarden/installer/pkg/render"
)

// valuesPath begins the path of a value in an IstioOperator. The bootstrap hands them on as the document has them.
const valuesPath = "spec.values."

// judged returns the faults of a document's values that can be told before there is an IstioOperator.
func judged(d document.Document) render.Faults {
	if d.Values == nil {
		return nil
	}
	faults, _ := render.Check(map[string]any{"values": d.Values})
	return faults
}

// located returns faults with their lines in the document. The line of one that is not about a certain value is that of all values: what else the
// bootstrap writes into an IstioOperator was judged before.
func located(d document.Document, faults render.Faults) []document.Fault {
	all := make([]document.Fault, 0, len(faults))
	for _, f := range faults {
		path, ok := strings.CutPrefix(f.Path, valuesPath)
		found, known := d.FaultAt(path, f.Message)
		if !ok || !known {
			found, _ = d.FaultAt("", "Istio refuses them: "+f.String())
		}
		all = append(all, found)
	}
	return all
}

// wrong is the error of a document with these faults, each of which begins a line with the file and its line.
func wrong(file string, faults []document.Fault) error {
	return fmt.Errorf("nothing was done, as this is wrong with the document:\n%w", document.NewFaults(file, faults))
}

// inDocument says of an IstioOperator that Istio refuses where in the document that comes from. Other errors of rendering are of this machine.
func inDocument(file string, d document.Document, err error) error {
	invalid := new(render.InvalidError)
	if !errors.As(err, &invalid) {
		return err
	}
	var faults render.Faults
	if d.Values == nil || !errors.As(invalid, &faults) {
		return exitcode.OfInput(fmt.Errorf("%s: Istio refuses what the document makes of istio_spec: %w", file, invalid))
	}
	return exitcode.OfInput(wrong(file, located(d, faults)))
}

// warningInDocument puts the file and the line before a warning that begins with the path of a value.
func warningInDocument(file string, d document.Document, warning string) string {
	path, message, _ := strings.Cut(warning, ": ")
	path, ok := strings.CutPrefix(path, valuesPath)
	if found, known := d.FaultAt(path, message); ok && known {
		return document.NewFaults(file, []document.Fault{found}).Error()
	}
	return warning
}
