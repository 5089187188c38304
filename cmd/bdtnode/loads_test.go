package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/bench"
)

// Commands of the documents with a load: each runs on a network of real replicas.

// loadRun is such a command, which runs in a process of its own.
type loadRun struct {
	line commandLine
	root string // of the module
	args []string
	done <-chan result
}

// underLoad reports whether a command makes a load.
func underLoad(args []string) bool {
	return args[0] == "net" && slices.Contains(args, "--load") || args[0] == "bench" && (args[1] == "run" || args[1] == "sweep")
}

// load begins a command with a load. The network that it starts is not in the registry of the other commands, whose newest
// network stays the same.
func (s *stage) load(line commandLine, args []string) {
	var apart []string
	if !slices.Contains(args, "--node") {
		dir := s.all.TempDir()
		apart = []string{"XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "XDG_STATE_HOME=" + filepath.Join(dir, "state")}
	}
	delays := slices.Contains(args, "--wan")
	done, err := beside(s.all.Context(), delays, apart, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.loads = append(s.loads, &loadRun{line, s.root, args, done})
}

// shortenBench bounds the load of a measurement, and leaves one run and one value of a sweep.
func shortenBench(args []string, set func(flag, value string)) {
	set("--for", "2s") // so that some transfers have answers in this time on a busy machine too
	set("--warmup", "200ms")
	switch over := slices.Index(args, "--over"); {
	case over >= 0:
		set("--values", map[string]string{overRate: "20", overNodes: "4", overCross: "0.5", overGap: "25"}[args[over+1]])
	case slices.Contains(args, "--rate"):
		set("--rate", "20")
	}
	if slices.Contains(args, "--closed") {
		set("--closed", "5")
	}
	if slices.Contains(args, "--repeat") {
		set("--repeat", "1")
	}
}

// tooBusy ends the error of a network that other work on the machine would delay by more than a tenth of a link's delay.
const tooBusy = "this machine is too slow or too busy for these delays"

// check waits for the end of a command. It succeeds, its report has figures, and a document that shows its output shows all
// keys of the report, or lines that the command prints.
func (l *loadRun) check(t *testing.T) {
	r := <-l.done
	if (raceDetector || slices.Contains(l.args, "aws8")) && strings.Contains(r.err, tooBusy) {
		return // the shortest delay of aws8 may be off by 2 ms, and other tests run at the same time
	}
	if r.code != 0 {
		t.Fatalf("%v: exit %d\n%s%s", l.args, r.code, r.out, r.err)
	}
	asJSON := slices.Contains(l.args, "json")
	switch {
	case !asJSON:
	case l.args[0] == "bench":
		results, err := bench.ReadResults(strings.NewReader(r.out))
		if err != nil || len(results) == 0 {
			t.Fatalf("%v: %s", err, r.out)
		}
		for _, x := range results {
			if x.Settled == 0 || x.Submitted != x.Settled+x.Rejected {
				t.Errorf("%+v", x.Outcome)
			}
		}
	default:
		var got report
		r.json(t, &got)
		if got.Submitted == 0 || got.Submitted != got.Settled+got.Rejected || !got.HeadersAgree || !got.ValueConserved {
			t.Errorf("%+v", got)
		}
	}
	document := l.document(t)
	if asJSON && len(document) > 0 {
		var printed map[string]any
		r.json(t, &printed)
		sameKeys(t, document, printed)
		return
	}
	printed := shapes(strings.Split(r.out+r.err, "\n"))
	for _, line := range document {
		if line != "…" && !slices.Contains(printed, shape(line)) {
			t.Errorf("the document shows %q, and the command prints\n%s%s", line, r.out, r.err)
		}
	}
}

// document is the output of the command that its document shows, empty if it shows none.
func (l *loadRun) document(t *testing.T) []string {
	file := l.line.where
	if strings.HasSuffix(file, "--help") || !strings.Contains(readText(t, filepath.Join(l.root, file)), "\n    $ "+l.line.text+"\n") {
		return nil
	}
	return shownIn(t, l.root, file, l.line.text)
}

// TestLoadsAreShortened: no documented load runs longer than some seconds.
func TestLoadsAreShortened(t *testing.T) {
	for line, want := range map[string]string{
		"net up --for 60s --load 2000":                       "net up --for 1s --load 20",
		"bench run --closed 2000 --for 20s --repeat 3":       "bench run --closed 5 --for 2s --repeat 1 --warmup 200ms",
		"bench sweep --over rate --rate 500":                 "bench sweep --over rate --for 2s --warmup 200ms --values 20",
		"bench sweep --over rate --rate 500 > rates.json":    "bench sweep --over rate --for 2s --warmup 200ms --values 20",
		"bench sweep --over nodes --values 4,7 --closed 200": "bench sweep --over nodes --values 4 --closed 5 --for 2s --warmup 200ms",
		"bench sweep --over gap --values 5,25":               "bench sweep --over gap --values 25 --for 2s --warmup 200ms",
	} {
		if got := strings.Join(shorten(strings.Fields(line)), " "); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
}
