package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bdtnode/internal/mutants"
)

var (
	mutantRuns = flag.Int("sim.mutants.runs", 0, "with -sim.mutants, so many runs of each mutant and the number of violations of each check, instead of runs up to the first violation")
	oneMutant  = flag.String("sim.mutants.one", "", "the group and name of the mutant that this process has: TestMutants searches for it and prints the finding")
	noMutant   = flag.Bool("sim.mutants.none", false, "TestMutants prints the hashes of some runs")
)

// enough is seeds of a story or sweep within which a bug must be found. A bug that takes more needs another story.
const enough = 30

// The checks of a search that are not checks of the simulator.
const (
	checkOutcome = "outcome" // of the story
	checkLatency = "latency" // of TestEightRegions
)

// group is mutants with their searches.
type group struct {
	name    string
	mutants []mutant
	search  func(*mutant) search
}

// groups are all mutants.
func groups() []group {
	return []group{
		{"twins", twinMutants(), twinSearch},
		{"network", networkMutants(), networkSearch},
		{"story", storyMutants(), storySearch},
		{"admission", admissionMutants(), storySearch},
		{"vouch", vouchMutants(), storySearch},
		{"log", logMutants(), logSearch},
	}
}

// search is a sequence of runs, one of which must find a mutant.
type search struct {
	runs int
	name func(k int) string
	run  func(ctx context.Context, k int) error
	test bool // instead of runs, TestEightRegions is the search
}

// storySearch is a story of one shard, or TestEightRegions if none is named.
func storySearch(m *mutant) search {
	if m.story == "" {
		return search{test: true}
	}
	config, outcome := stories[m.story], outcomes[m.story]
	if config == nil {
		return search{}
	}
	return search{runs: enough, name: seedName, run: func(ctx context.Context, k int) error {
		cfg := config(uint64(k) + 1)
		r, err := Run(ctx, cfg, nil)
		if err != nil || outcome == nil {
			return err
		}
		if err := outcome(r); err != nil {
			return &Violation{Config: cfg, Step: r.Events, At: r.Virtual, Check: checkOutcome, Detail: err.Error()}
		}
		return nil
	}}
}

// networkSearch is a story of several shards, or the sweep if none is named.
func networkSearch(m *mutant) search {
	config := among
	if m.story != "" {
		config = networkStories[m.story]
	}
	if config == nil {
		return search{}
	}
	return search{runs: enough, name: seedName, run: func(ctx context.Context, k int) error {
		_, err := Run(ctx, config(uint64(k)+1), nil)
		return err
	}}
}

func seedName(k int) string { return fmt.Sprintf("seed %d", k+1) }

// twinSearch is the enumeration of TestTwinsTwoRounds, which begins with the scenario of a certain number if the story is
// that number.
func twinSearch(m *mutant) search {
	all, _ := twinScenarios()
	lengths := len(twinLengths) * len(twinLengths)
	number := lengths * len(all)
	at := func(k int) int {
		if first, err := strconv.Atoi(m.story); err == nil && k == 0 {
			return first
		}
		return k * twinStride % number
	}
	return search{
		runs: number,
		name: func(k int) string { return fmt.Sprintf("scenario %d", at(k)) },
		run: func(ctx context.Context, k int) error {
			_, err := Run(ctx, all[at(k)/lengths].config(1+uint64(at(k)), at(k)%lengths), nil)
			return err
		},
	}
}

// finding is the result of a search.
type finding struct {
	Runs   int            // carried out
	Run    int            // the first run that found the mutant, from 0
	Name   string         // of that run
	Detail string         // of its violation
	Checks map[string]int // violations of each check, in all runs
}

// found reports whether a run found the mutant.
func (f *finding) found() bool { return len(f.Checks) > 0 }

// checks is the violated checks, each with the number of its violations.
func (f *finding) checks() string {
	var checks []string
	for _, c := range slices.Sorted(maps.Keys(f.Checks)) {
		checks = append(checks, fmt.Sprintf("%s %d", c, f.Checks[c]))
	}
	return strings.Join(checks, ", ")
}

// String is the finding in one line.
func (f *finding) String() string {
	detail, _, _ := strings.Cut(f.Detail, "\n")
	return fmt.Sprintf("run %d of %d (%s); %s: %.120s", f.Run+1, f.Runs, f.Name, f.checks(), detail)
}

// findings is a table of several findings, which tests add to at the same time.
type findings struct {
	mutex sync.Mutex
	lines []string
}

func (x *findings) add(format string, args ...any) {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	x.lines = append(x.lines, fmt.Sprintf(format, args...))
}

