package report_test

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forebay/bench/report"
)

// sample is a report with one of everything.
func sample(p99 float64) *report.Report {
	r := report.New("forebay bench", "forebay bench", "v1", 7, false)
	r.Complete = true
	s := report.NewSection("dashboard", "Dashboard <under> load", "Everybody & everything.")
	s.Figures = append(s.Figures,
		report.Low("dashboard.w0.after.p99", "dashboard: p99", p99, "ms").Under(200, "success criterion"),
		report.High("hits", "hit rate", 99, "%").Want(95, "goal"),
		report.Low("ratio", "CPU", 1.1, "×").Want(1.05, "goal").JudgedBy(1.02),
		report.Unmeasured("fresh", "commit to fresh", "ms", report.Lower, 20, "no change stream"))
	s.Tables = append(s.Tables, report.Table{Title: "T", Columns: []string{"", "p99 ms"}, Rows: [][]string{{"before", "800"}, {"after", "1"}}})
	s.Charts = append(s.Charts,
		report.Chart{Title: "Latency", Kind: report.Percentiles, X: "percentile", Y: "ms", LogY: true, Series: []report.Series{{Name: "a<b", Points: [][2]float64{{0, 1}, {90, 2}, {99.9, 30}}}}},
		report.Chart{Title: "Time", Kind: report.Lines, X: "seconds", Y: "/s", Series: []report.Series{{Name: "a", Points: [][2]float64{{1, 5}, {2, 6}}}, {Name: "none"}}},
		report.Chart{Title: "Bars", Kind: report.Bars, X: "workload", Y: "×", Mark: 1, Labels: []string{"hot", "zipf"}, Series: []report.Series{{Name: "a", Points: [][2]float64{{0, 1}, {1, 2}}}}},
		report.Chart{Title: "Empty", Kind: report.Lines})
	s.Texts = append(s.Texts, report.Text{Title: "nginx", Body: "http { }"})
	s.Note("It was %d times.", 3)
	r.Sections = append(r.Sections, s)
	return r
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		figure report.Figure
		want   report.Verdict
	}{
		{"at the bound", report.Low("", "", 10, "ms").Want(10, ""), report.Met},
		{"at a strict bound", report.Low("", "", 10, "ms").Under(10, ""), report.Missed},
		{"over", report.Low("", "", 11, "ms").Want(10, ""), report.Missed},
		{"better higher", report.High("", "", 96, "%").Want(95, ""), report.Met},
		{"judged by the interval", report.Low("", "", 1.1, "×").Want(1.05, "").JudgedBy(1.02), report.Met},
		{"not measured", report.Unmeasured("", "", "ms", report.Lower, 0, "why"), report.NotMeasured},
		{"no goal", report.Low("", "", 1, "ms"), report.NoGoal},
	} {
		if got := c.figure.Verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPageIsWellFormedWholeAndOffline(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.html")
	if err := sample(10).WriteHTML(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"Dashboard &lt;under&gt; load", "a&lt;b", "no change stream", "<svg", "prefers-color-scheme: dark", "http { }", "not measured", "It was 3 times."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, not := range []string{"<script", "src=", "url(", "@import", "NaN", "%!", "ZgotmplZ"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "br"}, xml.HTMLEntity
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the page does not parse: %v", err)
		}
	}
}

func TestJSONComesBackAndIsCompared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, p99 := range map[string]float64{"old.json": 100, "new.json": 250} {
		if err := sample(p99).WriteJSON(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	older, err := report.Read(filepath.Join(dir, "old.json"))
	if err != nil {
		t.Fatal(err)
	}
	newer, err := report.Read(filepath.Join(dir, "new.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := report.Compare(older, newer)
	if c.Worse != 1 || c.Better != 0 || c.New+c.Gone != 0 || c.Incomparable != "" {
		t.Errorf("compared as %+v", c)
	}
	if text := c.Text(); !strings.Contains(text, "WORSE (goal was met, is missed)") || !strings.Contains(text, "+150 %") {
		t.Errorf("told as:\n%s", text)
	}
}

func TestTerminalTellsEverything(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := sample(10).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before", "800", "3 goals met, 0 missed, 1 not measured", "no change stream", "! It was 3 times."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
}

func TestChartsTableKeepsPlaces(t *testing.T) {
	t.Parallel()
	c := report.Chart{Kind: report.Bars, X: "workload", Labels: []string{"hot", "zipf"}, Series: []report.Series{
		{Name: "a", Points: [][2]float64{{0, 1}, {1, 2}}}, {Name: "b", Points: [][2]float64{{1, 3}}},
	}}
	got := c.Table().Rows
	if len(got) != 2 || strings.Join(got[0], "|") != "hot|1|" || strings.Join(got[1], "|") != "zipf|2|3" {
		t.Errorf("the table has %q", got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234567: "1\u202f234\u202f567", -1234: "-1\u202f234", 3: "3"} {
		if got := report.Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
