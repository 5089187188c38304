package bench

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

// series are results that differ in one parameter only.
type series struct {
	name    string
	over    string // parameter: rate, or that of a sweep
	results []*Result
}

// grouped sorts results into series, with names made of the settings in which the series differ.
func grouped(results []Result) []series {
	var keys []string
	by := make(map[string]*series)
	for i := range results {
		r := &results[i]
		over := "rate"
		if r.Swept != nil {
			over = r.Swept.Over
		}
		name := settings(r, over)
		key := over + "\x00" + strings.Join(name, "\x00")
		if by[key] == nil {
			by[key] = &series{over: over}
			keys = append(keys, key)
		}
		by[key].results = append(by[key].results, r)
	}
	var out []series
	for _, key := range keys {
		s := by[key]
		s.name = strings.Join(distinct(key, keys), ", ")
		slices.SortStableFunc(s.results, func(a, b *Result) int {
			return cmp.Compare(order(a), order(b))
		})
		out = append(out, *s)
	}
	return out
}

// order is the place of a result in its series.
func order(r *Result) float64 {
	if r.Swept != nil {
		return r.Swept.Value
	}
	return r.Parameters.Rate + float64(r.Parameters.Closed)
}

// value is the value of the parameter over which the series goes.
func (s *series) value(r *Result) float64 {
	if r.Swept != nil {
		return r.Swept.Value
	}
	return r.TPS
}

// settings describe a result without the parameter over which it goes.
func settings(r *Result, over string) []string {
	spec := "no delays"
	if r.WAN != nil {
		spec = r.WAN.Spec
	}
	p := &r.Parameters
	text := func(name, format string, value any) string {
		if name == over {
			return "any " + name
		}
		return fmt.Sprintf(format, value)
	}
	mode := "open loop"
	if p.Closed > 0 {
		mode = "closed loop"
	}
	return []string{
		text("nodes", "%d replicas", r.Nodes), text("shards", "%d shards", r.Shards), p.Consensus, "signatures " + p.Signatures, p.Ledger, text("size", "%d bytes", p.Size),
		text("cross", "%g across", p.Cross), text("gap", "gap of %d ms", p.GapMS), spec, mode, fmt.Sprintf("%d inputs, %d outputs", p.Inputs, p.Outputs), "revision " + short(r.Version.Revision), r.Machine.CPU,
	}
}

func short(revision string) string { return revision[:min(len(revision), 10)] }

// distinct lists the settings of a key that differ between keys. If none differs, it lists the first.
func distinct(key string, keys []string) []string {
	own := strings.Split(key, "\x00")[1:]
	var out []string
	for i, text := range own {
		if slices.ContainsFunc(keys, func(k string) bool { return strings.Split(k, "\x00")[1:][i] != text }) {
			out = append(out, text)
		}
	}
	if len(out) == 0 {
		out = own[:1]
	}
	return out
}

// drawing is a chart of the page.
type drawing struct {
	Title string
	SVG   template.HTML
	Key   []keyEntry
}

type keyEntry struct {
	Colour template.CSS
	Text   string
}

// drawings draws the series: latency by throughput for rates, and throughput and latency by the parameter for others.
func drawings(all []series) []drawing {
	var out []drawing
	byOver := make(map[string][]series)
	var overs []string
	for _, s := range all {
		if byOver[s.over] == nil {
			overs = append(overs, s.over)
		}
		byOver[s.over] = append(byOver[s.over], s)
	}
	for _, over := range overs {
		list := byOver[over]
		if over == "rate" {
			out = append(out, drawing{"Latency and throughput: p50 (solid) and p95 (dashed)", chart(latencyCurves(list, func(_ *series, r *Result) float64 { return r.TPS }), "settled a second", "milliseconds", true), keyOf(list)})
			continue
		}
		byValue := func(s *series, r *Result) float64 { return s.value(r) }
		out = append(out,
			drawing{"Throughput by " + over, chart(curves(list, byValue, func(r *Run) float64 { return r.TPS }, false), over, "settled a second", false), keyOf(list)},
			drawing{"Latency by " + over + ": p50 (solid) and p95 (dashed)", chart(latencyCurves(list, byValue), over, "milliseconds", true), keyOf(list)})
	}
	return slices.DeleteFunc(out, func(d drawing) bool { return d.SVG == "" })
}

func keyOf(list []series) (out []keyEntry) {
	for i, s := range list {
		out = append(out, keyEntry{template.CSS(colours[i%len(colours)]), s.name})
	}
	return out
}

func latencyCurves(list []series, x func(*series, *Result) float64) []curve {
	return append(curves(list, x, func(r *Run) float64 { return r.Latency.P50 }, false), curves(list, x, func(r *Run) float64 { return r.Latency.P95 }, true)...)
}

