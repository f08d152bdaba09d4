package conformance

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Dimension is one property by which cases are told apart, with every value that it can have.
type Dimension struct {
	Name   string
	Values []string
}

// Coverage counts the cases of each combination of values, its cells.
type Coverage struct {
	dimensions []Dimension
	impossible func(cell []string) string
	counts     map[string]int
}

// cellSeparator stands between the values of a cell's key. No value contains it.
const cellSeparator = "\x00"

// NewCoverage returns a Coverage that has counted nothing. Impossible returns why no case can be in a cell, or nothing
// where one can.
func NewCoverage(impossible func(cell []string) string, dimensions ...Dimension) *Coverage {
	return &Coverage{dimensions: dimensions, impossible: impossible, counts: map[string]int{}}
}

// Count adds a case to a cell, which is given by one value of each dimension. An unknown value, and a cell that is
// said to be impossible, is an error: the table would not show the truth.
func (c *Coverage) Count(cell ...string) error {
	if len(cell) != len(c.dimensions) {
		return fmt.Errorf("a cell has %d values, not %d", len(c.dimensions), len(cell))
	}
	for i, d := range c.dimensions {
		if !slices.Contains(d.Values, cell[i]) {
			return fmt.Errorf("%s has no value %q", d.Name, cell[i])
		}
	}
	if reason := c.impossible(cell); reason != "" {
		return fmt.Errorf("the cell %s has a case and cannot have one: %s", strings.Join(cell, ", "), reason)
	}
	c.counts[strings.Join(cell, cellSeparator)]++
	return nil
}

// Merge adds what another Coverage of the same dimensions has counted.
func (c *Coverage) Merge(o *Coverage) {
	for cell, n := range o.counts {
		c.counts[cell] += n
	}
}

// Empty returns the possible cells that no case is in.
func (c *Coverage) Empty() []string {
	var empty []string
	for _, cell := range c.Possible() {
		if c.counts[strings.Join(cell, cellSeparator)] == 0 {
			empty = append(empty, strings.Join(cell, ", "))
		}
	}
	return empty
}

// Possible returns the cells that a case can be in.
func (c *Coverage) Possible() [][]string {
	return slices.DeleteFunc(combinations(c.dimensions), func(cell []string) bool { return c.impossible(cell) != "" })
}

func combinations(dimensions []Dimension) [][]string {
	cells := [][]string{nil}
	for _, d := range dimensions {
		var longer [][]string
		for _, cell := range cells {
			for _, v := range d.Values {
				longer = append(longer, append(slices.Clip(cell), v))
			}
		}
		cells = longer
	}
	return cells
}

// Write prints the table: a row for each combination of the first dimensions, a column for each value of the last but one,
// and in each field the counts for the values of the last one. A dash stands for a cell that is impossible; the reasons
// follow, with the number of the cells.
func (c *Coverage) Write(out io.Writer) {
	n := len(c.dimensions)
	rows, column, last := c.dimensions[:n-2], c.dimensions[n-2], c.dimensions[n-1]
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, d := range rows {
		fmt.Fprintf(table, "%s\t", d.Name)
	}
	fmt.Fprintf(table, "%s\n", strings.Join(column.Values, "\t"))
	cells, possible, reasons := 0, 0, map[string]int{}
	for _, row := range combinations(rows) {
		fmt.Fprintf(table, "%s\t", strings.Join(row, "\t"))
		for i, v := range column.Values {
			var fields []string
			for _, l := range last.Values {
				cell := append(append(slices.Clone(row), v), l)
				cells++
				if reason := c.impossible(cell); reason != "" {
					reasons[reason]++
					fields = append(fields, "-")
					continue
				}
				possible++
				fields = append(fields, fmt.Sprint(c.counts[strings.Join(cell, cellSeparator)]))
			}
			end := "\t"
			if i == len(column.Values)-1 {
				end = "\n"
			}
			fmt.Fprintf(table, "%s%s", strings.Join(fields, "/"), end)
		}
	}
	_ = table.Flush()
	fmt.Fprintf(out, "\nA field counts %s. %d cells, %d of them possible, %d of these empty.\n",
		strings.Join(last.Values, "/"), cells, possible, len(c.Empty()))
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(out, "  %d cells are impossible: %s\n", reasons[reason], reason)
	}
}
