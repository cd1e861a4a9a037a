package report

import (
	"fmt"
	"math"
	"strings"
)

// noise is by how much a figure has to move before it counts as another one: the same binary moves by this
// much between two minutes on a shared machine.
const noise = 0.10

// Comparison is what became of the figures that two reports share.
type Comparison struct {
	Table         Table
	Better, Worse int
	Gone, New     int
	Incomparable  string // why the two should not be compared at all; "": they may be
}

// Compare holds a newer report against an older one.
func Compare(older, newer *Report) *Comparison {
	c := &Comparison{Table: Table{
		Title:   fmt.Sprintf("%s → %s", older.Started.Format("2006-01-02 15:04"), newer.Started.Format("2006-01-02 15:04")),
		Columns: []string{"figure", "before", "now", "change", ""},
	}}
	if older.Machine.CPU != newer.Machine.CPU || older.Machine.Cores != newer.Machine.Cores {
		c.Incomparable = "The two were measured on different machines: only their ratios say something."
	}
	if older.Quick || newer.Quick {
		c.Incomparable = "At least one of them is a quick run, whose figures mean little."
	}
	before := map[string]Figure{}
	for _, f := range older.Figures() {
		before[f.ID] = f
	}
	seen := map[string]bool{}
	for _, f := range newer.Figures() {
		was, known := before[f.ID]
		seen[f.ID] = true
		if !known {
			c.New++
			c.Table.Row(f.Name, "", f.Text(), "", "new")
			continue
		}
		c.row(was, f)
	}
	for _, f := range older.Figures() {
		if !seen[f.ID] {
			c.Gone++
			c.Table.Row(f.Name, f.Text(), "", "", "gone")
		}
	}
	return c
}

// row compares one figure.
func (c *Comparison) row(was, is Figure) {
	if was.Missing != "" || is.Missing != "" {
		if was.Missing != is.Missing {
			c.Table.Row(is.Name, was.Text(), is.Text(), "", "one of them was not measured")
		}
		return
	}
	change, word := "", "about the same"
	if was.Value != 0 {
		change = fmt.Sprintf("%+.0f %%", 100*(is.Value/was.Value-1))
	}
	moved := math.Abs(is.Value-was.Value) > noise*math.Abs(was.Value)
	better := is.Value < was.Value == (is.Better == Lower)
	switch {
	case !moved || is.Better == Neither:
	case better:
		c.Better++
		word = "better"
	default:
		c.Worse++
		word = "WORSE"
	}
	if a, b := was.Verdict(), is.Verdict(); a != b {
		word += fmt.Sprintf(" (goal was %s, is %s)", a, b)
	}
	c.Table.Row(is.Name, was.Text(), is.Text(), change, word)
}

// Text returns the comparison for a terminal.
func (c *Comparison) Text() string {
	var b strings.Builder
	c.Table.writeText(&b)
	text := b.String()
	if c.Incomparable != "" {
		text += "\n! " + c.Incomparable + "\n"
	}
	return text + fmt.Sprintf("\n%d better, %d worse by more than %.0f %%; %d new, %d gone.\n", c.Better, c.Worse, 100*noise, c.New, c.Gone)
}
