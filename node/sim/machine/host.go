package machine

import (
	"slices"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/intake"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/shard/settlement"
)

// host is the [driver.Host] of one life of a node.
type host struct {
	*Machine
	life int
}

var _ driver.Host = host{}

// up reports whether this life has not ended.
func (h host) up() bool { return h.alive && h.Machine.life == h.life }

// Clock implements [driver.Host].
func (h host) Clock() (protocols.Time, time.Duration) { return h.s.Now(), h.skew }

// Write implements [driver.Host].
func (h host) Write(action driver.Action) {
	if !h.up() {
		return // the driver continues for a moment after a crash
	}
	n := h.Machine
	n.disk.unwritten = append(n.disk.unwritten, action)
	a := &n.disk.unwritten[len(n.disk.unwritten)-1] // the parameter would be copied to the heap
	n.s.check.Stepped(n, &a.Step)
	if n.resending {
		n.s.check.Resent(n, &a.Step)
	}
	samples := !slices.ContainsFunc(a.Out, func(o replica.Output) bool { return o.Check == nil }) // an idle replica has some to check
	if len(a.Persist)+len(a.Reads) > 0 || !samples {
		n.onlyPings = false
	}
	for i := range a.Sends {
		n.onlyPings = n.onlyPings && ofPings(a.Sends[i].Message)
	}
	if f := n.s.Config.Mutation.Persist; f != nil {
		a.Persist = f(a.Persist)
	}
	if n.s.Config.Mutation.SendEarly {
		n.driver.Send(a)
		a.Sends, a.Reads = nil, nil
	}
	n.disk.write()
}

// Execute implements [driver.Host].
func (h host) Execute(d *bdt.Delivery) {
	h.executor.deliveries = append(h.executor.deliveries, d)
	h.executor.execute()
}

// Inbound implements [driver.Host].
func (h host) Inbound(x replica.Verified) { h.inbound = append(h.inbound, x) }

// Wake implements [driver.Host].
func (h host) Wake() { h.due.turn = true }

// Attend implements [driver.Host].
func (h host) Attend() { h.due.attend = true }

// Serve implements [driver.Host].
func (h host) Serve() { h.due.serve = true }

// Publish implements [driver.Host].
func (h host) Publish() { h.due.publish = true }

// Verify implements [driver.Host].
func (h host) Verify() { h.checker.check() }

// Misbehaved implements [driver.Log].
func (h host) Misbehaved(f protocols.Fault) { h.s.check.Blamed(h.Machine, f) }

// RunsTwice implements [driver.Log].
func (h host) RunsTwice(*replica.Twin) {}

// BrokeRules implements [driver.Log].
func (h host) BrokeRules(e *settlement.Evidence) {
	h.s.Trace.Add(h.s.Now(), "evidence", int(h.id), int(e.Source()), nil, e)
	h.s.checks.Accused(h.Machine, e)
}

// Frozen implements [driver.Log].
func (h host) Frozen(*ledger.Freeze, uint64) {}

// OverBudget implements [driver.Log].
func (h host) OverBudget(from protocols.Index, x intake.Exceeding) { h.exceeded[from] = x.Frames }
