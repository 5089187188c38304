package bench

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/load"
	"bdtnode/internal/wan"
)

// result is a plausible result with runs of these rates.
func result(rates ...float64) Result {
	r := Result{
		Format: Format, Command: "bdtnode bench run", Shards: 1, Nodes: 4, Machine: Machine{OS: "linux", CPUs: 2},
		Parameters: Parameters{Ledger: "payments", Rate: 1000, ForSeconds: 10, Consensus: "bdt"}, Version: Version{Revision: "0123456789abcdef"},
	}
	for i, tps := range rates {
		run := Run{Outcome: OutcomeOf(&load.Result{Submitted: 100, Settled: 100, TPS: tps, Latency: load.Percentiles{P50: 1e5 / tps, P95: 2e5 / tps, P99: 3e5 / tps}})}
		run.Seed, run.Offered, run.Seconds, run.CPU.Replicas = uint64(i+1), 1000, 10, 0.1
		r.Runs = append(r.Runs, run)
	}
	r.Finish()
	return r
}

// TestCompare: the ratios of pairs are right where a common factor of both runs would hide them, and their interval has
// the known width.
func TestCompare(t *testing.T) {
	a, b := result(100, 400, 200), result(110, 440, 220)
	c, err := Compare([]Result{a}, []Result{b}, nil)
	if err != nil || c.Pairs != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	m := c.Metrics[0]
	if m.Metric != "tps" || math.Abs(m.Ratio-1.1) > 1e-9 || math.Abs(m.Low-1.1) > 1e-9 || !m.Clear || math.Abs(m.A-200) > 1e-9 {
		t.Errorf("%+v", m)
	}
	// ln ratios of 0, 0.1 and 0.2: mean 0.1, standard error 0.1/√3, t 4.303.
	b = result(100, 400*math.Exp(0.1), 200*math.Exp(0.2))
	if c, err = Compare([]Result{a}, []Result{b}, nil); err != nil {
		t.Fatal(err)
	}
	m, half := c.Metrics[0], 4.303*0.1/math.Sqrt(3)
	if math.Abs(math.Log(m.Low)-(0.1-half)) > 1e-9 || math.Abs(math.Log(m.High)-(0.1+half)) > 1e-9 || m.Clear {
		t.Errorf("%+v, want an interval of ±%v around 0.1", m, half)
	}
	for _, m := range c.Metrics {
		if m.Metric == "cross_latency_ms.p50" {
			t.Error("a metric that is 0 is compared")
		}
	}
	// Runs may be spread over several results.
	one := []Result{result(100), result(400), result(200)}
	for i := range one {
		one[i].Runs[0].Seed = uint64(i + 1)
	}
	if c, err = Compare(one, []Result{b}, nil); err != nil || c.Pairs != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestCompareRefuses: runs that cannot be compared are refused, and the error says why.
func TestCompareRefuses(t *testing.T) {
	for want, change := range map[string]func(r *Result){
		"A and B differ in machine":                     func(r *Result) { r.Machine.CPUs = 8 },
		"A and B differ in build":                       func(r *Result) { r.Build = map[string]string{"-race": "true"} },
		"A and B differ in nodes":                       func(r *Result) { r.Nodes = 7 },
		"A and B differ in shards":                      func(r *Result) { r.Shards = 2 },
		"A and B differ in rate":                        func(r *Result) { r.Parameters.Rate = 2000 },
		"A and B differ in consensus":                   func(r *Result) { r.Parameters.Consensus = "dumbo" },
		"A and B differ in replica_procs":               func(r *Result) { r.Parameters.ReplicaProcs = 1 },
		"A and B differ in gogc":                        func(r *Result) { r.Parameters.GOGC = "50" },
		"A and B differ in wan":                         func(r *Result) { r.WAN = &WAN{Matrix: *wan.AWS8()} },
		"A has 3 runs and B has 2":                      func(r *Result) { r.Runs = r.Runs[:2] },
		"run 2 of B: it is partial":                     func(r *Result) { r.Runs[1].Partial = true },
		"run 3 of B: other programs used 9.0 %":         func(r *Result) { r.Runs[2].CPU.Other = 0.09 },
		"run 1 of B: NOTHING SETTLED":                   func(r *Result) { r.Runs[0].Settled = 0 },
		"run 1 of B: 5 of 100 transfers have no answer": func(r *Result) { r.Runs[0].Pending = 5 },
		"run 1 has seed 1 in A and 9 in B":              func(r *Result) { r.Runs[0].Seed = 9 },
	} {
		a, b := result(100, 200, 300), result(100, 200, 300)
		change(&b)
		if _, err := Compare([]Result{a}, []Result{b}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a, b := result(100, 200), result(100, 200)
	if _, err := Compare([]Result{a}, []Result{b}, nil); err == nil || !strings.Contains(err.Error(), "at least 3") {
		t.Errorf("two pairs: %v", err)
	}
	a, b = result(100, 200, 300), result(100, 200, 300)
	a2 := result(100)
	a2.Nodes = 7
	if _, err := Compare([]Result{a, a2}, []Result{b}, nil); err == nil || !strings.Contains(err.Error(), "differ from each other in [nodes]") {
		t.Errorf("results of one series that differ: %v", err)
	}
	b.Nodes, b.Version.Revision, b.Parameters.Repeat, b.Build = 7, "other", 9, map[string]string{"vcs.revision": "other"}
	c, err := Compare([]Result{a}, []Result{b}, []string{"nodes"})
	if err != nil || len(c.Differ) != 1 || c.Differ[0] != "nodes" {
		t.Errorf("a permitted difference: %+v, %v", c, err)
	}
}

func TestStudent(t *testing.T) {
	for freedom, want := range map[int]float64{1: 12.706, 2: 4.303, 10: 2.228, 30: 2.042, 60: 2.000, 120: 1.980, 100_000: 1.960} {
		if got := student(freedom); math.Abs(got-want) > 0.002 {
			t.Errorf("%d degrees of freedom: %v, want %v", freedom, got, want)
		}
	}
}

// TestMedianRun: the own fields of a result are those of the run with the median rate, and a partial run makes it partial.
func TestMedianRun(t *testing.T) {
	r := result(300, 100, 200)
	if r.TPS != 200 || r.Seed != 3 || r.Partial || r.Problem() != nil {
		t.Errorf("%+v, %v", r.Run, r.Problem())
	}
	if r = result(100, 400); r.TPS != 100 {
		t.Errorf("of two runs the one with %v is the median", r.TPS)
	}
	r.Runs[1].Partial = true
	if r.Finish(); !r.Partial {
		t.Error("a partial run is lost")
	}
	none := Result{Build: map[string]string{}}
	if none.Finish(); !none.Partial || none.Problem() == nil {
		t.Error("a result without a run is complete")
	}
	raw, err := json.Marshal(none)
	if err != nil || strings.Contains(string(raw), "null") {
		t.Errorf("%s, %v", raw, err)
	}
}

// TestNothingSettledIsLoud: a run without a settled transfer is a failure, in a sweep too.
func TestNothingSettledIsLoud(t *testing.T) {
	r := result(100)
	r.Runs[0].Settled, r.Runs[0].Pending = 0, 100
	for _, err := range []error{r.Problem(), r.Failure()} {
		if err == nil || !strings.Contains(err.Error(), "NOTHING SETTLED") {
			t.Errorf("%v", err)
		}
	}
	r = result(100)
	r.Runs[0].Pending = 1
	if r.Problem() == nil || r.Failure() != nil || !r.Runs[0].Saturated() {
		t.Error("an open transfer is a problem of a measurement, and saturation in a sweep")
	}
	if r = result(949); !r.Runs[0].Saturated() {
		t.Error("94.9 % of the offered rate is no saturation")
	}
	if r = result(951); r.Runs[0].Saturated() {
		t.Error("95.1 % of the offered rate is saturation")
	}
}

// TestReadResults: results follow one another, and come back as they were written; others are refused.
func TestReadResults(t *testing.T) {
	var b bytes.Buffer
	want := []Result{result(100, 200), result(300)}
	want[1].WAN = &WAN{Spec: "aws8", Matrix: *wan.AWS8(), Replicas: []WANReplica{}}
	for _, r := range want {
		if err := json.NewEncoder(&b).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadResults(&b)
	if err != nil || len(got) != 2 || got[0].TPS != 100 || got[0].Runs[1].TPS != 200 || got[1].WAN.Regions[4] != "Tokyo" {
		t.Fatalf("%+v, %v", got, err)
	}
	if other := differences(&want[0], &got[0]); len(other) > 0 {
		t.Errorf("differences %v", other)
	}
	for text, want := range map[string]string{
		"":                          "no result",
		"x":                         "result 1",
		`{"format": 2}`:             "has format 2",
		`{"format": 1, "runs": []}`: "no runs",
	} {
		if _, err := ReadResults(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestTable: the table has a line for each run, with as many columns as names.
func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := WriteCSV(&b, []Result{result(100, 200), result(300)}); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll() // it checks that all lines have the same number of fields
	if err != nil || len(lines) != 4 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for i, name := range lines[0] {
		if name == "tps" && (lines[1][i] != "100" || lines[2][i] != "200" || lines[3][i] != "300") {
			t.Errorf("rates %v %v %v", lines[1][i], lines[2][i], lines[3][i])
		}
	}
}

// TestPage: the page names no other file, has a chart of each sweep with all its points, and escapes texts.
func TestPage(t *testing.T) {
	var all []Result
	for _, rate := range []float64{500, 1000, 2000} {
		r := result(rate)
		r.Parameters.Rate, r.Swept = rate, &Swept{"rate", rate}
		all = append(all, r)
		r = result(rate * 2)
		r.Nodes, r.Parameters.Rate, r.Swept = 7, rate, &Swept{"rate", rate}
		all = append(all, r)
		r = result(rate / 3)
		r.Swept, r.Nodes = &Swept{"nodes", rate / 100}, int(rate/100)
		all = append(all, r)
	}
	all[0].Command = "bdtnode <b>"
	all[1].Runs[0].Settled = 0
	all[1].Finish()
	all[2].WAN = &WAN{Spec: "aws8", Matrix: *wan.AWS8(), Replicas: []WANReplica{{Region: "Tokyo", LeastMS: 100}}}
	var b bytes.Buffer
	if err := WritePage(&b, all); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"bdtnode &lt;b&gt;", "NOTHING SETTLED", "Tokyo", "Throughput by nodes", "Latency and throughput", "background:#0072b2", "7 replicas, "} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, foreign := range []string{"src=", "href=", "url(", "<script", "ZgotmplZ"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
	if n := strings.Count(page, "<circle"); n < 6*2 {
		t.Errorf("%d points", n)
	}
	if err := WritePage(&b, nil); err != nil {
		t.Error(err)
	}
}

// TestAxes: marks are round numbers inside the axis, and positions grow with the values.
func TestAxes(t *testing.T) {
	for most, want := range map[float64]int{1: 6, 7: 5, 9_999: 6, 24_000: 6, 0: 6} {
		a := linear(most, 0, 100)
		if n := len(a.marks()); n != want || a.high < most {
			t.Errorf("up to %v: %d marks %v, want %d", most, n, a.marks(), want)
		}
	}
	a := logarithmic(3, 450, 200, 0)
	if a.low != 1 || a.high != 1000 || a.at(1) != 200 || a.at(1000) != 0 || math.Abs(a.at(10)-200*2/3.0) > 1e-9 {
		t.Errorf("%+v", a)
	}
	if number(12_345_678) != "12,345,678" || number(1000) != "1,000" || number(0.0123) != "0.0123" || number(250.4) != "250" {
		t.Error(number(12_345_678), number(1000), number(0.0123), number(250.4))
	}
}

// TestMetrics: the families of a replica are summed over their labels, and other text is refused.
func TestMetrics(t *testing.T) {
	const text = "# HELP x y\nprocess_cpu_seconds_total 1.5\nbdtnode_sent_bytes_total{class=\"bulk\"} 1e3\nbdtnode_sent_bytes_total{class=\"control\"} 24\n" +
		"bdtnode_gossip_published_bytes_total 6\nbdtnode_disk_syncs_total{store=\"a\"} 2\nbdtnode_disk_syncs_total{store=\"b\"} 3\nother{a=\"b c\"} 7\n"
	u, err := readMetrics(strings.NewReader(text))
	if err != nil || *u != (usage{cpuSeconds: 1.5, sent: 1030, syncs: 5}) {
		t.Errorf("%+v, %v", u, err)
	}
	for _, text := range []string{"", "# only comments\n", "x y\n"} {
		if _, err := readMetrics(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// TestScrapeOfABrokenBody: the error of a body that breaks off is that of the connection.
func TestScrapeOfABrokenBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "process_cpu_seconds_total 1\nbdtnode_")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	if _, err := scrape(t.Context(), server.URL); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// TestMeter: a run has the differences between the two readings of each replica. A replica without metrics is named with
// the reason.
func TestMeter(t *testing.T) {
	cpu := "1"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("process_cpu_seconds_total " + cpu + "\nbdtnode_sent_bytes_total{class=\"bulk\"} " + cpu + "000\n"))
	}))
	defer s.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	m := NewMeter([]Target{
		{URL: func() string { return s.URL }, PID: os.Getpid()},
		{Replica: 1, URL: func() string { return gone.URL }, PID: os.Getpid()},
	})
	m.Mark(true)
	cpu = "3"
	for begun := time.Now(); time.Since(begun) < 30*time.Millisecond; { // time of this process
	}
	m.Mark(false)
	r := m.RunOf(&load.Result{Submitted: 150, Unsent: 50, Settled: 150, Within: 100, WithinBytes: 500, Measured: 2 * time.Second}, 7)
	if r.Offered != 100 || r.Sent != 75 || r.Seconds != 2 || r.Seed != 7 || r.NodeCPUSeconds != 2 || r.CPU.Replicas != 20 || r.CPU.Load <= 0 {
		t.Errorf("%+v", r)
	}
	if r.Wire.SentBytes != 2000 || r.Wire.PerByte != 4 || len(r.Replicas) != 2 || r.Replicas[0].CPUPer1000 != 20 || !strings.Contains(r.Replicas[1].Missing, "404") {
		t.Errorf("%+v %+v", r.Wire, r.Replicas)
	}
	m = NewMeter([]Target{{URL: func() string { return s.URL }}}) // of another machine, as far as this program knows
	if r := m.RunOf(&load.Result{}, 1); r.CPU.Why == "" {
		t.Error("a measured time that never began has figures")
	}
	m.Mark(true)
	m.Mark(false)
	if r := m.RunOf(&load.Result{}, 1); !strings.Contains(r.CPU.Why, "other machines") || r.CPU.Replicas != 0 {
		t.Errorf("%+v", r.CPU)
	}
}

// TestMachineCPU: all fields but idle and iowait count as used.
func TestMachineCPU(t *testing.T) {
	busy, all, err := parseStat("cpu  100 200 300 4000 500 60 70 80 9 10\ncpu0 1 2\n")
	if err != nil || busy != 8.1 || all != 53.1 {
		t.Errorf("%v of %v, %v", busy, all, err)
	}
	for _, text := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h"} {
		if _, _, err := parseStat(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
