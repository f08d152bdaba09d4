// Package policy holds the rules of a service mesh as values, and the parts of the mesh that they judge.
//
// Everything here is pure: a rule reads an immutable Mesh and returns findings about one object. There is no client, no
// logger, no clock and no context, so a verdict depends on nothing but its arguments. Admission, the re-evaluation of
// stored objects and the offline commands all call Evaluate.
package policy
