package sim

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/protocols/lanes"
)

// Report is the result of a run, up to its first violation if there was one.
type Report struct {
	Scenario   string // the configuration in one line
	Virtual    time.Duration
	Hash       digest.Digest // over all events: the same for the same configuration
	Events     uint64
	Commits    uint64 // blocks, of all shards
	Epochs     uint64 // that ended, in all shards
	Fallbacks  uint64 // of these, epochs that the agreement ended before the last slot was used
	Settled    int    // transactions
	Rejected   int    // with a receipt, or returned from escrow
	LDs        int    // made, if there are several shards
	Crashes    int
	Refused    int // messages and LDs of Byzantine replicas
	Agreements Rounds
	BySize     map[int]Rounds // by number of replicas of the shard
}

// Rounds is the number of rounds of agreements, counted at the last replica to decide.
type Rounds struct {
	Agreements uint64
	Sum        uint64
	Max        uint32
}

// Add adds the counts of x.
func (r *Rounds) Add(x Rounds) {
	r.Agreements, r.Sum, r.Max = r.Agreements+x.Agreements, r.Sum+x.Sum, max(r.Max, x.Max)
}

// Mean is the mean number of rounds, 0 without agreements.
func (r *Rounds) Mean() float64 {
	if r.Agreements == 0 {
		return 0
	}
	return float64(r.Sum) / float64(r.Agreements)
}

// Violation is a guarantee that did not hold.
type Violation struct {
	Config fmt.Stringer // of the run
	Step   uint64
	At     time.Duration // virtual, since the start
	Check  string
	Detail string
	Events []string // the last before the violation
}

// Error names the data needed to repeat the run; Events has more.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at step %d, %v: %s\n%s", v.Check, v.Step, v.At, v.Detail, v.Config)
}

// Story is the error with the last events.
func (v *Violation) Story() string { return v.Error() + "\n" + strings.Join(v.Events, "\n") }

// Run carries out a configuration. It calls watch with every event if watch is not nil. The error is a *[Violation],
// and comes with the report up to it; or it describes an error of the configuration, or the end of the context.
// Adversaries keep state: make a new configuration for another run.
func Run(ctx context.Context, cfg Config, watch func(Event)) (*Report, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	w := newWorld(ctx, cfg)
	w.log.watch = watch
	if err := w.found(); err != nil {
		return nil, err
	}
	w.guarded()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := w.report()
	if w.violation != nil {
		return r, w.violation
	}
	return r, nil
}

func (w *world) report() *Report {
	r := &Report{Scenario: w.cfg.String(), Virtual: w.now.Sub(epoch), Hash: w.log.sum(), Events: w.log.steps, Refused: w.settling.refusals, BySize: make(map[int]Rounds)}
	verdicts := make(map[ledger.TxID]bool) // whether each transaction settled
	for _, s := range w.shards {
		a := &s.check.agreement
		r.Commits, r.Epochs, r.Fallbacks = r.Commits+a.top, r.Epochs+a.epochs, r.Fallbacks+a.fallbacks
		r.Crashes += s.check.durability.crashes
		r.Refused += s.check.blame.refused
		of := r.BySize[s.cfg.Nodes]
		for _, rounds := range s.check.signing.rounds {
			of.Add(Rounds{1, uint64(rounds), rounds})
		}
		r.BySize[s.cfg.Nodes] = of
		for id, x := range s.check.durability.answers {
			verdicts[id] = verdicts[id] || x.Verdict == ledger.VerdictSettled
		}
	}
	for _, of := range r.BySize {
		r.Agreements.Add(of)
	}
	for _, settled := range verdicts {
		if settled {
			r.Settled++
		} else {
			r.Rejected++
		}
	}
	for _, row := range w.settling.channels {
		for d := range row {
			r.LDs += len(row[d].made)
		}
	}
	return r
}