// curves are the curves of a metric. Results in which it is 0 are left out.
func curves(list []series, x func(*series, *Result) float64, y func(*Run) float64, dashed bool) (out []curve) {
	for i := range list {
		c := curve{name: list[i].name, dashed: dashed, colour: i}
		for _, r := range list[i].results {
			if v := y(&r.Run); v > 0 {
				title := fmt.Sprintf("%s: %s a second, p50 %s ms, p95 %s ms", list[i].name, number(r.TPS), number(r.Latency.P50), number(r.Latency.P95))
				c.points = append(c.points, point{x(&list[i], r), v, title})
			}
		}
		if len(c.points) > 0 {
			out = append(out, c)
		}
	}
	return out
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"number": number, "short": short, "percent": func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) },
	"problem": func(r *Result) string {
		if err := r.Problem(); err != nil {
			return err.Error()
		}
		return ""
	},
}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>bdtnode bench</title>
<style>
body { font: 15px/1.45 sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .25em .6em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } .bad { color: #b00020 } .key span { display: inline-block; width: 1.2em; height: .7em; margin-right: .3em }
.key li { list-style: none } .key { padding: 0 } code { background: #f4f4f4; padding: .1em .3em; overflow-wrap: anywhere } .scroll { overflow-x: auto }
</style></head><body>
<h1>bdtnode bench</h1>
{{range .Drawings}}<h2>{{.Title}}</h2>
{{.SVG}}
<ul class="key">{{range .Key}}<li><span style="background:{{.Colour}}"></span>{{.Text}}</li>{{end}}</ul>
{{end}}<h2>Results</h2>
<p>Each line is the run with the median rate of its measurement. CPU is in seconds for 1,000 transfers.</p>
<div class="scroll"><table><tr><th>settings</th><th>runs</th><th>offered/s</th><th>settled/s</th><th>p50 ms</th><th>p95 ms</th><th>p99 ms</th><th>across p50 ms</th><th>replicas' CPU</th><th>load's CPU</th><th>other CPU</th><th>syncs</th><th>wire bytes</th></tr>
{{range .Series}}{{$name := .Name}}{{range .Results}}<tr{{if problem .}} class="bad"{{end}}><td>{{$name}}{{with .Swept}}, {{.Over}} {{number .Value}}{{end}}{{if .Partial}}, partial{{end}}</td><td>{{len .Runs}}</td><td>{{number .Offered}}</td><td>{{number .TPS}}</td><td>{{number .Latency.P50}}</td><td>{{number .Latency.P95}}</td><td>{{number .Latency.P99}}</td><td>{{number .CrossLatency.P50}}</td><td>{{number .CPU.Replicas}}</td><td>{{number .CPU.Load}}</td><td>{{if .CPU.Why}}unknown{{else}}{{percent .CPU.Other}}{{end}}</td><td>{{number .SyncsPerTx}}</td><td>{{number .Wire.PerByte}}</td></tr>
{{with problem .}}<tr class="bad"><td colspan="13">{{.}}</td></tr>
{{end}}{{end}}{{end}}</table></div>
{{with .Delays}}<h2>Delays between replicas</h2>
{{range .}}<p>{{.WAN.Spec}}, {{.Nodes}} replicas; measured round trips differ by at most {{percent .WAN.OffBy}}.</p>
<table><tr><th>replica</th><th>region</th><th>leads</th><th>least ms</th><th>p50 ms</th></tr>
{{range .WAN.Replicas}}<tr><td>{{.Shard}}/{{.Replica}}</td><td>{{.Region}}</td><td>{{if .Leads}}yes{{end}}</td><td>{{number .LeastMS}}</td><td>{{number .P50MS}}</td></tr>
{{end}}</table>
{{end}}{{end}}<h2>To repeat</h2>
<ul>{{range .All}}<li><code>{{.Command}}</code><br>{{.Time}}, revision {{short .Version.Revision}}{{if .Version.Modified}} with changes{{end}}, {{.Version.Go}}, {{.Machine.CPUs}} × {{.Machine.CPU}}</li>
{{end}}</ul>
</body></html>
`))

// WritePage writes a page in HTML with the charts and a table of the results. It needs no other file and no network.
func WritePage(to io.Writer, results []Result) error {
	type shown struct {
		Name    string
		Results []*Result
	}
	all := grouped(results)
	content := struct {
		Drawings []drawing
		Series   []shown
		Delays   []*Result
		All      []*Result
	}{Drawings: drawings(all)}
	for _, s := range all {
		content.Series = append(content.Series, shown{s.name, s.results})
		for _, r := range s.results {
			content.All = append(content.All, r)
			if r.WAN != nil {
				content.Delays = append(content.Delays, r)
			}
		}
	}
	if err := page.Execute(to, content); err != nil {
		return fmt.Errorf("write a page: %w", err)
	}
	return nil
}
