package preflight

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/istio/operator/pkg/manifest"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// installations names, for everybody who installed Istio here already, what the target would take from them.
func installations(t Target, s snapshot) []Finding {
	var findings []Finding
	for _, h := range holdings(t, s) {
		findings = append(findings, h.collisions(t)...)
	}
	return findings
}

// collisions says what of a holding is in the way. What a tool applies from a repository is, whatever it is: the tool puts its own back, and so does the
// operator. CRDs that outlive their installation are not: istioctl and Helm leave them behind,
// and Meshwarden's webhook may have needed them first.
func (h *holding) collisions(t Target) []Finding {
	onlyCRDs := len(h.decisive)+len(h.others) == 0
	switch {
	case h.owner.by == nobody && len(h.decisive) == 0:
		return nil // takenOver has a note
	case h.owner.by == nobody:
		return []Finding{h.installed(h.owner.remedy, h.others)}
	case h.owner.by == gitOps && onlyCRDs:
		return nil // takenOver has a note
	case h.owner.by == gitOps && len(h.crds) > 0:
		return []Finding{h.installed(fmt.Sprintf("%s; have its CRDs annotated with %s before, or every object of the kind may go with them", h.owner.remedy, h.owner.unpruned), h.others)}
	case h.owner.by == helm:
		return h.released()
	case h.owner.by == istioctl && onlyCRDs && slices.Contains(t.Watched, h.owner.id.Namespace):
		return nil // the operator takes them over
	case h.owner.by == istioctl && onlyCRDs:
		return []Finding{h.installed("if that is gone, take its marks off: "+unmark("label", h.crds, manifest.OwningResourceName, manifest.OwningResourceNamespace), h.crds)}
	default:
		return []Finding{h.installed(h.owner.remedy, h.others, h.crds)}
	}
}

// released says what of a Helm release is in the way. To uninstall it is no remedy where that would delete CRDs.
func (h *holding) released() []Finding {
	var findings []Finding
	remedy := h.owner.remedy
	doomed, _ := h.definitions()
	if len(doomed) > 0 {
		findings = append(findings, Finding{
			Problem: fmt.Sprintf("to uninstall %s would delete %s, and with that every object of the kind", h.owner.tool, number(titles(doomed))),
			Remedy: fmt.Sprintf("before you do, have its chart annotate its CRDs with %s: %s, and upgrade it; or, if Helm knows it no more, take its marks off: %s",
				resourcePolicy, keep, unmark("annotate", doomed, releaseName, releaseNamespace)),
		})
		remedy += ", once its CRDs are safe"
	}
	switch {
	case len(h.decisive) > 0:
		findings = append(findings, h.installed(remedy, h.others, h.crds))
	case len(h.others) > 0: // which need not be all that the release is there for
		findings = append(findings, h.installed("take that out of the release, or uninstall it: "+remedy, h.others, h.crds))
	}
	return findings
}

// installed names each decisive object, as all of them have to go, and counts what else there is.
func (h *holding) installed(remedy string, others ...[]*unstructured.Unstructured) Finding {
	decisive, rest := titles(h.decisive), titles(others...)
	what := strings.Join(decisive, ", ")
	switch {
	case len(decisive) == 0:
		what = number(rest)
	case len(rest) > 0:
		what = fmt.Sprintf("%s and %d more", what, len(rest))
	}
	return Finding{Problem: fmt.Sprintf("Istio is installed here already, by %s: %s", h.owner.tool, what), Remedy: remedy}
}

// takenOver notes what is there already and goes over to the operator although somebody may think it theirs.
func takenOver(t Target, s snapshot) []Finding {
	var notes []Finding
	for _, h := range holdings(t, s) {
		_, kept := h.definitions()
		switch {
		case h.owner.by == nobody && len(h.decisive) == 0 && len(h.others) > 0:
			notes = append(notes, Finding{
				Problem: "there already, by somebody who left no trace, and taken over: " + number(titles(h.others)),
				Remedy:  "what Istio's charts set is overwritten, and all of it is removed with the control plane; --dry-run shows the difference",
			})
		case h.owner.by == gitOps && len(h.crds) > 0:
			notes = append(notes, Finding{
				Problem: fmt.Sprintf("applied by %s, and taken over: %s", h.owner.tool, number(titles(h.crds))),
				Remedy: fmt.Sprintf("where the two differ, each puts its own back: have them annotated with %s, or every object of the kind may go with them, and then taken out of there",
					h.owner.unpruned),
			})
		case h.owner.by == helm && len(kept) > 0:
			notes = append(notes, Finding{
				Problem: fmt.Sprintf("left by %s, or to be left when it is uninstalled, and taken over: %s", h.owner.tool, number(titles(kept))),
				Remedy: fmt.Sprintf("if there is such a release still, its next upgrade would change that again: %s; then take its marks off: %s",
					h.owner.remedy, unmark("annotate", kept, releaseName, releaseNamespace)),
			})
		}
	}
	return notes
}

// unmark returns the command that takes labels or annotations off CRDs.
func unmark(verb string, crds []*unstructured.Unstructured, keys ...string) string {
	words := []string{"kubectl", verb, "crd"}
	for _, o := range crds {
		words = append(words, o.GetName())
	}
	for _, k := range keys {
		words = append(words, k+"-")
	}
	return strings.Join(words, " ")
}

func titles(lists ...[]*unstructured.Unstructured) []string {
	var all []string
	for _, o := range slices.Concat(lists...) {
		all = append(all, title(o))
	}
	return all
}
