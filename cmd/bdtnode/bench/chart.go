package bench

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// Size of a chart in pixels, and of its margins.
const (
	chartWidth   = 760
	chartHeight  = 380
	marginLeft   = 70
	marginRight  = 20
	marginTop    = 20
	marginBottom = 50
)

// colours are those of the curves, distinguishable also without colour vision (Okabe and Ito, 2008).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"}

// curve is a line through points of a chart.
type curve struct {
	name   string
	dashed bool
	colour int
	points []point
}

// point is a point of a curve.
type point struct {
	x, y  float64
	title string // shown at the point
}

// axis maps values to pixels.
type axis struct {
	low, high  float64
	log        bool
	begin, end float64 // pixels
}

// at is the position of a value.
func (a *axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(max(v, a.low))
	}
	return a.begin + (v-low)/(high-low)*(a.end-a.begin)
}

// linear is an axis from 0 to the next round number above the greatest value.
func linear(most, begin, end float64) *axis {
	step := roundStep(most)
	return &axis{low: 0, high: max(step, math.Ceil(most/step)*step), begin: begin, end: end}
}

// logarithmic is an axis from a power of ten to another one around the values.
func logarithmic(least, most, begin, end float64) *axis {
	low, high := math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most)))
	if low == high {
		high = 10 * low
	}
	return &axis{low: low, high: high, log: true, begin: begin, end: end}
}

// roundStep is a distance of ticks: 1, 2 or 5 times a power of ten, with about six ticks up to most.
func roundStep(most float64) float64 {
	if most <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, by := range []float64{1, 2, 5, 10} {
		if most/(step*by) <= 6 {
			return step * by
		}
	}
	return 10 * step
}

// ticks are the marked values.
func (a *axis) marks() (out []float64) {
	if a.log {
		for v := a.low; v <= a.high*1.001; v *= 10 {
			out = append(out, v)
			if a.high/a.low <= 100 && v < a.high {
				out = append(out, 2*v, 5*v)
			}
		}
		return out
	}
	step := roundStep(a.high)
	for v := 0.0; v <= a.high*1.001; v += step {
		out = append(out, v)
	}
	return out
}

func number(v float64) string {
	switch {
	case v == 0 || v >= 1000:
		text := fmt.Sprintf("%.0f", v)
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// chart draws curves as SVG. The y axis is logarithmic if logY is set, for positive values.
func chart(curves []curve, xName, yName string, logY bool) template.HTML {
	var xs, ys []float64
	for _, c := range curves {
		for _, p := range c.points {
			xs, ys = append(xs, p.x), append(ys, p.y)
		}
	}
	if len(xs) == 0 || logY && slices.Min(ys) <= 0 {
		return ""
	}
	x := linear(slices.Max(xs), marginLeft, chartWidth-marginRight)
	y := linear(slices.Max(ys), chartHeight-marginBottom, marginTop)
	if logY {
		y = logarithmic(slices.Min(ys), slices.Max(ys), chartHeight-marginBottom, marginTop)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="sans-serif" font-size="12">`,
		chartWidth, chartHeight, chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`, chartWidth, chartHeight)
	for _, v := range x.marks() {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#dddddd"/>`, x.at(v), marginTop, x.at(v), chartHeight-marginBottom)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#333333">%s</text>`, x.at(v), chartHeight-marginBottom+18, number(v))
	}
	for _, v := range y.marks() {
		fmt.Fprintf(&b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#dddddd"/>`, marginLeft, y.at(v), chartWidth-marginRight, y.at(v))
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end" fill="#333333">%s</text>`, marginLeft-8, y.at(v)+4, number(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#333333">%s</text>`, (marginLeft+chartWidth-marginRight)/2, chartHeight-10, template.HTMLEscapeString(xName))
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle" fill="#333333">%s</text>`, (marginTop+chartHeight-marginBottom)/2, template.HTMLEscapeString(yName))
	for _, c := range curves {
		draw(&b, &c, x, y)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // all text in it is escaped above
}

func draw(b *strings.Builder, c *curve, x, y *axis) {
	colour, dash := colours[c.colour%len(colours)], ""
	if c.dashed {
		dash = ` stroke-dasharray="6 4"`
	}
	var path []string
	for _, p := range c.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(p.x), y.at(p.y)))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`, strings.Join(path, " "), colour, dash)
	for _, p := range c.points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>%s</title></circle>`, x.at(p.x), y.at(p.y), colour, template.HTMLEscapeString(p.title))
	}
}
