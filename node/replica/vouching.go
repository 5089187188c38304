package replica

import (
	"slices"

	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/vouch"
)

// vouchMessages are the entries of Vouch in the table of messages.
var vouchMessages = protocols.Lift(vouch.Messages, mvba.SignatureProof)

// Vouching is the part of the core for the knowledge about the signatures of batches, and for the committed blocks that
// wait for it. A block is handed to the executor when each of its batches is known to be good or bad, or when its header is
// certified. Its inputs are inputs of the [Core].
type Vouching struct {
	core    *Core
	machine *vouch.Machine
	waiting []*bdt.Delivery // committed blocks that are not handed to the executor, in order
	running []*bdt.Delivery // handed to the executor and not executed, in order
	ordered uint64          // height of the last commit of which the machine knows
}

func newVouching(c *Core) *Vouching {
	cfg := vouch.Config{Committee: c.cfg.Committee, Self: c.cfg.Self, Least: c.cfg.Vouched}
	v := &Vouching{core: c, machine: vouch.New(cfg, c.bdt.Delivered().Cut)}
	bad := c.bdt.Batches().BadLanes()
	for _, lane := range bad.Members() {
		v.machine.BadLane(lane)
	}
	return v
}

// Checked is called with the results of checks that [Output.Check] requested.
func (v *Vouching) Checked(now protocols.Time, results []vouch.Result) Step {
	var st Step
	if !v.core.signs() {
		return st
	}
	v.absorb(&st, v.machine.Checked(results))
	v.deliver(now, &st)
	return st
}

// holdAll takes over the batches that were held before a restart.
func (v *Vouching) holdAll(now protocols.Time, st *Step) {
	v.followCommits()
	for _, r := range v.core.bdt.Batches().Held() {
		v.held(now, st, r)
	}
}

// held is called for a batch that may be held since this input.
func (v *Vouching) held(now protocols.Time, st *Step, r lanes.Ref) {
	v.followCommits()
	if h := v.core.bdt.Batches().Header(r); h != nil {
		v.absorb(st, v.machine.Held(now, r, int(h.Count)))
	}
}

// followCommits reports the last committed cut to the machine.
func (v *Vouching) followCommits() {
	if base := v.core.bdt.Base(); base.Height > v.ordered {
		v.ordered = base.Height
		v.machine.Ordered(base.Cut)
	}
}

// deliver hands the next committed blocks to the executor, as far as their batches are known.
func (v *Vouching) deliver(now protocols.Time, st *Step) {
	for len(v.waiting) > 0 && v.ready(now, st, v.waiting[0]) {
		d := v.waiting[0]
		v.waiting, v.running = v.waiting[1:], append(v.running, d)
		st.Emit(Output{Deliver: d})
	}
}

// ready reports whether a block can be executed, and completes its delivery.
func (v *Vouching) ready(now protocols.Time, st *Step, d *bdt.Delivery) bool {
	m := v.machine
	certified := v.core.certify.HasCertificate(d.Block.Height)
	bad, complete, trusted := []lanes.Ref(nil), true, false
	for _, r := range d.Refs {
		count := int(v.core.bdt.Batches().Header(r).Count)
		switch known := m.Knows(r, count); {
		case known.Good():
		case known == vouch.Bad:
			bad = append(bad, r)
		case certified:
			v.absorb(st, m.Certified(r, count))
			trusted = true
		default:
			v.absorb(st, m.Needed(now, r, count))
			complete = false
		}
	}
	d.Bad, d.ByHeader = bad, trusted
	return complete
}

// executed records that the next block was executed, with its bad batches.
func (v *Vouching) executed(now protocols.Time, st *Step, bad []ledger.BatchID) {
	for i := range bad {
		x := &bad[i]
		r := lanes.Ref{Lane: protocols.Index(x.Lane), Tip: lanes.Tip{Seq: x.Seq, Digest: x.Digest}}
		v.machine.FoundBad(r)
		v.badLane(st, r.Lane, r.Tip.Seq)
	}
	d := v.running[0]
	v.running = slices.Delete(v.running, 0, 1)
	v.absorb(st, v.machine.Executed(now, d.Block.Cut))
}

// badLane ends acknowledgements and proposals of a lane with a bad batch.
func (v *Vouching) badLane(st *Step, lane protocols.Index, seq uint64) {
	v.machine.BadLane(lane)
	v.core.fromBDT(st, v.core.bdt.Batches().Bad(lane, seq))
}

func (v *Vouching) absorb(st *Step, child vouch.Step) {
	for _, o := range protocols.Absorb(st, child) {
		switch {
		case o.Bad != nil:
			v.badLane(st, o.Bad.Lane, o.Bad.Tip.Seq)
		case o.Check != nil:
			st.Emit(Output{Check: o.Check})
		case o.Drop != nil:
			st.Emit(Output{Drop: o.Drop})
		}
	}
}

// idle reports whether the replica has nothing to order or to execute.
func (v *Vouching) idle() bool {
	return !v.core.bdt.Pending() && len(v.waiting) == 0 && len(v.running) == 0
}
