package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/bench"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/output"
)

// writeBenchResults writes the files of results that commands in documents read.
func writeBenchResults(t *testing.T) {
	t.Helper()
	for file, consensus := range map[string]string{"A.json": "bdt", "B.json": "bdt", "bdt.json": "bdt", "dumbo.json": "dumbo", "rates.json": "bdt", "nodes.json": "bdt"} {
		var f benchFlags
		r := f.newResult()
		r.Shards, r.Nodes, r.Parameters.Consensus = 1, 4, consensus
		for i := range 3 {
			o := bench.OutcomeOf(&load.Result{Submitted: 10, Settled: 10, TPS: float64(100 + i), Latency: load.Percentiles{P50: 5, P95: 9, P99: 10}})
			r.Runs = append(r.Runs, bench.Run{Outcome: o, Seed: uint64(i + 1), Offered: 100, Seconds: 10})
		}
		r.Finish()
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRealBench: a measurement of a network of its own has figures for every process, and its command repeats it. A
// measurement of a running network does not claim to know the machine.
func TestRealBench(t *testing.T) {
	if apart(t) {
		return
	}
	own := bdtnode(t, "bench", "run", "--shards", "2", "--cross", "0.3", "--rate", "60", "--warmup", "500ms", "--for", "2s", "--repeat", "2", "--observed", "20", "-o", "json")
	var r bench.Result
	own.json(t, &r)
	if own.code != 0 || len(r.Runs) != 2 || r.Partial || r.Runs[0].Seed != 1 || r.Runs[1].Seed != 2 {
		t.Fatalf("exit %d %+v %s", own.code, r, own.err)
	}
	for _, run := range r.Runs {
		if run.Submitted != 120 || run.Settled != 120 || run.Accepted != 120 || run.CrossSettled == 0 || run.Offered != 60 || run.TPS <= 0 || run.Seconds != 2 {
			t.Errorf("%+v", run.Outcome)
		}
		if run.CPU.Replicas <= 0 || run.CPU.Load <= 0 || run.Wire.PerByte <= 1 || run.SyncsPerTx <= 0 || !*run.HeadersAgree || !*run.ValueConserved {
			t.Errorf("%+v %+v", run.CPU, run.Wire)
		}
		if o := run.Observed; o == nil || o.Followers != 20 || o.Events == 0 || o.Gaps+o.Broken+o.Failed > 0 || o.Scrapes < 8 || o.CPUSeconds <= 0 {
			t.Errorf("observed %+v", o)
		}
		if len(run.Replicas) != 8 {
			t.Errorf("%d replicas", len(run.Replicas))
		}
		for _, x := range run.Replicas {
			if x.Missing != "" || x.CPUPer1000 <= 0 || x.ResidentBytes == 0 || x.Syncs == 0 || x.SentBytes == 0 {
				t.Errorf("%+v", x)
			}
		}
		if k := run.Kinds; len(k) != 3 || k[0].Kind != load.Inside || k[0].Count+k[1].Count != 120 || k[0].Histogram == "" {
			t.Errorf("%+v", k)
		}
	}
	p := r.Parameters
	if r.Shards != 2 || r.Nodes != 4 || p.Rate != 60 || p.Cross != 0.3 || p.WarmupSeconds != 0.5 || p.ForSeconds != 2 || p.Consensus != "bdt" || p.HorizonMS == 0 || p.External || p.Observed != 20 {
		t.Errorf("%+v", p)
	}
	_, command, _ := strings.Cut(r.Command, " bench ")
	c, rest, err := newRoot(&app{}).Find(append([]string{"bench"}, strings.Fields(command)...))
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err != nil || c.Name() != "run" {
		t.Errorf("the command %q cannot be parsed: %v", r.Command, err)
	}

	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home, "--shards", "1")
	n.ready(t)
	var urls []string
	for _, x := range n.intro.Replicas {
		urls = append(urls, x.API)
	}
	args := []string{"bench", "run", "--closed", "5", "--warmup", "300ms", "--for", "2s", "--node", strings.Join(urls, ","), "-o", "json"}
	for _, more := range [][]string{nil, {"--accounts", filepath.Join(home, "load")}} {
		got := bdtnode(t, append(args, more...)...)
		r = bench.Result{}
		got.json(t, &r)
		if got.code != 0 || r.Settled == 0 || !r.Parameters.External || r.Parameters.Closed != 5 || r.HeadersAgree != nil || r.CPU.Why == "" || r.CPU.Replicas <= 0 {
			t.Errorf("exit %d %+v %s", got.code, r, got.err)
		}
	}
	if got := bdtnode(t, append(args, "--accounts", t.TempDir())...); got.code == 0 {
		t.Error("a measurement without accounts succeeded")
	}
	n.stop(t)
}

// TestRealBenchOfALog: payloads of a log of its own network and of a running one are ordered, all with their bytes.
func TestRealBenchOfALog(t *testing.T) {
	if apart(t) {
		return
	}
	var r bench.Result
	args := []string{"bench", "run", "--ledger", "log", "--size", "300", "--warmup", "300ms", "--for", "1s", "-o", "json"}
	own := bdtnode(t, append(args, "--rate", "500")...)
	own.json(t, &r)
	if own.code != 0 || r.Submitted != 500 || r.Settled != 500 || r.Parameters.Size != 300 || r.ValueConserved != nil || !*r.HeadersAgree || r.Wire.PerByte <= 1 {
		t.Errorf("exit %d %+v %s", own.code, r, own.err)
	}
	n := startNet(t, "--shards", "1", "--ledger", "log")
	n.ready(t)
	args = append(args, "--closed", "50", "--node", n.intro.Replicas[0].API)
	r = bench.Result{}
	got := bdtnode(t, args...)
	got.json(t, &r)
	if got.code != 0 || r.Settled == 0 || !r.Parameters.External {
		t.Errorf("exit %d %+v %s", got.code, r, got.err)
	}
	args[slices.Index(args, "log")] = "payments"
	if got := bdtnode(t, slices.DeleteFunc(args, func(s string) bool { return s == "--size" || s == "300" })...); got.code != output.ExitUsage || !strings.Contains(got.err, "--ledger log") {
		t.Errorf("transfers for a log: exit %d %s", got.code, got.err)
	}
	n.stop(t)
}

// TestRealSweep: a sweep prints a result for each value, which the report shows.
func TestRealSweep(t *testing.T) {
	if apart(t) {
		return
	}
	got := bdtnode(t, "bench", "sweep", "--over", "rate", "--values", "20,40", "--warmup", "200ms", "--for", "1s", "-o", "json")
	if got.code != 0 {
		t.Fatalf("exit %d %s", got.code, got.err)
	}
	file, page, table := filepath.Join(t.TempDir(), "rates.json"), filepath.Join(t.TempDir(), "bench.html"), filepath.Join(t.TempDir(), "bench.csv")
	if err := os.WriteFile(file, []byte(got.out), 0o600); err != nil {
		t.Fatal(err)
	}
	results, err := bench.ReadResults(strings.NewReader(got.out))
	if err != nil || len(results) != 2 || results[1].Swept.Value != 40 || results[1].Parameters.Rate != 40 || results[1].Offered != 40 {
		t.Fatalf("%+v, %v", results, err)
	}
	if r := bdtnode(t, "bench", "report", file, "--out", page, "--csv", table); r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.err)
	}
	html, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(html, []byte("<svg")) {
		t.Errorf("%.200s, %v", html, err)
	}
	lines, err := os.ReadFile(table)
	if err != nil || bytes.Count(lines, []byte("\n")) != 3 {
		t.Errorf("%s, %v", lines, err)
	}
}

// TestInterruptedBench: Ctrl-C ends a measurement, and the result covers the time until then and is marked partial.
func TestInterruptedBench(t *testing.T) {
	if apart(t) {
		return
	}
	n := startCommand(t, "bench", "run", "--rate", "20", "--warmup", "0s", "--for", "1h", "-o", "json")
	n.awaitNote(t, "tx/s")
	n.interrupt()
	<-n.done
	var r bench.Result
	if err := json.Unmarshal([]byte(n.out.String()), &r); err != nil {
		t.Fatalf("%v: %s %s", err, n.out.String(), n.err.String())
	}
	if !r.Partial || len(r.Runs) != 1 || r.Settled == 0 || r.Seconds >= 3600 {
		t.Errorf("%+v", r.Run)
	}
}
