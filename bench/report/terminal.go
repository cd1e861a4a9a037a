package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// WriteText writes the report for a terminal: each section's tables and notes, then the verdict.
func (r *Report) WriteText(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s\n%s · %s · %d cores · %s · kernel %s · seed %d\n", r.Title, r.Started.Format("2006-01-02 15:04 MST"),
		r.Machine.CPU, r.Machine.Cores, r.Machine.Memory, r.Machine.Kernel, r.Seed)
	for _, s := range r.Sections {
		fmt.Fprintf(b, "\n== %s\n%s\n", s.Title, wrapped(s.About, 110))
		for i := range s.Tables {
			s.Tables[i].writeText(b)
		}
		for _, note := range s.Notes {
			fmt.Fprintf(b, "\n! %s\n", wrapped(note, 108))
		}
	}
	r.Verdicts().writeText(b)
	for _, note := range r.Notes {
		fmt.Fprintf(b, "\n! %s\n", wrapped(note, 108))
	}
	fmt.Fprintf(b, "\n%s\n", r.Summary())
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Verdicts is the table of all figures that have a goal.
func (r *Report) Verdicts() *Table {
	t := &Table{Title: "Verdict", Columns: []string{"what", "measured", "goal", "verdict", ""}}
	for _, f := range r.Figures() {
		if f.Goal == nil {
			continue
		}
		beside := f.Beside
		if f.Missing != "" {
			beside = f.Missing
		}
		t.Row(f.Name, f.Text(), f.GoalText(), string(f.Verdict()), beside)
	}
	return t
}

// Summary counts the verdicts in a sentence.
func (r *Report) Summary() string {
	count := map[Verdict]int{}
	for _, f := range r.Figures() {
		count[f.Verdict()]++
	}
	text := fmt.Sprintf("%d goals met, %d missed, %d not measured; %.0f s.", count[Met], count[Missed], count[NotMeasured], r.Seconds)
	if !r.Complete {
		text += " The run is not complete: what is missing was not measured."
	}
	if r.Quick {
		text += " A quick run shows that everything works; its figures are not to be quoted."
	}
	return text
}

func (t *Table) writeText(b *strings.Builder) {
	if len(t.Rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", t.Title)
	w := tabwriter.NewWriter(b, 2, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  "+strings.Join(t.Columns, "\t"))
	for _, row := range t.Rows {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush() // a Builder takes everything
}

// wrapped breaks a text into lines of at most so many characters.
func wrapped(text string, width int) string {
	var b strings.Builder
	at := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteByte('\n')
			at = 0
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
