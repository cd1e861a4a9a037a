package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"strings"
)

//go:embed page.html
var pageText string

// page is the HTML form; template.HTML is used for nothing but SVG made here.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"paint": func(c Chart, i int) int { return c.Paint(i) },
	"svg":   func(c Chart) template.HTML { return template.HTML(c.SVG()) },
	"data":  func(c Chart) Table { return c.Table() },
	"class": func(v any) string { return strings.ReplaceAll(fmt.Sprint(v), " ", "-") },
}).Parse(pageText))

// WriteHTML writes the report as one page that needs no network and no script.
func (r *Report) WriteHTML(path string) error {
	var b strings.Builder
	if err := page.Execute(&b, r); err != nil {
		return fmt.Errorf("make page: %w", err)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// Colours are the numbers of the colours that series have in turn.
func (*Report) Colours() []int {
	var all []int
	for i := range colours {
		all = append(all, i)
	}
	return all
}

// headlines are the figures that stand above everything, if they were measured.
var headlines = []string{
	"dashboard.w0.after.p99", "search.w0.after.p99", "batch.w0.after.p99", "sustained.w1.after.hit_rate",
	"mixed.w1.database_time_saved", "pool.p99", "users.timeouts", "fresh.p99", "peers.worst",
}

// Headlines returns the figures that a reader in a hurry wants.
func (r *Report) Headlines() []Figure {
	var all []Figure
	for _, id := range headlines {
		for _, f := range r.Figures() {
			if f.ID == id && f.Missing == "" {
				all = append(all, f)
			}
		}
	}
	return all
}
