package operator

import (
	"strings"
	"testing"
)

func TestShortened(t *testing.T) {
	for name, tc := range map[string]struct{ reason, note, want string }{
		"Short":   {"What has room stays.", "quota", "quota"},
		"Fits":    {"The limit is part of what has room.", strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		"Long":    {"The sign of omission has to fit, too.", strings.Repeat("a", 1025), strings.Repeat("a", 1021) + "…"},
		"Unicode": {"The API server counts bytes, and a character is not cut in two.", strings.Repeat("é", 600), strings.Repeat("é", 510) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shortened(tc.note); got != tc.want {
				t.Errorf("%s\ngot %d bytes: %q", tc.reason, len(got), got)
			}
		})
	}
}
