package check

import (
	"fmt"

	"bdtnode/ledger"
	"bdtnode/node/sim/observe"
)

// answers: each transaction that a replica accepted has a final answer in the end (design §2.8).
type answers struct {
	w        *Network
	accepted map[ledger.TxID]*ledger.Tx
	order    []ledger.TxID // of accepted
	promises map[ledger.TxID][]observe.Replica
	refused  map[ledger.TxID]ledger.Reason // why it never settles
	told     int                           // receipts in other shards
	wanted   []ledger.TxID                 // that must have an answer, whether a replica has promised one or not
}

func newAnswers(w *Network) answers {
	return answers{
		w: w, accepted: make(map[ledger.TxID]*ledger.Tx), promises: make(map[ledger.TxID][]observe.Replica), refused: make(map[ledger.TxID]ledger.Reason),
	}
}

// Made records a transaction of a client that involves several shards.
func (w *Network) Made(tx *ledger.Tx) { w.settling.txs[tx.ID()] = tx }

// Never records a transaction of a shard with an input that is never created.
func (w *Network) Never(shard uint16, id ledger.TxID) { w.Shards[shard].promises.never[id] = true }

// Wanted records a transaction that must have an answer, whether a replica accepts it or not.
func (w *Network) Wanted(id ledger.TxID) { w.answers.wanted = append(w.answers.wanted, id) }

// Refused records that an honest replica answered that a transaction never settles.
func (w *Network) Refused(n observe.Replica, id ledger.TxID, reason ledger.Reason) {
	w.of(n).promises.refused(n, id, reason)
}

// Accepted records that an honest replica accepted a transaction.
func (w *Network) Accepted(n observe.Replica, tx *ledger.Tx) {
	id, a := tx.ID(), &w.answers
	if a.accepted[id] == nil {
		a.accepted[id] = tx
		a.order = append(a.order, id)
	}
	if w.Holds(n, id) {
		return
	}
	a.promises[id] = append(a.promises[id], n)
	w.of(n).promises.accepted(n, tx)
}

// Told records the answer of an honest replica about a transaction in another shard.
func (w *Network) Told(n observe.Replica, shard uint16, id ledger.TxID, settled bool, height uint64) {
	w.answers.told++
	w.Shards[shard].promises.told(n, id, settled, height)
}

// Holds reports whether a replica has accepted a transaction.
func (w *Network) Holds(n observe.Replica, id ledger.TxID) bool {
	for _, m := range w.answers.promises[id] {
		if m == n {
			return true
		}
	}
	return false
}

// Held reports whether some replica has accepted a transaction.
func (w *Network) Held(id ledger.TxID) bool { return len(w.answers.promises[id]) > 0 }

// Review asks a running honest replica for the transactions that it accepted.
func (w *Network) Review(n observe.Replica) { w.of(n).promises.kept(n) }

// answered reports whether clients have an answer from some shard: the transaction is on its way to its end, or never
// is.
func (a *answers) answered(id ledger.TxID) bool {
	if _, refused := a.refused[id]; refused {
		return true
	}
	for _, s := range a.w.Shards {
		if _, spent := s.durability.spent[id]; spent {
			return true
		}
		if _, ended := s.durability.answers[id]; ended {
			return true
		}
	}
	return false
}

// lacking names an accepted transaction without an answer, empty if there is none. One with a missing input waits for
// its expiry.
func (a *answers) lacking() string {
	for _, id := range a.wanted {
		if !a.answered(id) {
			return fmt.Sprintf("transaction %s has no answer", id)
		}
	}
	for _, id := range a.order {
		if a.answered(id) {
			continue
		}
		for _, n := range a.promises[id] {
			if n.Dead() {
				continue
			}
			if refusal := n.Precheck(a.accepted[id]); refusal == nil || refusal.Final() {
				return fmt.Sprintf("transaction %s has no answer; replica %d would say %v", id, n.ID(), refusal)
			}
		}
	}
	return ""
}
