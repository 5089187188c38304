package sim

import (
	"fmt"
	"time"

	"bdtnode/internal/digest"
)

// NetworkReport is what a run of several shards without a violation came to.
type NetworkReport struct {
	Hash     digest.Digest // of every event: the same for the same configuration
	Events   uint64
	Heights  []uint64 // by shard
	Settled  int      // payments over shards
	Returned int      // the others that were in escrow somewhere
	LDs      int
	Crashes  int
	Refused  int // LDs
}

// maxClosing is in how many blocks everything that is over must be forgotten.
const maxClosing = 200

// RunNetwork carries out a configuration. The error is a *[Violation], or says what is wrong with the configuration.
func RunNetwork(cfg NetworkConfig) (*NetworkReport, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	w := newWorld(cfg.Seed, cfg.Ed25519, cfg)
	if err := w.found(cfg.Shards); err != nil {
		return nil, err
	}
	w.crossing.delay = cfg.Delay
	w.perform(&cfg)
	if w.violation != nil {
		return nil, w.violation
	}
	r := &NetworkReport{Hash: w.log.sum(), Events: w.log.steps, Refused: w.settling.refusals}
	for _, s := range w.shards {
		r.Heights = append(r.Heights, s.check.agreement.top)
		r.Crashes += s.check.durability.crashes
	}
	for _, row := range w.settling.channels {
		for d := range row {
			r.LDs += len(row[d].made)
		}
	}
	for _, f := range w.settling.fates {
		if f.settled > 0 {
			r.Settled++
		} else {
			r.Returned++
		}
	}
	return r, nil
}

// perform plays the whole story: load and faults, then their end and answers for everyone, then what is forgotten
// some time after, and silence.
func (w *world) perform(cfg *NetworkConfig) {
	honest := true
	for _, f := range cfg.Faults {
		f.begin(w)
	}
	for _, s := range w.shards {
		honest = honest && len(s.cfg.Liars) == 0
		for _, f := range s.cfg.Faults {
			f.start(s)
		}
		for _, n := range s.nodes {
			s.guard(n, n.start)
		}
	}
	w.payers.start(cfg.Load, epoch.Add(cfg.Active-cfg.Calm))
	w.play(epoch.Add(cfg.Active))
	if w.violation != nil {
		return
	}
	w.crossing.heal()
	for _, s := range w.shards {
		s.heal()
	}
	w.settle(cfg.Settle, w.unsettled)
	w.play(w.now.Add(3 * time.Minute))                                                                  // by then everything has expired
	for rounds := 0; w.violation == nil && w.settling.closed() != "" && rounds < maxClosing; rounds++ { // a block closes only so many
		w.payers.last()
		w.settle(cfg.Settle, w.unsettled)
	}
	w.settle(cfg.Settle, w.settling.closed)
	for _, s := range w.shards {
		if w.violation == nil {
			s.check.end()
		}
	}
	if honest {
		w.silence()
	}
}

// settle plays on until nothing is lacking any more, or fails.
func (w *world) settle(patience time.Duration, lacking func() string) {
	for end := w.now.Add(patience); w.violation == nil; w.play(w.now.Add(250 * time.Millisecond)) {
		lack := lacking()
		if lack == "" {
			return
		}
		if w.now >= end {
			w.failed("liveness", fmt.Sprintf("%v after the faults stopped: %s", patience, lack))
		}
	}
}

// unsettled says what is still to come in or between the shards, if anything is.
func (w *world) unsettled() string {
	for _, s := range w.shards {
		if lack := s.check.unsettled(); lack != "" {
			return fmt.Sprintf("shard %d: %s", s.shard, lack)
		}
	}
	if lack := w.payers.open(); lack != "" {
		return lack
	}
	return w.settling.open()
}
