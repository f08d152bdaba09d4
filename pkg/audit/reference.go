package audit

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/meshwarden/meshwarden/pkg/istio"
	"github.com/meshwarden/meshwarden/pkg/policy"
)

// reference names an object for an Event about it. kubectl describe finds Events by the UID.
func reference(ref policy.Ref, uid types.UID) *corev1.ObjectReference {
	version, _ := istio.GroupVersionOf(ref.Kind)
	return &corev1.ObjectReference{
		APIVersion: version.String(), Kind: string(ref.Kind), Namespace: ref.Namespace, Name: ref.Name, UID: uid,
	}
}

// reason turns a rule's name into an Event's reason: "host-not-served" becomes "HostNotServed".
func reason(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// involved returns what is read again before the findings are believed: what they rest on first, then the objects
// themselves, up to the limit.
func involved(findings map[policy.Ref][]policy.Finding) []policy.Ref {
	var refs []policy.Ref
	seen := map[policy.Ref]bool{}
	add := func(ref policy.Ref) {
		if !seen[ref] && len(refs) < rereadAtMost {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	for _, fs := range findings {
		for _, f := range fs {
			for _, ref := range f.Related {
				add(ref)
			}
		}
	}
	for ref, fs := range findings {
		if len(fs) > 0 && fs[0].Rule != policy.UnparsableID {
			add(ref)
		}
	}
	return refs
}

func compareRefs(a, b policy.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
