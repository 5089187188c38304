package workload

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// submissions has the transactions that clients have brought to replicas. Clients trust an honest replica: they bring an
// accepted transaction to no other replica, and its acceptance is a promise that is checked. They bring a transaction
// again if a crash came before the answer, and, as long as the run is active, if it waited for an input without success.
// With [Config.Once] they do not.
//
// A client waits for answers and for the end of a connection. It does not ask a replica that has not answered.
type submissions struct {
	w     *Workload
	open  []*submission
	spare []*submission // memory for open
}

// submission is one transaction brought to one replica.
type submission struct {
	n        *machine.Machine
	life     int // of the replica
	tx       *ledger.Tx
	logged   *admission.Request // for it to be accepted
	final    *admission.Request
	answered bool           // one of the requests has an answer that was not looked at
	pause    time.Duration  // from a refusal until it is brought again
	again    protocols.Time // zero, or the time at which it is brought again after a refusal
}

const (
	pollEvery = 2 * time.Second
	// A transaction that was refused, and may settle later, is brought again: at first at once, then after the first pause,
	// then after a pause twice as long as the one before, up to the longest.
	firstPause   = pollEvery
	longestPause = time.Minute
)

// bring takes a transaction to a replica.
func (x *submissions) bring(n *machine.Machine, tx *ledger.Tx) { x.bringAfter(n, tx, 0) }

// bringAfter takes a transaction to a replica. If it is refused, it is brought again after a pause.
func (x *submissions) bringAfter(n *machine.Machine, tx *ledger.Tx, pause time.Duration) {
	if !n.Alive() {
		return
	}
	id := tx.ID()
	from := admission.Party(fmt.Sprintf("client %d", id[0]%3))
	sub := &submission{n: n, life: n.Life(), tx: tx, pause: pause}
	clients := n.Clients()
	request := func(stage admission.Stage) *admission.Request {
		r := admission.NewRequest(from, []ledger.TxID{id}, stage, true, x.w.Now(), func() { x.answer(sub, stage) })
		clients.Open(r)
		return r
	}
	sub.logged = request(admission.Logged)
	sub.final = request(admission.Final)
	x.open = append(x.open, sub)
	verified, err := ledger.VerifyTx(x.w.Scheme, x.w.ID, tx.Encode())
	if err != nil {
		panic(err) // clients sign their transactions
	}
	n.Do(func() {
		if err := clients.Bring(sub.logged, verified); err != nil {
			panic(err) // a store in memory failed
		}
	})
}

// answer is called when a replica has an answer.
func (x *submissions) answer(sub *submission, stage admission.Stage) {
	sub.answered = true
	r := sub.logged
	if stage == admission.Final {
		r = sub.final
	}
	if r == nil {
		return // while it is entered: the answer to the other one says it all
	}
	n, id := sub.n, sub.tx.ID()
	p := r.Progress(id)
	x.w.Shards[n.Shard()].Trace.Add(x.w.Now(), "answer tx", int(n.ID()), -1, id[:], answer(p))
	if !n.Honest() {
		return
	}
	switch {
	case p.Refusal != nil && p.Refusal.Final():
		x.w.checks.Refused(n, id, p.Refusal.Reason)
	case p.Logged:
		x.w.checks.Accepted(n, sub.tx)
	}
}

// answer describes the answer of a replica.
type answer admission.Progress

func (p answer) String() string {
	switch {
	case p.Refusal != nil:
		return p.Refusal.Error()
	case p.Receipt.Height > 0:
		return fmt.Sprintf("%v at %d", p.Receipt.Verdict, p.Receipt.Height)
	case p.Logged:
		return "accepted"
	}
	return "waiting"
}

// poll looks at the transactions that have an answer or whose replica has crashed, from time to time. It asks honest
// replicas for the transactions that they accepted.
func (x *submissions) poll() {
	x.w.After(pollEvery, func() {
		for _, s := range x.w.Shards {
			for _, n := range s.Machines {
				if n.Alive() && n.Honest() {
					x.w.checks.Review(n)
				}
			}
		}
		open := x.open
		x.open, x.spare = x.spare[:0], nil
		kept := open[:0]
		for _, sub := range open {
			if x.review(sub) {
				kept = append(kept, sub)
			}
		}
		clear(open[len(kept):])
		x.open, x.spare = append(kept, x.open...), x.open
		x.poll()
	})
}

// review reports whether a submission stays open. It brings one again that had no success, and removes one that has its
// answer.
func (x *submissions) review(sub *submission) (keep bool) {
	n, id := sub.n, sub.tx.ID()
	same := n.Alive() && n.Life() == sub.life
	switch {
	case same && !sub.answered:
		return true
	case same && sub.again == 0:
		switch ended, without := sub.state(); {
		case ended:
			return false
		case !without || waitsAt(n, id):
			sub.answered = false
			return true
		}
		n.Clients().Close(sub.logged)
		n.Clients().Close(sub.final)
		sub.again = x.w.Now().Add(sub.pause)
	}
	if x.w.cfg.Once {
		return false
	}
	var honest []*machine.Machine
	if n.Dead() && !x.w.checks.Held(id) {
		honest = x.w.Shards[n.Shard()].Honest()
	}
	switch {
	case len(honest) > 0:
		n = honest[x.w.Rand.IntN(len(honest))]
	case !n.Alive():
		return true
	case same && x.w.Active && x.w.Now() < sub.again:
		return true
	}
	if (x.w.Active || !same) && !x.w.checks.Holds(n, id) {
		x.bringAfter(n, sub.tx, min(max(firstPause, 2*sub.pause), longestPause))
	}
	return false
}

// state reports whether a submission has its final answer, and whether its replica has not accepted it: it was refused,
// or waits for an input.
func (sub *submission) state() (ended, without bool) {
	first, last := sub.logged.Progress(sub.tx.ID()), sub.final.Progress(sub.tx.ID())
	return first.Ended() || last.Ended(), first.Refusal != nil || last.Refusal != nil || first.Waiting || last.Waiting
}

// waitsAt reports whether a transaction waits at a replica, for a batch or for an input.
func waitsAt(n *machine.Machine, id ledger.TxID) bool {
	p, ok := n.Find(id)
	return ok && p.Refusal == nil && p.Receipt.Height == 0
}
