package conformance

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/meshwarden/meshwarden/pkg/policy"
)

// JudgedCase is an alignment case with Istio's verdicts.
type JudgedCase struct {
	*AlignmentCase
	Alignment *AlignmentTruth
	Routes    *RouteTruth
}

// JudgeCases asks Istio for all its verdicts on the cases.
func JudgeCases(cases []*AlignmentCase) ([]JudgedCase, error) {
	alignment, err := JudgeAlignment(cases)
	if err != nil {
		return nil, err
	}
	routes, err := JudgeRoutes(cases)
	if err != nil {
		return nil, err
	}
	judged := make([]JudgedCase, len(cases))
	for i, c := range cases {
		judged[i] = JudgedCase{c, alignment[i], routes[i]}
	}
	return judged, nil
}

// Compare judges the case by the rules, through the seam, and holds them to Istio's verdicts.
func (c JudgedCase) Compare(s Seam) ([]policy.Finding, *Disagreement, error) {
	findings, err := c.Findings(s)
	if err != nil {
		return nil, nil, fmt.Errorf("case %d: %w", c.Number, err)
	}
	if d := c.Alignment.Disagreement(findings); d != nil {
		return findings, d, nil
	}
	return findings, c.Routes.Disagreement(findings), nil
}

// AlignmentReport is what a run has found.
type AlignmentReport struct {
	Cases, LinedUp int
	// Fired and Alone count by rule the cases in which it found something, and those in which no other one did.
	Fired, Alone  map[string]int
	Coverage      *Coverage
	Disagreements int
}

// Alignment runs the alignment cases, the route level included, and reports on them. An error means that Istio could not
// be asked or the rules could not answer.
func (r Run) Alignment() (*AlignmentReport, error) {
	report := &AlignmentReport{Fired: map[string]int{}, Alone: map[string]int{}, Coverage: NewAlignmentCoverage()}
	generator := NewAlignmentGenerator(r.Seed)
	began, said := time.Now(), time.Now()
	for first := 0; first < r.Cases && report.Disagreements < r.Enough; first += chunk {
		var cases []*AlignmentCase
		for i := range min(chunk, r.Cases-first) {
			cases = append(cases, generator.Draw(first+i, NewToken(i)))
		}
		judged, err := JudgeCases(cases)
		if err != nil {
			return nil, err
		}
		if err := report.add(judged, r); err != nil {
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
func (a *AlignmentReport) add(judged []JudgedCase, r Run) error {
	findings := make([][]policy.Finding, len(judged))
	disagreements := make([]*Disagreement, len(judged))
	err := inParallel(len(judged), func(i int) (err error) {
		findings[i], disagreements[i], err = judged[i].Compare(Seam{})
		return err
	})
	if err != nil {
		return err
	}
	for i, c := range judged {
		a.Cases++
		if c.Alignment.LinesUp() {
			a.LinedUp++
		}
		if err := c.Cover(c.Alignment, a.Coverage); err != nil {
			return fmt.Errorf("case %d: %w", c.Number, err)
		}
		a.count(findings[i])
		if d := disagreements[i]; d != nil && a.Disagreements < r.Enough {
			a.Disagreements++
			if err := r.show(c.AlignmentCase, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *AlignmentReport) count(findings []policy.Finding) {
	rules := map[string]bool{}
	for _, f := range findings {
		rules[f.Rule] = true
	}
	for rule := range rules {
		a.Fired[rule]++
		if len(rules) == 1 {
			a.Alone[rule]++
		}
	}
}

// show shrinks the case and writes it down.
func (r Run) show(c *AlignmentCase, d *Disagreement) error {
	small := &AlignmentCase{Number: c.Number, World: Shrink(c.World, func(w *World) bool {
		found := w.disagreement()
		return found != nil && found.Kind == d.Kind
	})}
	if found := small.World.disagreement(); found != nil {
		d = found
	}
	path, header, err := r.caption(small, d)
	if err != nil {
		return err
	}
	text, err := small.World.Fixture(header, small.VirtualService())
	if err != nil {
		return err
	}
	if err := WriteFixture(path, text); err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "case %d, %s: %s\n  %s\n", c.Number, d.Kind, d.Detail, path)
	return nil
}

// caption returns where the fixture of the case belongs, and a header that says what Istio bears out. Which rule it is that
// misses a fault is not known: the header then says MW102.
func (r Run) caption(c *AlignmentCase, d *Disagreement) (path string, header []string, err error) {
	findings, err := c.Findings(Seam{})
	if err != nil {
		return "", nil, err
	}
	header = []string{"reason: " + strings.ReplaceAll(d.Detail, string(c.World.Token), "")}
	folder, name := "MW102", "fail"
	if strings.HasPrefix(d.Kind, "MW") {
		folder = d.Kind
	}
	for _, f := range findings {
		if d.Kind == falseDenial && slices.Contains(alignmentRules(), f.Rule) {
			folder, name = f.Rule, "pass"
			continue
		}
		header = append(header, fmt.Sprintf("want: %s %s", f.Rule, f.Path))
	}
	if d.Kind == missed {
		judged, err := JudgeCases([]*AlignmentCase{c})
		if err != nil {
			return "", nil, err
		}
		for _, field := range judged[0].Alignment.blamed() {
			header = append(header, "want: MW102 "+field)
		}
	}
	return filepath.Join(r.Failures, folder, fmt.Sprintf("%s_seed%d_case%d.yaml", name, r.Seed, c.Number)), header, nil
}

// disagreement judges the world anew, by Istio and by the rules. A world that cannot be judged shows none.
func (w *World) disagreement() *Disagreement {
	if len(w.VirtualServices) == 0 {
		return nil
	}
	judged, err := JudgeCases([]*AlignmentCase{{World: w}})
	if err != nil {
		return nil
	}
	_, d, err := judged[0].Compare(Seam{})
	if err != nil {
		return nil
	}
	return d
}

// Write prints the report: the shares of the verdicts and rules, and the coverage.
func (a *AlignmentReport) Write(out io.Writer) {
	a.Coverage.Write(out)
	share := func(n int) string { return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(a.Cases, 1))) }
	fmt.Fprintf(out, "\n%d cases, %s line up, %d disagreements\n", a.Cases, share(a.LinedUp), a.Disagreements)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "rule\tfires in\tis the only one in")
	for _, rule := range slices.Sorted(maps.Keys(a.Fired)) {
		fmt.Fprintf(table, "%s\t%s\t%s\n", rule, share(a.Fired[rule]), share(a.Alone[rule]))
	}
	_ = table.Flush()
}
