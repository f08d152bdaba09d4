// Package check judges files without a cluster: it loads what is in them, judges it by the rules that admission has, and
// prints what is found.
package check

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/mesh"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// Options are what the verdicts depend on besides the input.
type Options struct {
	// Rules are the rules with their actions.
	Rules []policy.Rule
	// Namespace is that of the objects that name none.
	Namespace string
	// IstioNamespace is where Istio's ConfigMap and istiod are, if they are in the input.
	IstioNamespace string
	// Mesh are the mesh-wide settings that go before those in the input.
	Mesh istio.MeshSettings
	// Now is the moment of judgement, for certificates.
	Now time.Time
}

// Problem says why a part of the input cannot be judged.
type Problem struct {
	File string `json:"file"`
	// Line is 0 where the file as a whole is meant.
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// String says where the problem is and what it is.
func (p Problem) String() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", fileName(p.File), policy.Printable(p.Message))
	}
	return fmt.Sprintf("%s:%d: %s", fileName(p.File), p.Line, policy.Printable(p.Message))
}

// fileName is the name of a file for people.
func fileName(file string) string {
	if file == Stdin {
		return "standard input"
	}
	return policy.Printable(file)
}

// Finding is a finding of a rule with its place in the input.
type Finding struct {
	policy.Finding
	// APIVersion is the version of the object as written.
	APIVersion string
	File       string
	Line       int
}

// Report is what came of the input.
type Report struct {
	// Findings are in the order of the files and of the lines in them.
	Findings []Finding
	// Problems are what could not be judged, in the same order. Notes are remarks on the input that change nothing.
	Problems, Notes []Problem
	// Files counts the files, Judged the Gateways and VirtualServices, Read the objects that were read besides because
	// verdicts depend on them, and Others those of other kinds.
	Files, Judged, Read, Others int

	rules []policy.Rule
	// versions are the API versions of the objects in the input.
	versions map[policy.Ref]string
}

// Count returns how many findings have the action.
func (r *Report) Count(action policy.Action) int {
	n := 0
	for _, f := range r.Findings {
		if f.Action == action {
			n++
		}
	}
	return n
}

// Run judges the files and folders, "-" being what stdin holds. What is wrong with them is in the report; an error is a
// fault of this program.
func Run(o Options, paths []string, stdin io.Reader) (*Report, error) {
	found := find(paths)
	l := loader{namespace: o.Namespace, known: map[policy.Ref]*object{}}
	r := &Report{Files: l.load(found.files, stdin), rules: o.Rules, versions: map[policy.Ref]string{}}
	r.Others = l.others
	model, err := l.model(o)
	if err != nil {
		return nil, err
	}
	r.judge(l.objects, model.World().At(o.Now), o.Rules)
	r.Problems, r.Notes = slices.Concat(found.problems, l.problems), slices.Concat(found.notes, l.notes)
	if len(l.objects)+l.others+len(r.Problems) == 0 {
		r.Problems = []Problem{{File: paths[0], Message: "there is no object in the input"}}
	}
	r.sort(found.files)
	return r, nil
}

// judge judges the objects as they stand. One that is not in the world could not be read, which is a problem already.
func (r *Report) judge(objects []*object, world *mesh.World, rules []policy.Rule) {
	for _, o := range objects {
		r.versions[o.ref] = o.apiVersion
		if !o.judged() {
			r.Read++
			continue
		}
		standing := policy.Object{Standing: true}
		parsed, ok := world.Object(o.ref)
		if !ok {
			continue
		}
		switch parsed := parsed.(type) {
		case *policy.Gateway:
			standing.Gateway = parsed
		case *policy.VirtualService:
			standing.VirtualService = parsed
		}
		r.Judged++
		for _, f := range policy.Evaluate(world, standing, rules) {
			r.Findings = append(r.Findings, Finding{Finding: f, APIVersion: o.apiVersion, File: o.file, Line: lineOf(o.node, f.Path)})
		}
	}
}

// sort puts findings and problems in the order of the files and of the lines, and problems with paths last.
func (r *Report) sort(files []string) {
	order := make(map[string]int, len(files))
	for i, file := range files {
		order[file] = i - len(files)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
	slices.SortStableFunc(r.Problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line))
	})
}
