package check

import (
	"slices"
	"strings"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// everyNamespace stands for the namespace of an object that names none and may have none.
const everyNamespace = ""

// noteMaker takes in an object of a kind that is not read. If its kind is one of those that Secrets are made from, such as
// SealedSecret, ExternalSecret and VaultStaticSecret, the Secrets of its namespace are not all in the input.
func (l *loader) noteMaker(kind, namespace string) {
	if strings.Contains(kind, "Secret") {
		l.makers = append(l.makers, namespace)
	}
}

// completeSecrets returns the namespaces whose Secrets are taken to be all in the input, so that one which is not there is
// missing. Most keep Secrets out of files, and to call each of these missing would be an alarm about nothing. But who has the
// Secret with one certificate of a namespace in a file, in plain text, has the others there as well.
func (l *loader) completeSecrets(resources []policy.Resource) []string {
	var complete []string
	for _, r := range resources {
		s, ok := r.(*policy.Secret)
		if ok && !s.Sealed && s.Relevant() && !slices.Contains(complete, s.Namespace) {
			complete = append(complete, s.Namespace)
		}
	}
	if slices.Contains(l.makers, everyNamespace) {
		return nil
	}
	return slices.DeleteFunc(complete, func(namespace string) bool { return slices.Contains(l.makers, namespace) })
}
