package sim

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
)

// submissions has the transactions that clients have brought to replicas, and the answers. Clients trust an honest
// replica: they bring an accepted transaction to no other replica, and its acceptance is a promise that is checked.
// They bring a transaction again if a crash came before the answer, and, as long as the run is active, if it waited for
// an input without success. With [Config.Once] they do not.
type submissions struct {
	w        *world
	open     []*submission
	accepted map[ledger.TxID]*ledger.Tx
	order    []ledger.TxID // of accepted
	promises map[ledger.TxID][]*node
	told     map[ledger.TxID]ledger.Reason // why it never settles
	wanted   []ledger.TxID                 // that must have an answer, whether a replica has promised one or not
}

// submission is one transaction brought to one replica.
type submission struct {
	n      *node
	life   int // of the replica
	tx     *ledger.Tx
	logged *admission.Request // for it to be accepted
	final  *admission.Request
}

func newSubmissions(w *world) *submissions {
	return &submissions{
		w: w, accepted: make(map[ledger.TxID]*ledger.Tx), promises: make(map[ledger.TxID][]*node), told: make(map[ledger.TxID]ledger.Reason),
	}
}

// bring takes a transaction to a replica.
func (x *submissions) bring(n *node, tx *ledger.Tx) {
	if !n.alive {
		return
	}
	verified, err := ledger.VerifyTx(n.s.scheme, n.s.committee.Network(), tx.Encode())
	must(err) // the clients of a simulation are honest
	id := tx.ID()
	from := admission.Party(fmt.Sprintf("client %d", id[0]%3))
	sub := &submission{n: n, life: n.life, tx: tx}
	clients := n.driver.Clients()
	request := func(stage admission.Stage) *admission.Request {
		r := admission.NewRequest(from, []ledger.TxID{id}, stage, true, x.w.now, func() { x.hear(sub, stage) })
		clients.Open(r)
		return r
	}
	sub.logged = request(admission.Logged)
	sub.final = request(admission.Final)
	x.open = append(x.open, sub)
	n.s.guard(n, func() {
		n.do(func() { must(clients.Bring(sub.logged, verified)) })
	})
}

// hear is called when a replica has an answer.
func (x *submissions) hear(sub *submission, stage admission.Stage) {
	r := sub.logged
	if stage == admission.Final {
		r = sub.final
	}
	if r == nil {
		return // while it is entered: the answer to the other one says it all
	}
	n, id := sub.n, sub.tx.ID()
	p := r.Progress(id)
	n.s.trace.add(x.w.now, "answer tx", int(n.id), -1, id[:], answerOf(p))
	if n.adversary != nil {
		return
	}
	switch {
	case p.Refusal != nil && p.Refusal.Final():
		n.s.check.promises.refused(n, id, p.Refusal.Reason)
		x.told[id], n.s.clients.doomed[id] = p.Refusal.Reason, p.Refusal.Reason
	case p.Logged:
		x.promised(n, sub.tx)
	}
}

func (x *submissions) promised(n *node, tx *ledger.Tx) {
	id := tx.ID()
	if x.accepted[id] == nil {
		x.accepted[id] = tx
		x.order = append(x.order, id)
	}
	for _, m := range x.promises[id] {
		if m == n {
			return
		}
	}
	x.promises[id] = append(x.promises[id], n)
	n.promised = append(n.promised, tx)
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
	x.w.after(2*time.Second, func() {
		for _, s := range x.w.shards {
			for _, n := range s.nodes {
				if n.alive && n.adversary == nil {
					s.check.promises.kept(n)
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
	same := n.alive && n.life == sub.life
	if same {
		switch p := sub.final.Progress(id); {
		case p.Ended():
			return
		case p.Refusal == nil && !sub.logged.Progress(id).Waiting || p.Waiting || waitsAt(n, id):
			x.open = append(x.open, sub)
			return
		}
		n.driver.Clients().Close(sub.logged)
		n.driver.Clients().Close(sub.final)
	}
	if x.w.cfg.Once {
		return
	}
	switch {
	case n.dead && len(x.promises[id]) == 0 && len(n.s.honest()) > 0:
		n = n.s.honest()[x.w.rng.IntN(len(n.s.honest()))]
	case !n.alive:
		x.open = append(x.open, sub)
		return
	}
	if (x.w.active || !same) && !x.holds(n, id) {
		x.bring(n, sub.tx)
	}
}

// waitsAt reports whether a transaction waits at a replica, for a batch or for an input.
func waitsAt(n *node, id ledger.TxID) bool {
	p, ok := n.find(id)
	return ok && p.Refusal == nil && p.Receipt.Height == 0
}

// holds reports whether a replica has accepted a transaction.
func (x *submissions) holds(n *node, id ledger.TxID) bool {
	for _, m := range x.promises[id] {
		if m == n {
			return true
		}
	}
	return false
}

// answered reports whether clients have an answer from some shard: that it is on its way to its end, or never is.
func (x *submissions) answered(id ledger.TxID) bool {
	if _, told := x.told[id]; told {
		return true
	}
	for _, s := range x.w.shards {
		if _, spent := s.check.durability.spent[id]; spent {
			return true
		}
		if _, ended := s.check.durability.answers[id]; ended {
			return true
		}
	}
	return false
}

// lacking says which accepted transaction has no answer, if there is one. One whose input is not there waits for its
// expiry.
func (x *submissions) lacking() string {
	for _, id := range x.wanted {
		if !x.answered(id) {
			return fmt.Sprintf("transaction %s has no answer", id)
		}
	}
	for _, id := range x.order {
		if x.answered(id) {
			continue
		}
		for _, n := range x.promises[id] {
			if n.dead {
				continue
			}
			tip, _, _ := n.state.Tip()
			refusal, err := n.state.Precheck(x.accepted[id], tip.TimeMS)
			if err != nil {
				panic(err)
			}
			if refusal == nil || refusal.Final() {
				return fmt.Sprintf("transaction %s has no answer; replica %d would say %v", id, n.id, refusal)
			}
		}
	}
	return ""
}
