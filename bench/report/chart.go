package report

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Chart is a plot: lines over an axis, or bars side by side.
type Chart struct {
	Title  string   `json:"title"`
	Kind   Kind     `json:"kind"`
	X      string   `json:"x"` // the axis' name
	Y      string   `json:"y"`
	LogY   bool     `json:"log_y,omitempty"`
	Labels []string `json:"labels,omitempty"` // of groups of bars
	Series []Series `json:"series"`
	// Mark is a goal to draw as a line; 0: none.
	Mark float64 `json:"mark,omitempty"`
}

// Kind says how a chart is drawn.
type Kind string

// How a chart is drawn.
const (
	Lines       Kind = "lines"
	Bars        Kind = "bars"
	Percentiles Kind = "percentiles" // lines over percentiles, each nine as wide as the one before
)

// Series is one line, or one bar of each group.
type Series struct {
	Name string `json:"name"`
	// Colour is the number of the colour from 1 on; 0: that of the series' place.
	Colour int          `json:"colour,omitempty"`
	Points [][2]float64 `json:"points"`
}

const (
	chartWidth, chartHeight                                  = 720.0, 280.0
	marginLeft, marginRight, marginTop, marginBottom float64 = 64, 12, 12, 40
)

// axis maps values to pixels.
type axis struct {
	low, high      float64
	pixelLow, span float64
	log            bool
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(max(v, a.low)), math.Log10(low), math.Log10(high)
	}
	if high == low {
		return a.pixelLow
	}
	return a.pixelLow + a.span*(v-low)/(high-low)
}

// nines maps a percentile to how many nines it has.
func nines(p float64) float64 { return -math.Log10(max(1-p/100, 1e-9)) }

// SVG draws the chart. Colours are the page's, so that it reads by day and by night.
func (c *Chart) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.Title))
	x, y := c.axes()
	c.grid(&b, x, y)
	if c.Mark > 0 && c.Mark >= y.low && c.Mark <= y.high {
		at := y.at(c.Mark)
		fmt.Fprintf(&b, `<line class="mark" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="mark" x="%g" y="%.1f" text-anchor="end">goal %s</text>`,
			marginLeft, chartWidth-marginRight, at, at, chartWidth-marginRight-4, at-4, Number(c.Mark))
	}
	for i, s := range c.Series {
		if c.Kind == Bars {
			c.bars(&b, i, s, y)
		} else {
			c.line(&b, c.Paint(i), s, x, y)
		}
	}
	b.WriteString(`</svg>`)
	return b.String()
}

// axes fit the data.
func (c *Chart) axes() (x, y axis) {
	lowX, highX, lowY, highY := math.Inf(1), math.Inf(-1), math.Inf(1), c.Mark*1.05
	for _, s := range c.Series {
		for _, p := range s.Points {
			at := p[0]
			if c.Kind == Percentiles {
				at = nines(p[0])
			}
			lowX, highX = min(lowX, at), max(highX, at)
			if p[1] > 0 {
				lowY = min(lowY, p[1])
			}
			highY = max(highY, p[1])
		}
	}
	if math.IsInf(lowX, 0) {
		lowX, highX, lowY, highY = 0, 1, 0, 1
	}
	if c.Kind == Lines && lowX > 0 && lowX < highX/3 {
		lowX = 0
	}
	if highY <= 0 {
		highY = 1
	}
	x = axis{low: lowX, high: highX, pixelLow: marginLeft, span: chartWidth - marginLeft - marginRight}
	y = axis{low: 0, high: highY * 1.05, pixelLow: chartHeight - marginBottom, span: -(chartHeight - marginTop - marginBottom)}
	if c.LogY {
		if math.IsInf(lowY, 0) {
			lowY = highY / 10
		}
		y.log, y.low, y.high = true, math.Pow(10, math.Floor(math.Log10(lowY))), math.Pow(10, math.Ceil(math.Log10(highY)+0.001))
	}
	return x, y
}

