package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// textAtMost is how long a finding's text may be, in bytes: an Event's note holds 1,024.
const textAtMost = 1000

// Text says in one line what the finding says: the rule, what is wrong, and what to do. A long message is cut, the remedy
// never is.
func (f Finding) Text() string {
	message := Printable(fmt.Sprintf("%s %s: %s", f.Rule, f.Name, f.Message))
	remedy := ". " + f.Remedy
	if room := textAtMost - len(remedy) - len("..."); len(message) > room {
		for room > 0 && !utf8.RuneStart(message[room]) {
			room--
		}
		message = message[:max(room, 0)] + "..."
	}
	return message + remedy
}

// Printable replaces the characters that would break a line or a header. Names in a mesh's objects are anybody's text.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
