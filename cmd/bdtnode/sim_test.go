package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/sim"
)

// TestSimRun: the same command gives the same run, also with everything drawn from the seed, and the output has all its
// keys.
func TestSimRun(t *testing.T) {
	for _, args := range []string{"", "--shards 2 --for 10s", "--nodes 4,5,7 --consensus dumbo", "--faults crashes,silent --signatures real --load 1 --for 3s"} {
		line := strings.Fields("sim run --seed 3 --for 5s -o json " + args)
		a, b := bdtnode(t, line...), bdtnode(t, line...)
		var first, second simResult
		a.json(t, &first)
		b.json(t, &second)
		if a.code != 0 || first.TraceHash != second.TraceHash || first.Commits == 0 || first.VirtualSeconds < 3 || first.RealSeconds <= 0 {
			t.Errorf("%s: exit %d, %+v, then %+v\n%s", args, a.code, first, second, a.err)
		}
	}
	r := bdtnode(t, "sim", "run", "--seed", "3", "--for", "5s", "-o", "json")
	var keys map[string]any
	r.json(t, &keys)
	for _, key := range []string{"seed", "virtual_seconds", "real_seconds", "commits", "epochs", "fallbacks", "settled", "rejected", "max_rounds", "violations", "trace_hash"} {
		if _, ok := keys[key]; !ok {
			t.Errorf("no %s in %s", key, r.out)
		}
	}
	if list, ok := keys["violations"].([]any); !ok || len(list) != 0 {
		t.Errorf("violations: %v", keys["violations"])
	}
}

// TestSimReplay: a replay prints the requested steps of the same run.
func TestSimReplay(t *testing.T) {
	r := bdtnode(t, "sim", "replay", "--seed", "3", "--for", "5s", "--from", "500", "--to", "509", "-o", "json")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if r.code != 0 || len(lines) != 10 {
		t.Fatalf("exit %d, %d lines\n%s", r.code, len(lines), r.err)
	}
	for i, line := range lines {
		var e simEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Step != uint64(500+i) || e.Text == "" || e.What == "" {
			t.Errorf("line %d: %v %s", i, err, line)
		}
	}
	var run simResult
	bdtnode(t, "sim", "run", "--seed", "3", "--for", "5s", "-o", "json").json(t, &run)
	if !strings.Contains(r.err, run.TraceHash) {
		t.Errorf("the run had trace %s; its replay: %s", run.TraceHash, r.err)
	}
	if r := bdtnode(t, "sim", "replay", "--seed", "3", "--for", "5s", "--only", "VOTE height 2 "); !strings.Contains(r.out, "VOTE height 2 ") || strings.Contains(r.out, "tick") {
		t.Errorf("only one thing: %s", r.out)
	}
}

// TestSimSweep: a sweep runs each seed once, on several cores, and its sums do not depend on the number of workers.
func TestSimSweep(t *testing.T) {
	var one, four sweepResult
	for workers, into := range map[string]*sweepResult{"1": &one, "4": &four} {
		r := bdtnode(t, "sim", "sweep", "--seeds", "11..22", "--for", "5s", "--workers", workers, "--keep", filepath.Join(t.TempDir(), "none"), "-o", "json")
		r.json(t, into)
		if r.code != 0 || into.Runs != 12 || into.Last != 22 || len(into.Failed) != 0 {
			t.Errorf("exit %d %+v\n%s", r.code, into, r.err)
		}
	}
	if one.Commits != four.Commits || one.Settled != four.Settled || one.Commits == 0 || !slices.Equal(one.Rounds, four.Rounds) || len(one.Rounds) < 2 {
		t.Errorf("%+v, with four workers %+v", one, four)
	}
	var short sweepResult
	r := bdtnode(t, "sim", "sweep", "--seeds", "1..1000000", "--minutes", "0.03", "-o", "json")
	r.json(t, &short)
	if r.code != 0 || short.Runs == 0 || short.Runs > 10_000 || short.Last != short.Runs {
		t.Errorf("exit %d %+v", r.code, short)
	}
}

// TestSimFailure: a violation is printed with its step and a replay command, and is also written to a file.
func TestSimFailure(t *testing.T) {
	f := sweepFlags{simFlags: simFlags{shards: 1, nodes: []int{4, 7}, faults: "crashes,silent", duration: time.Minute, delay: 50 * time.Millisecond, load: 1, consensus: "dumbo", signatures: idealSignatures}}
	f.keep = filepath.Join(t.TempDir(), "kept")
	v := &sim.Violation{Config: sim.Config{Seed: 9}, Step: 4711, At: 1500 * time.Millisecond, Check: "agreement", Detail: "two blocks", Events: []string{"an event"}}
	told := f.violation(9, v)
	err := output.FailureOf(told.err(9))
	for _, want := range []string{"step 4711", "agreement", "two blocks", "seed 9"} {
		if !strings.Contains(err.Message, want) {
			t.Errorf("%q lacks %q", err.Message, want)
		}
	}
	const again = "sim replay --seed 9 --shards 1 --nodes 4,7 --faults crashes,silent --for 1m0s --delay 50ms --load 1 --consensus dumbo --from 4512"
	if err.Exit != output.ExitFailure || !strings.HasSuffix(err.Hint, again) {
		t.Errorf("exit %d, hint %q", err.Exit, err.Hint)
	}
	path, kept := f.keepFailure(9, v)
	text, read := os.ReadFile(path)
	if kept != nil || read != nil || !strings.Contains(string(text), again) || !strings.Contains(string(text), "an event") {
		t.Errorf("%v %v %s", kept, read, text)
	}
	if r := bdtnode(t, append(strings.Fields(again[:strings.Index(again, " --from")]), "--for", "1s", "--from", "100", "--to", "100")...); r.code != 0 {
		t.Errorf("the printed command does not run: %s", r.err)
	}
}

func TestSimFaults(t *testing.T) {
	r := bdtnode(t, "sim", "faults", "-o", "json")
	var all []simFault
	r.json(t, &all)
	if r.code != 0 || len(all) < 20 {
		t.Errorf("exit %d, %d faults", r.code, len(all))
	}
	for _, f := range all {
		if f.Help == "" {
			t.Errorf("%s has no help text", f.Name)
		}
	}
}