// grid draws the axes with their names and numbers.
func (c *Chart) grid(b *strings.Builder, x, y axis) {
	for _, v := range ticks(y) {
		at := y.at(v)
		fmt.Fprintf(b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`,
			marginLeft, chartWidth-marginRight, at, at, marginLeft-6, at+4, Number(v))
	}
	foot := chartHeight - marginBottom + 16
	switch c.Kind {
	case Bars:
		width := (chartWidth - marginLeft - marginRight) / float64(max(len(c.Labels), 1))
		for i, label := range c.Labels {
			fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`, marginLeft+width*(float64(i)+0.5), foot, html.EscapeString(label))
		}
	case Percentiles:
		for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99} {
			if n := nines(p); n <= x.high {
				fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%g %%</text>`, x.at(n), foot, p)
			}
		}
	default:
		for _, v := range ticks(x) {
			fmt.Fprintf(b, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`, x.at(v), foot, Number(v))
		}
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="end">%s</text>`, chartWidth-marginRight, chartHeight-6, html.EscapeString(c.X))
	fmt.Fprintf(b, `<text x="%g" y="%g" transform="rotate(-90 12 %g)" text-anchor="middle">%s</text>`,
		12.0, chartHeight/2, chartHeight/2, html.EscapeString(c.Y))
}

// colours is how many the page has.
const colours = 8

// Paint returns the number of the i-th series' colour on the page.
func (c *Chart) Paint(i int) int {
	if n := c.Series[i].Colour; n > 0 {
		return (n - 1) % colours
	}
	return i % colours
}

func (c *Chart) line(b *strings.Builder, colour int, s Series, x, y axis) {
	var points []string
	for _, p := range s.Points {
		at := p[0]
		if c.Kind == Percentiles {
			at = nines(p[0])
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(at), y.at(p[1])))
	}
	fmt.Fprintf(b, `<polyline class="s%d" points="%s"><title>%s</title></polyline>`, colour, strings.Join(points, " "), html.EscapeString(s.Name))
}

func (c *Chart) bars(b *strings.Builder, i int, s Series, y axis) {
	group := (chartWidth - marginLeft - marginRight) / float64(max(len(c.Labels), 1))
	width := group * 0.8 / float64(len(c.Series))
	for _, p := range s.Points {
		left := marginLeft + group*(p[0]+0.1) + width*float64(i)
		top := y.at(p[1])
		fmt.Fprintf(b, `<rect class="s%d" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s: %s</title></rect>`,
			c.Paint(i), left, top, max(width-1, 1), max(chartHeight-marginBottom-top, 0), html.EscapeString(s.Name), Number(p[1]))
	}
}

// ticks returns round numbers along an axis.
func ticks(a axis) []float64 {
	var all []float64
	if a.log {
		for v := a.low; v <= a.high*1.001; v *= 10 {
			all = append(all, v)
		}
		return all
	}
	span := a.high - a.low
	if span <= 0 {
		return []float64{a.low}
	}
	step := math.Pow(10, math.Floor(math.Log10(span)))
	for _, m := range []float64{0.1, 0.2, 0.25, 0.5, 1} {
		if span/(step*m) <= 6 {
			step *= m
			break
		}
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high; v += step {
		all = append(all, v)
	}
	return all
}

// Table returns the chart's numbers, for those who cannot see it or want to check it.
func (c *Chart) Table() Table {
	t := Table{Title: c.Title, Columns: []string{c.X}}
	for _, s := range c.Series {
		t.Columns = append(t.Columns, s.Name)
	}
	longest := 0
	for i, s := range c.Series {
		if len(s.Points) > len(c.Series[longest].Points) {
			longest = i
		}
	}
	if len(c.Series) == 0 {
		return t
	}
	for _, p := range c.Series[longest].Points {
		first := Number(p[0])
		if c.Kind == Bars && int(p[0]) < len(c.Labels) {
			first = c.Labels[int(p[0])]
		} else if c.Kind == Percentiles {
			first = fmt.Sprintf("%.6g %%", p[0])
		}
		cells := []string{first}
		for _, s := range c.Series {
			cells = append(cells, s.at(p[0]))
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// at returns the value over a place on the axis, "" if there is none.
func (s *Series) at(x float64) string {
	for _, p := range s.Points {
		if p[0] == x {
			return Number(p[1])
		}
	}
	return ""
}