// guarded performs the run. A panic is reported as a violation: an invariant that does not hold, in a replica or in
// this package.
func (w *world) guarded() {
	defer func() {
		if r := recover(); r != nil {
			w.failed("invariant", fmt.Sprintf("%v\n%s", r, debug.Stack()))
		}
	}()
	w.perform()
}

// maxClosing is the number of blocks within which all closed records must be forgotten.
const maxClosing = 200

// perform carries out the whole run: load and faults, then their end and the answers, then, with several shards, the
// deletion of records some time later, and silence.
func (w *world) perform() {
	honest := true
	for _, f := range w.cfg.Disruptions {
		f.begin(w)
	}
	for _, s := range w.shards {
		honest = honest && len(s.cfg.Liars) == 0 && !s.hostile()
		for _, f := range s.cfg.Faults {
			f.start(s)
		}
		for _, l := range s.cfg.Liars {
			if f, ok := l.Adversary.(Fault); ok {
				f.start(s)
			}
		}
		for _, n := range s.nodes {
			s.guard(n, n.start)
		}
	}
	until := epoch.Add(w.cfg.Active - w.cfg.Calm)
	if len(w.shards) == 1 {
		w.shards[0].clients.load(w.cfg.Load, until)
	} else {
		w.payers.load(w.cfg.Load, until)
	}
	w.play(epoch.Add(w.cfg.Active))
	if w.over() {
		return
	}
	w.active = false
	w.crossing.heal()
	for _, s := range w.shards {
		s.heal()
	}
	w.settle(w.unsettled)
	if len(w.shards) > 1 {
		w.play(w.now.Add(3 * time.Minute))                                                         // everything has expired by then
		for rounds := 0; !w.over() && w.settling.closed() != "" && rounds < maxClosing; rounds++ { // a block closes a bounded number only
			w.payers.last()
			w.settle(w.unsettled)
		}
		w.settle(w.settling.closed)
	}
	for _, s := range w.shards {
		if !w.over() {
			s.check.end()
		}
	}
	if honest && !w.over() {
		w.silence()
	}
}

// settle continues until nothing is lacking any more, or reports a violation.
func (w *world) settle(lacking func() string) {
	for end := w.now.Add(w.cfg.Settle); !w.over(); w.play(w.now.Add(200 * time.Millisecond)) {
		lack := lacking()
		if lack == "" {
			return
		}
		if w.now >= end {
			w.failed("liveness", fmt.Sprintf("%v after the faults stopped: %s", w.cfg.Settle, lack))
		}
	}
}

// unsettled describes pending work in or between the shards, empty if there is none.
func (w *world) unsettled() string {
	for _, s := range w.shards {
		if lack := s.check.unsettled(); lack != "" {
			if len(w.shards) > 1 {
				lack = fmt.Sprintf("shard %d: %s", s.shard, lack)
			}
			return lack
		}
	}
	if lack := w.submissions.lacking(); lack != "" {
		return lack
	}
	return w.settling.open()
}

// silence checks that an idle network sends nothing but Pings.
func (w *world) silence() {
	late := 15 * time.Second
	for _, s := range w.shards {
		if slices.ContainsFunc(s.nodes, func(n *node) bool { return n.alive && n.driver.Clients().Holding().Mempool > 0 }) {
			late = max(late, lifetime+time.Minute) // a transaction whose input never appears gets its answer when it expires
		}
		late = max(late, lanes.MaxRequestTime(s.cfg.Nodes)) // as for requests for a lane whose owner is down
	}
	w.muted = true
	w.play(w.now.Add(late)) // late messages have arrived by then
	w.muted = false
	for _, s := range w.shards {
		for _, n := range s.honest() {
			s.check.promises.ended(n)
		}
	}
	before := w.log.steps - w.log.pings
	w.play(w.now.Add(20 * time.Second))
	if n := w.log.steps - w.log.pings - before; n > 0 && !w.over() {
		w.failed("silence", fmt.Sprintf("an idle network had %d events besides Pings in 20 seconds", n))
	}
}
