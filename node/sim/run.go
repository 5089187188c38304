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

// Report is what a run came to, up to its first violation if there was one.
type Report struct {
	Scenario   string // the configuration in one line
	Virtual    time.Duration
	Hash       digest.Digest // of every event: the same for the same configuration
	Events     uint64
	Commits    uint64 // blocks, of all shards
	Epochs     uint64 // that ended, of all shards
	Fallbacks  uint64 // of these, in which the agreement came before the last slot was used
	Settled    int    // transactions
	Rejected   int    // with a receipt, or come back from escrow
	LDs        int    // made, if there are several shards
	Crashes    int
	Refused    int // messages and LDs of Byzantine replicas
	Agreements Rounds
	BySize     map[int]Rounds // by replicas of the shard
}

// Rounds is how many rounds agreements took, counted by the latest replica to decide.
type Rounds struct {
	Agreements uint64
	Sum        uint64
	Max        uint32
}

// Add counts others too.
func (r *Rounds) Add(x Rounds) {
	r.Agreements, r.Sum, r.Max = r.Agreements+x.Agreements, r.Sum+x.Sum, max(r.Max, x.Max)
}

// Mean is the mean, 0 of none.
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
	Events []string // the last before it
}

// Error names what is needed to see it again; Events has more.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s violated at step %d, %v: %s\n%s", v.Check, v.Step, v.At, v.Detail, v.Config)
}

// Story is the error with the last events.
func (v *Violation) Story() string { return v.Error() + "\n" + strings.Join(v.Events, "\n") }

// Run carries out a configuration, and tells watch of every event if it is not nil. The error is a *[Violation], and
// comes with the report up to it; or it says what is wrong with the configuration, or that the context has ended.
// Adversaries have memory: make the configuration anew for another run.
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
	verdicts := make(map[ledger.TxID]bool) // whether it settled
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

// guarded performs, and takes a panic for what it is: an invariant that does not hold, in a replica or in this package.
func (w *world) guarded() {
	defer func() {
		if r := recover(); r != nil {
			w.failed("invariant", fmt.Sprintf("%v\n%s", r, debug.Stack()))
		}
	}()
	w.perform()
}

// maxClosing is in how many blocks everything that is over must be forgotten.
const maxClosing = 200

// perform plays the whole story: load and faults, then their end and answers for everyone, then, of several shards,
// what is forgotten some time after, and silence.
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
		w.play(w.now.Add(3 * time.Minute))                                                         // by then everything has expired
		for rounds := 0; !w.over() && w.settling.closed() != "" && rounds < maxClosing; rounds++ { // a block closes only so many
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

// settle plays on until nothing is lacking any more, or fails.
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

// unsettled says what is still to come in or between the shards, if anything is.
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

// silence sees that an idle network sends nothing but Pings.
func (w *world) silence() {
	late := 15 * time.Second
	for _, s := range w.shards {
		if slices.ContainsFunc(s.nodes, func(n *node) bool { return n.alive && n.driver.Clients().Holding().Book > 0 }) {
			late = max(late, lifetime+time.Minute) // what waits for an input that never comes is answered when it expires
		}
		late = max(late, lanes.MaxAsking(s.cfg.Nodes)) // as of a lane whose owner is dead
	}
	w.muted = true
	w.play(w.now.Add(late)) // what is late has come by then
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
