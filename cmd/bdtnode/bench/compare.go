package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Bounds of a comparison.
const (
	fewestPairs = 3    // below it, the scatter of the pairs is not known
	mostForeign = 0.08 // share of the machine that other programs may use
)

// Comparison is the comparison of two series of runs, A and B.
type Comparison struct {
	Pairs   int      `json:"pairs"`
	Differ  []string `json:"differ"`  // parameters that differ and were permitted to
	Metrics []Ratio  `json:"metrics"` // of B to A
}

// Ratio is the ratio of a metric of B to that of A.
type Ratio struct {
	Metric string  `json:"metric"`
	A      float64 `json:"a"`     // geometric mean
	B      float64 `json:"b"`     // likewise
	Ratio  float64 `json:"ratio"` // geometric mean of the ratios of the pairs
	Low    float64 `json:"low"`   // the interval that has the ratio with a confidence of 95 %
	High   float64 `json:"high"`
	Clear  bool    `json:"clear"` // 1 is outside the interval
}

// metrics are the compared metrics. A metric that is 0 in a run is left out.
var metrics = []struct {
	name string
	of   func(r *Run) float64
}{
	{"tps", func(r *Run) float64 { return r.TPS }},
	{"latency_ms.p50", func(r *Run) float64 { return r.Latency.P50 }},
	{"latency_ms.p95", func(r *Run) float64 { return r.Latency.P95 }},
	{"latency_ms.p99", func(r *Run) float64 { return r.Latency.P99 }},
	{"cross_latency_ms.p50", func(r *Run) float64 { return r.CrossLatency.P50 }},
	{"cpu.replicas_per_1000", func(r *Run) float64 { return r.CPU.Replicas }},
	{"syncs_per_tx", func(r *Run) float64 { return r.SyncsPerTx }},
	{"wire.per_payload_byte", func(r *Run) float64 { return r.Wire.PerByte }},
}

// Compare compares the runs of two series in pairs: the first of A with the first of B, and so on. They should have been
// measured in turn, so that a change of the machine's load meets both. It returns an error with the reason if they cannot
// be compared. Parameters named in vary may differ.
func Compare(a, b []Result, vary []string) (*Comparison, error) {
	differ, err := permitted(a, b, vary)
	if err != nil {
		return nil, err
	}
	ra, rb := runsOf(a), runsOf(b)
	c := &Comparison{Pairs: len(ra), Differ: differ}
	for _, m := range metrics {
		va, vb := valuesOf(ra, m.of), valuesOf(rb, m.of)
		if slices.Contains(va, 0) || slices.Contains(vb, 0) {
			continue
		}
		c.Metrics = append(c.Metrics, ratioOf(m.name, va, vb))
	}
	return c, nil
}

// permitted returns the permitted differences between two series, or the reason why they cannot be compared.
func permitted(a, b []Result, vary []string) ([]string, error) {
	var allowed []string
	for name, series := range map[string][]Result{"A": a, "B": b} {
		for i := range series {
			if other := differences(&series[0], &series[i]); len(other) > 0 {
				return nil, fmt.Errorf("the results of %s differ from each other in %v", name, other)
			}
		}
	}
	for _, key := range differences(&a[0], &b[0]) {
		if !slices.Contains(vary, key) {
			return nil, fmt.Errorf("series A and B differ in %s: measure both with the same, or permit it with --vary %s", key, key)
		}
		allowed = append(allowed, key)
	}
	ra, rb := runsOf(a), runsOf(b)
	if len(ra) != len(rb) {
		return nil, fmt.Errorf("series A has %d runs and B has %d: pairs need the same number", len(ra), len(rb))
	}
	if len(ra) < fewestPairs {
		return nil, fmt.Errorf("%d pairs of runs: an interval needs at least %d, see bench run --repeat", len(ra), fewestPairs)
	}
	for i := range ra {
		for name, r := range map[string]*Run{"A": &ra[i], "B": &rb[i]} {
			if err := r.countable(); err != nil {
				return nil, fmt.Errorf("run %d of %s: %w", i+1, name, err)
			}
		}
		if ra[i].Seed != rb[i].Seed {
			return nil, fmt.Errorf("run %d has seed %d in A and %d in B", i+1, ra[i].Seed, rb[i].Seed)
		}
	}
	return allowed, nil
}

