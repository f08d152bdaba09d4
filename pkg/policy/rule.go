package policy

import (
	"slices"
	"strings"
)

// Rule judges objects for one reason.
type Rule struct {
	// ID is the rule's permanent number, such as "MW102". It is never given to another rule.
	ID string
	// Name is the ID in words, such as "host-not-served".
	Name string
	// Kinds are the kinds of objects that the rule judges.
	Kinds []Kind
	// Title says in a sentence when the rule fires.
	Title string
	// Remedy says what to do about a finding.
	Remedy string
	// Action is what a finding leads to.
	Action Action
	// Check returns the findings about the object, in an order that depends on nothing but its arguments. It reports on
	// that object only and changes neither argument. It fills the Finding's fields from Path on; Evaluate fills the rest.
	Check func(Mesh, Object) []Finding
}

// Finding is one reason to object to an object.
type Finding struct {
	// Rule and Name are the rule's.
	Rule, Name string
	// Action is the rule's, unless Check asked for a milder one.
	Action Action
	// Object is what the finding is about.
	Object Ref
	// Remedy is the rule's.
	Remedy string

	// Path is the field at fault, such as "spec.hosts[1]".
	Path string
	// Message says what is wrong, with the names of everything involved.
	Message string
	// Host and Gateway are what the finding is about, as far as it is about one: part of its identity.
	Host, Gateway string
	// Related are the other objects that the finding depends on. A finding without any depends on the object alone.
	Related []Ref
}

// Identity tells whether two findings are the same one: rule, host, gateway and related objects. The path does not
// count, because an edit elsewhere in the object may move it.
func (f Finding) Identity() string {
	parts := []string{f.Rule, f.Host, f.Gateway}
	for _, r := range f.Related {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, "\x00")
}

// Evaluate judges the object by each rule and returns the findings in the order of the rules. The mesh must have the
// object applied already.
func Evaluate(m Mesh, o Object, rules []Rule) []Finding {
	m = &evaluation{Mesh: m}
	var found []Finding
	for _, r := range rules {
		if !slices.Contains(r.Kinds, o.Ref().Kind) {
			continue
		}
		for _, f := range r.Check(m, o) {
			f.Rule, f.Name, f.Remedy, f.Object = r.ID, r.Name, r.Remedy, o.Ref()
			if f.Action == "" {
				f.Action = r.Action
			}
			f.Action = f.Action.AtMost(r.Action)
			found = append(found, f)
		}
	}
	return found
}

// Denies says whether any of the findings refuses the object.
func Denies(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Action == Deny })
}

// UnparsableID stands in the place of a rule's ID where an object could not even be read.
const UnparsableID = "MW000"

// Unparsable is the finding on an object whose spec cannot be parsed. Istio cannot read it either and ignores it.
func Unparsable(object Ref, fault error, action Action) Finding {
	return Finding{
		Rule: UnparsableID, Name: "unparsable", Action: action, Object: object, Path: "spec", Message: fault.Error(),
		Remedy: "Correct the field: Istio ignores an object that it cannot read.",
	}
}
