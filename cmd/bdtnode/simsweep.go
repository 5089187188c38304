package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/sim"
)

// sweepFlags are the flags of sim sweep.
type sweepFlags struct {
	simFlags
	seeds   string
	minutes float64
	keep    string
	workers int
}

func newSimSweep(a *app) *cobra.Command {
	var f sweepFlags
	c := &cobra.Command{
		Use:   "sweep",
		Short: "Simulate the networks of many seeds on all cores",
		Long: simHelp + `

A violation does not end the sweep. For each seed that failed, a file in --keep stores the scenario, the command that
replays the run, and the last events. Exit code 1: there was a violation.`,
		Example: `  bdtnode sim sweep --seeds 1..2000 --nodes 4,5,7
  bdtnode sim sweep --seeds 1..1000000 --minutes 30 --shards 3 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.simSweep(cmd.Context(), &f)
		},
	}
	f.register(c, []int{4, 5, 7})
	fs := c.Flags()
	fs.StringVar(&f.seeds, "seeds", "1..100", "first and last seed, as A..B")
	fs.Float64Var(&f.minutes, "minutes", 0, "start no further run after that many minutes; 0 runs all seeds (default 0)")
	fs.StringVar(&f.keep, "keep", "sim-failures", "directory for files about failed seeds, created if a seed fails")
	paths(fs, "keep")
	fs.IntVar(&f.workers, "workers", runtime.NumCPU(), "number of runs at a time, 1 to 1024")
	return c
}

// seedRange parses A..B, or one number. Both ends are included.
func seedRange(text string) (first, last uint64, err error) {
	a, b, ranged := strings.Cut(text, "..")
	if !ranged {
		b = a
	}
	if first, err = strconv.ParseUint(a, 10, 64); err == nil {
		last, err = strconv.ParseUint(b, 10, 64)
	}
	if err != nil || last < first || last == math.MaxUint64 {
		return 0, 0, output.Usage("--seeds %q: use A..B, numbers with A not above B", text)
	}
	return first, last, nil
}

// sweepResult is the result of a sweep.
type sweepResult struct {
	First          uint64        `json:"first_seed"`
	Last           uint64        `json:"last_seed"` // last seed that ran
	Runs           uint64        `json:"runs"`
	Violations     int           `json:"violations"`
	Failed         []failedSeed  `json:"failed"`
	VirtualSeconds float64       `json:"virtual_seconds"`
	RealSeconds    float64       `json:"real_seconds"`
	Commits        uint64        `json:"commits"`
	Epochs         uint64        `json:"epochs"`
	Fallbacks      uint64        `json:"fallbacks"`
	Settled        uint64        `json:"settled"`
	Rejected       uint64        `json:"rejected"`
	Crashes        uint64        `json:"crashes"`
	Refused        uint64        `json:"refused"` // refused messages of Byzantine replicas
	MaxRounds      uint32        `json:"max_rounds"`
	Rounds         []sweepRounds `json:"rounds"`
}

// sweepRounds summarizes the rounds of agreements in shards of one size.
type sweepRounds struct {
	Nodes      int     `json:"nodes"`
	Agreements uint64  `json:"agreements"`
	Mean       float64 `json:"mean"`
	Max        uint32  `json:"max"`
}

// failedSeed is a seed with a violation.
type failedSeed struct {
	Seed uint64 `json:"seed"`
	simViolation
	Kept string `json:"kept"` // path of the file about it
}

// sweep is the state that the workers share.
type sweep struct {
	flags *sweepFlags
	plan  *sim.Plan
	until time.Time // zero: no end

	mu     sync.Mutex
	next   uint64
	last   uint64
	result sweepResult
	sizes  map[int]sim.Rounds
	err    error // first error that is not a violation
}

func (a *app) simSweep(ctx context.Context, f *sweepFlags) error {
	p, err := f.plan()
	if err != nil {
		return err
	}
	first, last, err := seedRange(f.seeds)
	if err != nil {
		return err
	}
	switch {
	case !(f.minutes >= 0):
		return output.Usage("--minutes %v: use 0 or more", f.minutes)
	case f.workers < 1 || f.workers > 1024:
		return output.Usage("--workers %d: use 1 to 1024", f.workers)
	case f.keep == "":
		return output.Usage("--keep is empty: name a directory")
	}
	begun := time.Now()
	s := &sweep{flags: f, plan: p, next: first, last: last, sizes: make(map[int]sim.Rounds)}
	s.result = sweepResult{First: first, Failed: []failedSeed{}}
	if f.minutes > 0 {
		s.until = begun.Add(time.Duration(f.minutes * float64(time.Minute)))
	}
	defer debug.SetGCPercent(debug.SetGCPercent(simGC))
	done, finish := a.sweepProgress(s)
	var workers sync.WaitGroup
	for range min(uint64(f.workers), last-first+1) {
		workers.Go(func() { s.work(ctx, done) })
	}
	workers.Wait()
	finish()
	if s.err != nil {
		return s.err
	}
	r := s.finished(time.Since(begun))
	if err := a.print.Data(r, func(w io.Writer) { printSweep(w, &r) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil && r.Violations == 0 {
		return err // the result so far was printed above
	}
	if r.Violations > 0 {
		return &output.Failure{Exit: output.ExitFailure, Code: "violation",
			Message: fmt.Sprintf("%d of %d seeds violated a guarantee", r.Violations, r.Runs), Hint: "replay one with: " + r.Failed[0].Replay}
	}
	return nil
}

// simGC is the heap growth between collections, in percent. It is high because a run allocates much short-lived memory.
const simGC = 400

// work runs seeds until none is left, the time is up, or a run fails with an error that is not a violation.
func (s *sweep) work(ctx context.Context, done func()) {
	for {
		s.mu.Lock()
		seed, more := s.next, s.next <= s.last && s.err == nil && ctx.Err() == nil && (s.until.IsZero() || time.Now().Before(s.until))
		if more {
			s.next++
		}
		s.mu.Unlock()
		if !more {
			return
		}
		r, v, err := s.flags.simulate(ctx, s.plan, seed, nil)
		if ctx.Err() != nil {
			return // an interrupted run has no result
		}
		kept := ""
		if err == nil && v != nil {
			kept, err = s.flags.keepFailure(seed, v)
		}
		s.add(seed, r, v, kept, err)
		done()
	}
}

// add adds a run to the result.
func (s *sweep) add(seed uint64, r *sim.Report, v *sim.Violation, kept string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.err == nil {
			s.err = fmt.Errorf("seed %d: %w", seed, err)
		}
		return
	}
	t := &s.result
	if v != nil {
		t.Failed = append(t.Failed, failedSeed{seed, s.flags.violation(seed, v), kept})
	}
	t.Runs++
	t.Last = max(t.Last, seed)
	t.VirtualSeconds += r.Virtual.Seconds()
	t.Commits, t.Epochs, t.Fallbacks = t.Commits+r.Commits, t.Epochs+r.Epochs, t.Fallbacks+r.Fallbacks
	t.Settled, t.Rejected = t.Settled+uint64(r.Settled), t.Rejected+uint64(r.Rejected)
	t.Crashes, t.Refused = t.Crashes+uint64(r.Crashes), t.Refused+uint64(r.Refused)
	for n, of := range r.BySize {
		sum := s.sizes[n]
		sum.Add(of)
		s.sizes[n] = sum
	}
}

// finished completes the result after the last run.
func (s *sweep) finished(took time.Duration) sweepResult {
	r := s.result
	r.RealSeconds, r.Violations, r.Rounds = took.Seconds(), len(r.Failed), []sweepRounds{}
	slices.SortFunc(r.Failed, func(a, b failedSeed) int { return int(min(a.Seed-b.Seed, 1)) - int(min(b.Seed-a.Seed, 1)) })
	for _, n := range slices.Sorted(maps.Keys(s.sizes)) {
		of := s.sizes[n]
		r.Rounds = append(r.Rounds, sweepRounds{n, of.Agreements, of.Mean(), of.Max})
		r.MaxRounds = max(r.MaxRounds, of.Max)
	}
	return r
}

// keepFailure writes a file with the replay command and the last events of a violation, and returns its path.
func (f *sweepFlags) keepFailure(seed uint64, v *sim.Violation) (string, error) {
	if err := os.MkdirAll(f.keep, 0o755); err != nil {
		return "", fmt.Errorf("write the file of a failed seed: %w", err)
	}
	path := filepath.Join(f.keep, fmt.Sprintf("seed-%d.txt", seed))
	text := f.violation(seed, v).Replay + "\n\n" + v.Story() + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("write the file of a failed seed: %w", err)
	}
	return path, nil
}

// sweepProgress shows the progress of a sweep: as a bar on a terminal, elsewhere as a line at intervals. done must be
// called after each run, finish at the end.
func (a *app) sweepProgress(s *sweep) (done, finish func()) {
	total := s.last - s.next + 1
	if a.print.Live() {
		bars := mpb.New(mpb.WithOutput(a.print.Bars()), mpb.WithWidth(40))
		bar := bars.AddBar(int64(total), mpb.PrependDecorators(decor.Name("seeds "), decor.CountersNoUnit("%d/%d"), decor.Any(func(decor.Statistics) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			return fmt.Sprintf(", %d failed", len(s.result.Failed))
		})), mpb.AppendDecorators(decor.AverageSpeed(0, "%.1f/s"), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))
		return bar.Increment, func() {
			bar.Abort(false)
			bars.Wait()
		}
	}
	var mu sync.Mutex
	count, said := uint64(0), time.Now()
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if count++; time.Since(said) >= plainEvery {
			said = time.Now()
			s.mu.Lock()
			defer s.mu.Unlock()
			a.print.Note("%d of %d seeds, %d failed", count, total, len(s.result.Failed))
		}
	}, func() {}
}

func printSweep(w io.Writer, r *sweepResult) {
	fmt.Fprintf(w, "seeds\t%d, of %d to %d\n", r.Runs, r.First, r.Last)
	fmt.Fprintf(w, "time\t%.0f s virtual, %.1f s real\n", r.VirtualSeconds, r.RealSeconds)
	fmt.Fprintf(w, "blocks\t%d\nepochs\t%d, of which %d ended by fallback before their last slot\n", r.Commits, r.Epochs, r.Fallbacks)
	fmt.Fprintf(w, "transactions\t%d settled, %d rejected\n", r.Settled, r.Rejected)
	fmt.Fprintf(w, "crashes\t%d\nrefused\t%d messages of Byzantine replicas\n", r.Crashes, r.Refused)
	for _, x := range r.Rounds {
		fmt.Fprintf(w, "agreement of %d\t%d, mean %.2f rounds, %d at most\n", x.Nodes, x.Agreements, x.Mean, x.Max)
	}
	fmt.Fprintf(w, "violations\t%d\n", r.Violations)
	for _, x := range r.Failed {
		what, _, _ := strings.Cut(x.Detail, "\n")
		fmt.Fprintf(w, "  seed %d\t%s at step %d: %s\n\t%s\n\t%s\n", x.Seed, x.Check, x.Step, what, x.Replay, x.Kept)
	}
}
