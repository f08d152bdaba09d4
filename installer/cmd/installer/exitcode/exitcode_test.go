package exitcode_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/meshwarden/meshwarden/installer/cmd/installer/exitcode"
)

func TestOf(t *testing.T) {
	fault := errors.New("fault")
	for name, tc := range map[string]struct {
		reason string
		err    error
		want   int
	}{
		"None":    {"nothing went wrong", nil, 0},
		"Other":   {"what nobody marked may go well another time", fault, exitcode.Failed},
		"Input":   {"the document or the options", exitcode.OfInput(fault), exitcode.Input},
		"Wrapped": {"whatever is said around it", fmt.Errorf("no: %w", exitcode.OfInput(fault)), exitcode.Input},
		"NoInput": {"no error does not become one", exitcode.OfInput(nil), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exitcode.Of(tc.err); got != tc.want {
				t.Errorf("%s: %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
	if err := exitcode.OfInput(fault); err.Error() != "fault" || !errors.Is(err, fault) {
		t.Errorf("%v, want the same message and error", err)
	}
}
