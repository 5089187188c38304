// Package workload has the clients of a simulated run: they make valid and invalid transactions, submit them to one
// replica or to several, and read the answers.
package workload

import (
	"bdtnode/ledger"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
)

// Config is the load of a run.
type Config struct {
	Seed   uint64
	Load   float64  // transactions a second of all clients together
	Bursts bool     // in a single shard load comes in bursts with pauses between them
	Log    bool     // clients append payloads, in the only shard
	Once   bool     // clients submit each transaction once, so that no answer depends on a resubmission
	Coins  []uint32 // of each account of each shard at genesis; 0 is the usual number
}

// Checks has the checks of the answers that clients get.
type Checks interface {
	// Made records a transaction that clients made, in a network of several shards.
	Made(tx *ledger.Tx)
	// Never records a transaction of a shard with an input that is never created.
	Never(shard uint16, id ledger.TxID)
	// Wanted records a transaction that must have an answer, whether a replica accepts it or not.
	Wanted(id ledger.TxID)
	// Accepted records that a replica accepted a transaction, and Refused that it answered that the transaction never
	// settles.
	Accepted(n observe.Replica, tx *ledger.Tx)
	Refused(n observe.Replica, id ledger.TxID, reason ledger.Reason)
	// Told records the answer of a replica about a transaction in another shard: that it has a receipt in a block there, and
	// whether it has settled with it.
	Told(n observe.Replica, shard uint16, id ledger.TxID, settled bool, height uint64)
	// Holds reports whether a replica has accepted a transaction, and Held whether some replica has.
	Holds(n observe.Replica, id ledger.TxID) bool
	Held(id ledger.TxID) bool
	// Review asks a running honest replica for the transactions that it accepted.
	Review(n observe.Replica)
	PayloadChecks
}

// PayloadChecks has the checks of a log.
type PayloadChecks interface {
	// Offered records that clients brought a payload to a replica: the log may have it once for each time, or once in all
	// if it has an id.
	Offered(payload string, identified bool)
	// Kept records that a replica accepted a payload: the log must have it.
	Kept(n observe.Replica, payload string)
	// Placed records that a replica answered with the place of a payload.
	Placed(n observe.Replica, payload string, at ledger.LogPlace)
}

// Workload is the clients of a run.
type Workload struct {
	*machine.System
	cfg         Config
	checks      Checks
	clients     []*clients // of each shard
	across      *acrossShards
	submissions submissions
	appends     appending
}

// New is the clients of a network whose machines are not built yet.
func New(sys *machine.System, cfg Config) *Workload {
	w := &Workload{System: sys, cfg: cfg}
	w.submissions.w, w.across = w, &acrossShards{w: w}
	for _, s := range sys.Shards {
		c := &clients{w: w, s: s}
		w.clients = append(w.clients, c)
		s.Junk = c.junk
	}
	return w
}

// SetChecks sets the checks of the answers.
func (w *Workload) SetChecks(c Checks) { w.checks = c }

// Allocations is the coins of all accounts at genesis.
func (w *Workload) Allocations() []ledger.Allocation {
	var all []ledger.Allocation
	for _, c := range w.clients {
		all = append(all, c.allocations()...)
	}
	return all
}

// Start begins the load, until some time. The machines must have started.
func (w *Workload) Start(until protocols.Time) {
	if w.cfg.Log {
		w.appends = appending{w: w, s: w.Shards[0]}
		w.appends.load(w.cfg.Load, until)
	} else if len(w.Shards) == 1 {
		w.clients[0].load(w.cfg.Load, until)
	} else {
		w.across.load(w.cfg.Load, until)
		newQuestions(w).repeat(until)
	}
}

// Last makes one payment inside each shard of several, so that block time advances in it.
func (w *Workload) Last() { w.across.last() }

// PayInGroups submits a payment in each group of nodes of a shard, to one node of it, while there are coins.
func (w *Workload) PayInGroups(shard uint16, groups []int) { w.clients[shard].pay(groups) }

// Submit takes a transaction to a replica, and reads its answers.
func (w *Workload) Submit(n *machine.Machine, tx *ledger.Tx) { w.submissions.bring(n, tx) }

// Payment is a valid payment inside a shard, nil while there are no coins.
func (w *Workload) Payment(shard uint16) *ledger.Tx {
	c := w.clients[shard]
	if len(c.fresh) == 0 {
		return nil
	}
	x := c.fresh[0]
	c.fresh = c.fresh[1:]
	return c.spend(x, c.s.Now().Add(Lifetime).Millis(), false)
}

// Recent is a transaction of several shards that was made lately, nil if there is none.
func (w *Workload) Recent() *ledger.Tx {
	p := w.across
	if len(p.sent) == 0 {
		return nil
	}
	return p.sent[max(0, len(p.sent)-1-w.Rand.IntN(10))]
}
