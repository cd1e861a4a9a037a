package report

import (
	"fmt"
	"math"
	"strconv"
)

// Figure is one number that was measured, or that could not be.
type Figure struct {
	ID     string  `json:"id"` // the same in every run: "dashboard.w1.after.p99"
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Better Better  `json:"better"`
	Goal   *Goal   `json:"goal,omitempty"`
	// Missing is why there is no value; "": there is one.
	Missing string `json:"missing,omitempty"`
	// Beside says what the value stands on: "95 % interval 1.02 to 1.09".
	Beside string `json:"beside,omitempty"`
	// Judge is what is held against the goal where that is not the value: the end of an interval.
	Judge *float64 `json:"judge,omitempty"`
}

// Better says which way a figure improves.
type Better string

// Which way a figure improves.
const (
	Lower   Better = "lower"
	Higher  Better = "higher"
	Neither Better = ""
)

// Goal is what a figure should be. Bound is inclusive unless Strict.
type Goal struct {
	Bound  float64 `json:"bound"`
	Strict bool    `json:"strict,omitempty"`
	From   string  `json:"from"` // who asks for it: "success criterion", "goal"
}

// Verdict is how a figure does against its goal.
type Verdict string

// How a figure does against its goal.
const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	NotMeasured Verdict = "not measured"
	NoGoal      Verdict = ""
)

// Low is a figure that is better lower.
func Low(id, name string, value float64, unit string) Figure {
	return Figure{ID: id, Name: name, Value: value, Unit: unit, Better: Lower}
}

// High is a figure that is better higher.
func High(id, name string, value float64, unit string) Figure {
	return Figure{ID: id, Name: name, Value: value, Unit: unit, Better: Higher}
}

// Unmeasured is a figure with a goal and without a value.
func Unmeasured(id, name, unit string, better Better, bound float64, why string) Figure {
	return Figure{ID: id, Name: name, Unit: unit, Better: better, Goal: &Goal{Bound: bound}, Missing: why}
}

// Want returns the figure with a goal.
func (f Figure) Want(bound float64, from string) Figure {
	f.Goal = &Goal{Bound: bound, From: from}
	return f
}

// Under returns the figure with a goal that it has to stay strictly under, or over.
func (f Figure) Under(bound float64, from string) Figure {
	f.Goal = &Goal{Bound: bound, From: from, Strict: true}
	return f
}

// With returns the figure with what it stands on.
func (f Figure) With(format string, args ...any) Figure {
	f.Beside = fmt.Sprintf(format, args...)
	return f
}

// JudgedBy returns the figure that is held against its goal by another value.
func (f Figure) JudgedBy(v float64) Figure {
	f.Judge = &v
	return f
}

// Verdict holds the figure against its goal.
func (f Figure) Verdict() Verdict {
	if f.Goal == nil {
		return NoGoal
	}
	if f.Missing != "" {
		return NotMeasured
	}
	v := f.Value
	if f.Judge != nil {
		v = *f.Judge
	}
	met := v <= f.Goal.Bound
	if f.Better == Higher {
		met = v >= f.Goal.Bound
	}
	if f.Goal.Strict && v == f.Goal.Bound {
		met = false
	}
	if !met || math.IsNaN(v) {
		return Missed
	}
	return Met
}

// Text returns the value with its unit, or a dash.
func (f Figure) Text() string {
	if f.Missing != "" {
		return "—"
	}
	return WithUnit(f.Value, f.Unit)
}

// GoalText returns the goal: "≤ 10 ms".
func (f Figure) GoalText() string {
	if f.Goal == nil {
		return ""
	}
	sign := map[Better]string{Lower: "≤ ", Higher: "≥ "}[f.Better]
	if f.Goal.Strict {
		sign = map[Better]string{Lower: "< ", Higher: "> "}[f.Better]
	}
	return sign + WithUnit(f.Goal.Bound, f.Unit)
}

// WithUnit writes a number and its unit.
func WithUnit(v float64, unit string) string {
	switch unit {
	case "":
		return Number(v)
	case "×":
		return strconv.FormatFloat(v, 'f', 2, 64) + " ×"
	}
	return Number(v) + " " + unit
}

// Number writes a number with three or four significant digits and thin spaces between thousands.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "—"
	case math.IsInf(v, 0):
		return "∞"
	case a >= 1000:
		return grouped(int64(math.Round(v)))
	case a >= 100 || a == math.Trunc(a):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(text) - 3; i > first; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}