// String is the lines in the order of the findings.
func (x *findings) String() string {
	x.mutex.Lock()
	defer x.mutex.Unlock()
	return "findings:\n" + strings.Join(x.lines, "\n")
}

// carryOut searches in this process, until a run finds the mutant, or in a number of runs if that is not 0.
func (s search) carryOut(ctx context.Context, count int) (*finding, error) {
	f := &finding{Checks: make(map[string]int)}
	for k := range cmp.Or(count, s.runs) {
		err := s.run(ctx, k)
		f.Runs++
		if err == nil {
			continue
		}
		var v *Violation
		if !errors.As(err, &v) {
			return nil, err
		}
		if !f.found() {
			f.Run, f.Name, f.Detail = k, s.name(k), v.Detail
		}
		if f.Checks[v.Check]++; count == 0 {
			break
		}
	}
	return f, nil
}

// printFinding searches for the mutant of this process, and prints the finding on a line of its own.
func printFinding(t *testing.T, name string) {
	for _, g := range groups() {
		for _, m := range g.mutants {
			if name == g.name+"/"+m.name {
				f, err := g.search(&m).carryOut(t.Context(), *mutantRuns)
				if err != nil {
					t.Fatal(err)
				}
				printLine(f)
				return
			}
		}
	}
	t.Fatalf("no mutant is named %s", name)
}

// linePrefix begins the line that a process prints for its parent.
const linePrefix = "mutants: "

func printLine(x any) {
	b, err := json.Marshal(x)
	if err != nil {
		panic(err)
	}
	fmt.Printf("\n%s%s\n", linePrefix, b)
}

// start runs the program on one processor, with a mutant or, if the name is empty, with none. The error contains the
// output.
func start(ctx context.Context, program, mutant string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-test.timeout", "50m", "-test.run"}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if mutant != "" {
		cmd.Env = append(cmd.Env, mutants.Variable+"="+mutant)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return string(out), err
}

// line decodes the line with the prefix in the output of the program.
func line(out string, x any) error {
	_, rest, ok := strings.Cut(out, "\n"+linePrefix)
	if !ok {
		return fmt.Errorf("no line with a result:\n%s", out)
	}
	return json.NewDecoder(strings.NewReader(rest)).Decode(x)
}

// carriedOut lets the program search for a mutant.
func carriedOut(ctx context.Context, program string, g *group, m *mutant) (*finding, error) {
	if g.search(m).test {
		return regionsFinding(start(ctx, program, m.name, "^TestEightRegions$"))
	}
	out, err := start(ctx, program, m.name, "^TestMutants$", "-sim.mutants.one", g.name+"/"+m.name, "-sim.mutants.runs", strconv.Itoa(*mutantRuns))
	if err != nil {
		return nil, err
	}
	f := new(finding)
	return f, line(out, f)
}

// tooLate matches the failure of TestEightRegions for transactions that take too long.
var tooLate = regexp.MustCompile(`\S+: half of \d+ transactions take .* times the least.*`)

// regionsFinding reads a run of TestEightRegions.
func regionsFinding(out string, err error) (*finding, error) {
	f := &finding{Runs: 1, Name: "TestEightRegions", Checks: make(map[string]int)}
	if late := tooLate.FindAllString(out, -1); late != nil {
		f.Checks[checkLatency], f.Detail = len(late), late[0]
	} else if err != nil {
		return nil, err
	}
	return f, nil
}

// sampled is the trace hashes of one run of each sweep, and of one with a hostile shard.
func sampled(ctx context.Context) (map[string]string, error) {
	one, _ := alone(1)
	twins, _ := twinScenarios()
	hashes := make(map[string]string)
	for name, cfg := range map[string]Config{
		"one shard": one, "three shards": among(1), "a hostile shard": networkStories["hostile"](1), "twins": twins[len(twins)/2].config(1, 4),
	} {
		r, err := Run(ctx, cfg, nil)
		if err != nil {
			return nil, err
		}
		hashes[name] = r.Hash.String()
	}
	return hashes, nil
}

// compareHashes checks that the program with all switches off gives the same traces as the unchanged source.
func compareHashes(t *testing.T, program string) {
	want, err := sampled(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := start(t.Context(), program, "", "^TestMutants$", "-sim.mutants.none")
	if err != nil {
		t.Fatal(err)
	}
	var have map[string]string
	if err := line(out, &have); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(have, want) {
		t.Errorf("without a mutant the program's runs have the hashes\n%v\nand the source's\n%v", have, want)
	}
}
