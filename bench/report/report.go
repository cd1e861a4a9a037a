package report

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"forebay/bench/gauge"
)

// Format is the version of the JSON form.
const Format = 1

// Report is a whole run. Not safe for concurrent use.
type Report struct {
	Format   int           `json:"format"`
	Title    string        `json:"title"`
	Command  string        `json:"command"`
	Version  string        `json:"version"`
	Started  time.Time     `json:"started"`
	Seconds  float64       `json:"seconds"`
	Seed     uint64        `json:"seed"`
	Quick    bool          `json:"quick"`
	Complete bool          `json:"complete"` // false: the run was ended before its end
	Machine  gauge.Machine `json:"machine"`
	Notes    []string      `json:"notes"`
	Sections []*Section    `json:"sections"`
}

// Section is one subject of a report. Not safe for concurrent use.
type Section struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	About   string   `json:"about"` // what is asked, in a sentence or two
	Figures []Figure `json:"figures"`
	Tables  []Table  `json:"tables"`
	Charts  []Chart  `json:"charts"`
	Notes   []string `json:"notes"`
	Texts   []Text   `json:"texts"`
	// Raw is what was measured, as the scenario has it.
	Raw any `json:"raw,omitempty"`
}

// Text is something to be read as it is, a configuration for one.
type Text struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// Table has as many cells in each row as it has columns.
type Table struct {
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// New begins a report.
func New(title, command, version string, seed uint64, quick bool) *Report {
	return &Report{
		Format: Format, Title: title, Command: command, Version: version, Started: time.Now().UTC().Truncate(time.Second),
		Seed: seed, Quick: quick, Machine: gauge.ThisMachine(), Notes: []string{}, Sections: []*Section{},
	}
}

// NewSection begins a section.
func NewSection(id, title, about string) *Section {
	return &Section{ID: id, Title: title, About: about, Figures: []Figure{}, Tables: []Table{}, Charts: []Chart{}, Notes: []string{}, Texts: []Text{}}
}

// Note adds a sentence that a reader has to know.
func (s *Section) Note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Row adds a row to a table.
func (t *Table) Row(cells ...string) { t.Rows = append(t.Rows, cells) }

// Figures returns the figures of all sections.
func (r *Report) Figures() []Figure {
	var all []Figure
	for _, s := range r.Sections {
		all = append(all, s.Figures...)
	}
	return all
}

// Read reads a report's JSON form.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("read report %q: %w", path, err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("read report %q: it has format %d, and this version reads %d", path, r.Format, Format)
	}
	return &r, nil
}

// WriteJSON writes the form that Read reads.
func (r *Report) WriteJSON(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
