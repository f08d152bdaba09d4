package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	networking "istio.io/api/networking/v1alpha3"
)

// JudgedConflict is a conflict case with Istio's verdict.
type JudgedConflict struct {
	*ConflictCase
	Truth *ConflictTruth
}

// Compare judges the case by the rules, through the seam, and holds them to Istio's verdict.
func (c JudgedConflict) Compare(s Seam) (*ConflictVerdict, []Disagreement, error) {
	v, err := c.Verdict(s)
	if err != nil {
		return nil, nil, fmt.Errorf("case %d: %w", c.Number, err)
	}
	return v, c.Disagreements(c.Truth, v), nil
}

// JudgeConflictCases asks Istio for its verdict on each case.
func JudgeConflictCases(cases []*ConflictCase) ([]JudgedConflict, error) {
	truths, err := JudgeConflicts(cases)
	if err != nil {
		return nil, err
	}
	judged := make([]JudgedConflict, len(cases))
	for i, c := range cases {
		judged[i] = JudgedConflict{c, truths[i]}
	}
	return judged, nil
}

// ConflictReport is what a run has found.
type ConflictReport struct {
	Cases, Clean int
	// Fired and Alone count by rule the cases that it denies, and those that no other one does.
	Fired, Alone map[string]int
	// Updates counts the cases in which a Gateway is changed rather than created, and Others those in which it is somebody
	// else who loses.
	Updates, Others int
	Coverage        *Coverage
	Disagreements   int
}

// Conflicts runs the conflict cases and reports on them. An error means that Istio could not be asked or the rules could
// not answer.
func (r Run) Conflicts() (*ConflictReport, error) {
	report := &ConflictReport{Fired: map[string]int{}, Alone: map[string]int{}, Coverage: NewConflictCoverage()}
	began, said := time.Now(), time.Now()
	for first := 0; first < r.Cases && report.Disagreements < r.Enough; first += chunk {
		var cases []*ConflictCase
		for i := range min(chunk, r.Cases-first) {
			cases = append(cases, DrawConflict(r.Seed, first+i, NewToken(i)))
		}
		if err := report.add(cases, r); err != nil {
			return nil, err
		}
		if time.Since(said) > progressEvery {
			said = time.Now()
			fmt.Fprintf(r.Out, "%6d cases in %s, %d disagreements\n", report.Cases, time.Since(began).Round(time.Second), report.Disagreements)
		}
	}
	return report, nil
}

// add compares the cases and counts them.
func (a *ConflictReport) add(cases []*ConflictCase, r Run) error {
	truths, err := JudgeConflicts(cases)
	if err != nil {
		return err
	}
	verdicts := make([]*ConflictVerdict, len(cases))
	found := make([][]Disagreement, len(cases))
	err = inParallel(len(cases), func(i int) (err error) {
		verdicts[i], found[i], err = JudgedConflict{cases[i], truths[i]}.Compare(Seam{})
		return err
	})
	if err != nil {
		return err
	}
	winners, err := JudgeWinners(cases, truths, verdicts)
	if err != nil {
		return err
	}
	for i, c := range cases {
		a.count(c, truths[i], verdicts[i])
		if err := c.Cover(truths[i], a.Coverage); err != nil {
			return fmt.Errorf("case %d: %w", c.Number, err)
		}
		found[i] = append(found[i], winners[i]...)
		if len(found[i]) > 0 && a.Disagreements < r.Enough {
			a.Disagreements++
			if err := r.showConflict(c, found[i][0]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *ConflictReport) count(c *ConflictCase, t *ConflictTruth, v *ConflictVerdict) {
	a.Cases++
	if len(t.Caused()) == 0 && !t.Fails[c.Submitted] {
		a.Clean++
	}
	if c.Old != nil {
		a.Updates++
	}
	submitted := c.World.Gateway(c.Submitted)
	if slices.ContainsFunc(t.Caused(), func(l ConflictLoss) bool {
		return l.Dropped != "" && !slices.ContainsFunc(submitted.Spec.Servers, func(s *networking.Server) bool { return s.Name == l.Dropped })
	}) {
		a.Others++
	}
	denying := v.denying()
	for rule := range denying {
		a.Fired[rule]++
		if len(denying) == 1 {
			a.Alone[rule]++
		}
	}
}

// Write prints the report: the shares of the verdicts and rules, and the coverage.
func (a *ConflictReport) Write(out io.Writer) {
	a.Coverage.Write(out)
	share := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(a.Cases, 1))) }
	fmt.Fprintf(out, "\n%d cases, %s clean, %s updates, in %s somebody else's server is dropped, %d disagreements\n",
		a.Cases, share(a.Clean), share(a.Updates), share(a.Others), a.Disagreements)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "rule\tdenies\tis the only one to deny")
	for _, rule := range conflictRules() {
		fmt.Fprintf(table, "%s\t%s\t%s\n", rule, share(a.Fired[rule]), share(a.Alone[rule]))
	}
	_ = table.Flush()
}

// serverName is the name that the filter chain's match asks for, without the application protocols.
func (l ConflictLoss) serverName() string {
	name, _, _ := strings.Cut(l.Match, " ")
	return name
}
