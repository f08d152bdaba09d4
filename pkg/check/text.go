package check

import (
	"bufio"
	"fmt"
	"io"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// The escape sequences of the colours, as every terminal knows them.
const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	faint  = "\x1b[2m"
	plain  = "\x1b[0m"
)

// writeText prints the findings for people, file by file.
func (r *Report) writeText(out io.Writer, colour bool) error {
	paint := func(sequence, s string) string {
		if !colour {
			return s
		}
		return sequence + s + plain
	}
	w := bufio.NewWriter(out)
	for i, f := range r.Findings {
		if i == 0 || f.File != r.Findings[i-1].File {
			fmt.Fprintln(w, paint(bold, fileName(f.File)))
		}
		action := string(f.Action)
		switch f.Action {
		case policy.Deny:
			action = paint(red, action)
		case policy.Warn:
			action = paint(yellow, action)
		}
		fmt.Fprintf(w, "  %d: %s %s %s\n", f.Line, action, paint(bold, f.Rule+" "+f.Name), paint(faint, policy.Printable(f.Object.String()+" "+f.Path)))
		fmt.Fprintf(w, "      %s\n      %s\n\n", policy.Printable(sentence(f.Message)), policy.Printable(f.Remedy))
	}
	r.summary(w)
	return w.Flush()
}

// summary says in a line what came of it, and of what.
func (r *Report) summary(w io.Writer) {
	fmt.Fprintf(w, "%d deny, %d warn", r.Count(policy.Deny), r.Count(policy.Warn))
	if n := r.Count(policy.Audit); n > 0 {
		fmt.Fprintf(w, ", %d audit", n)
	}
	fmt.Fprintf(w, ": %s judged in %s", count(r.Judged, "object", "objects"), count(r.Files, "file", "files"))
	if r.Read > 0 {
		fmt.Fprintf(w, ", by %s", count(r.Read, "object behind them", "objects behind them"))
	}
	if r.Others > 0 {
		fmt.Fprintf(w, "; %s left alone", count(r.Others, "object of another kind", "objects of other kinds"))
	}
	fmt.Fprintln(w, ".")
}

// count writes a number of things.
func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
