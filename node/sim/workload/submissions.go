package workload

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/sim/machine"
)

// submissions has the transactions that clients have brought to replicas. Clients trust an honest replica: they bring an
// accepted transaction to no other replica, and its acceptance is a promise that is checked. They bring a transaction
// again if a crash came before the answer, and, as long as the run is active, if it waited for an input without success.
// With [Config.Once] they do not.
type submissions struct {
	w    *Workload
	open []*submission
}

// submission is one transaction brought to one replica.
type submission struct {
	n      *machine.Machine
	life   int // of the replica
	tx     *ledger.Tx
	logged *admission.Request // for it to be accepted
	final  *admission.Request
}

// bring takes a transaction to a replica.
func (x *submissions) bring(n *machine.Machine, tx *ledger.Tx) {
	if !n.Alive() {
		return
	}
	id := tx.ID()
	from := admission.Party(fmt.Sprintf("client %d", id[0]%3))
	sub := &submission{n: n, life: n.Life(), tx: tx}
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
	r := sub.logged
	if stage == admission.Final {
		r = sub.final
	}
	if r == nil {
		return // while it is entered: the answer to the other one says it all
	}
	n, id := sub.n, sub.tx.ID()
	p := r.Progress(id)
	x.w.Shards[n.Shard()].Trace.Add(x.w.Now(), "answer tx", int(n.ID()), -1, id[:], answerOf(p))
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

func answerOf(p admission.Progress) string {
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

// poll asks for the state of all transactions from time to time.
func (x *submissions) poll() {
	x.w.After(2*time.Second, func() {
		for _, s := range x.w.Shards {
			for _, n := range s.Machines {
				if n.Alive() && n.Honest() {
					x.w.checks.Review(n)
				}
			}
		}
		open := x.open
		x.open = nil
		for _, sub := range open {
			x.review(sub)
		}
		x.poll()
	})
}

// review keeps a submission that is open, brings one again that had no success, and removes one that has its answer.
func (x *submissions) review(sub *submission) {
	n, id := sub.n, sub.tx.ID()
	same := n.Alive() && n.Life() == sub.life
	if same {
		switch p := sub.final.Progress(id); {
		case p.Ended():
			return
		case p.Refusal == nil && !sub.logged.Progress(id).Waiting || p.Waiting || waitsAt(n, id):
			x.open = append(x.open, sub)
			return
		}
		n.Clients().Close(sub.logged)
		n.Clients().Close(sub.final)
	}
	if x.w.cfg.Once {
		return
	}
	honest := x.w.Shards[n.Shard()].Honest()
	switch {
	case n.Dead() && !x.w.checks.Held(id) && len(honest) > 0:
		n = honest[x.w.Rand.IntN(len(honest))]
	case !n.Alive():
		x.open = append(x.open, sub)
		return
	}
	if (x.w.Active || !same) && !x.w.checks.Holds(n, id) {
		x.bring(n, sub.tx)
	}
}

// waitsAt reports whether a transaction waits at a replica, for a batch or for an input.
func waitsAt(n *machine.Machine, id ledger.TxID) bool {
	p, ok := n.Find(id)
	return ok && p.Refusal == nil && p.Receipt.Height == 0
}