// countable returns the reason for which a run does not count in a comparison.
func (r *Run) countable() error {
	if r.Partial {
		return errors.New("it is partial")
	}
	if r.CPU.Other > mostForeign {
		return fmt.Errorf("other programs used %.1f %% of the machine, at most %.0f %% are permitted", 100*r.CPU.Other, 100*mostForeign)
	}
	return r.problem()
}

// differences lists the settings in which two results differ, other than the version of the program and the time.
func differences(a, b *Result) []string {
	var out []string
	if a.Machine != b.Machine {
		out = append(out, "machine")
	}
	if !maps.Equal(built(a), built(b)) {
		out = append(out, "build")
	}
	if a.Shards != b.Shards {
		out = append(out, "shards")
	}
	if a.Nodes != b.Nodes {
		out = append(out, "nodes")
	}
	if (a.WAN == nil) != (b.WAN == nil) || a.WAN != nil && !reflect.DeepEqual(a.WAN.Matrix, b.WAN.Matrix) {
		out = append(out, "wan")
	}
	x, y := fields(a.Parameters), fields(b.Parameters)
	for _, key := range slices.Sorted(maps.Keys(x)) {
		if x[key] != y[key] {
			out = append(out, key)
		}
	}
	return out
}

// built are the settings of the compiler, without those that name a version of the source.
func built(r *Result) map[string]string {
	out := maps.Clone(r.Build)
	maps.DeleteFunc(out, func(key, _ string) bool { return strings.HasPrefix(key, "vcs") })
	return out
}

// fields are the values of the parameters by their names. The number of runs and their first seed are compared by runs.
func fields(p Parameters) map[string]any {
	raw, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("bench: encode parameters: %v", err)) // they are plain values
	}
	out := make(map[string]any)
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(fmt.Sprintf("bench: decode parameters: %v", err))
	}
	out["gogc"] = p.GOGC // also if it is left out
	delete(out, "repeat")
	delete(out, "seed")
	return out
}

func runsOf(series []Result) (out []Run) {
	for i := range series {
		out = append(out, series[i].Runs...)
	}
	return out
}

func valuesOf(runs []Run, of func(*Run) float64) []float64 {
	out := make([]float64, len(runs))
	for i := range runs {
		out[i] = of(&runs[i])
	}
	return out
}

// ratioOf compares positive values in pairs. The logarithms of the ratios are taken as a sample of a normal
// distribution.
func ratioOf(metric string, a, b []float64) Ratio {
	logs := make([]float64, len(a))
	var sa, sb, mean float64
	n := float64(len(a))
	for i := range a {
		logs[i] = math.Log(b[i] / a[i])
		mean += logs[i] / n
		sa += math.Log(a[i]) / n
		sb += math.Log(b[i]) / n
	}
	var squares float64
	for _, l := range logs {
		squares += (l - mean) * (l - mean)
	}
	half := student(len(a)-1) * math.Sqrt(squares/(n-1)/n)
	r := Ratio{Metric: metric, A: math.Exp(sa), B: math.Exp(sb), Ratio: math.Exp(mean), Low: math.Exp(mean - half), High: math.Exp(mean + half)}
	r.Clear = r.Low > 1 || r.High < 1
	return r
}

// student is the quantile 0.975 of Student's t distribution with that many degrees of freedom, 1 or more: half of the
// width of an interval with a confidence of 95 %, in standard errors.
func student(freedom int) float64 {
	table := []float64{
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
		2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
		2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
	}
	if freedom <= len(table) {
		return table[freedom-1]
	}
	return 1.96 + 2.5/float64(freedom) // within 0.002 of the quantile
}
