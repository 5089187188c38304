package mvba

import (
	"bytes"
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// fail records the first violation.
func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// over reports whether every honest replica has decided.
func (w *world) over() bool {
	for _, r := range w.replicas {
		if r != nil && r.decided == nil {
			return false
		}
	}
	return true
}

// decide checks the output of an honest replica.
func (w *world) decide(i protocols.Index, d Decided) {
	r := w.replicas[i]
	w.rounds = max(w.rounds, d.Decision.Round)
	if err := validity(d.Value); err != nil {
		w.fail("replica %d decides the invalid value %q", i, d.Value)
	}
	if DigestOf(d.Value) != d.Decision.Digest {
		w.fail("replica %d decides another value than that of its certificate", i)
	}
	if w.value == nil {
		w.value = d.Value
	}
	if !bytes.Equal(w.value, d.Value) {
		w.fail("replica %d decides %q, another replica decided %q", i, d.Value, w.value)
	}
	r.decided = &d
}

// checkSigned checks a message of an honest replica: for each place it signs only one statement.
func (w *world) checkSigned(i protocols.Index, msg protocols.Message) {
	if w.tap != nil {
		w.tap(i, msg)
	}
	w.know.learn(i, msg)
	var place, statement string
	switch m := msg.(type) {
	case *Proposal:
		place, statement = fmt.Sprintf("proposal %d", m.Round), m.Digest.String()
	case *Echo:
		place, statement = fmt.Sprintf("echo %d of %d", m.Round, m.Broadcaster), m.Digest.String()
	case *Accept:
		place, statement = fmt.Sprintf("accept %d of %d", m.Round, m.Broadcaster), m.Digest.String()
	case *PreVote:
		place, statement = fmt.Sprintf("pre-vote %d", m.Round), fmt.Sprint(m.Yes, m.Digest)
	case *Vote:
		place, statement = fmt.Sprintf("vote %d", m.Round), fmt.Sprint(m.Yes, m.Digest, m.claim())
	case *coin.Release:
		if done := w.know.complete(m.Name.Round); done < w.committee.Quorum() {
			w.fail("replica %d releases its share of round %d when %d broadcasts are complete", i, m.Name.Round, done)
		}
		return
	default:
		return
	}
	w.checkOrder(i, msg)
	place = placeOf(i, place)
	if before, ok := w.signed[place]; ok && before != statement {
		w.fail("replica %s: signs %s after %s", place, statement, before)
	}
	w.signed[place] = statement
}

func placeOf(i protocols.Index, name string) string { return fmt.Sprintf("%d: %s", i, name) }

// checkOrder checks the order in which an honest replica signs. It signs nothing in a round that it left, nothing in the
// broadcasts of a round after its pre-vote, and no "no" against a broadcast that it accepted.
func (w *world) checkOrder(i protocols.Index, msg protocols.Message) {
	r := w.replicas[i]
	n := roundOf(msg)
	if n < r.reached {
		w.fail("replica %d signs a %T in round %d after it reached %d", i, msg, n, r.reached)
	}
	if n > r.reached {
		r.reached, r.preVoted, r.accepts = n, false, protocols.Set{}
	}
	switch m := msg.(type) {
	case *Echo:
		if r.preVoted && w.signed[placeOf(i, fmt.Sprintf("echo %d of %d", n, m.Broadcaster))] == "" {
			w.fail("replica %d signs a broadcast in round %d after its pre-vote", i, n)
		}
	case *Accept:
		if r.preVoted && !r.accepts.Has(m.Broadcaster) {
			w.fail("replica %d accepts a broadcast in round %d after its pre-vote", i, n)
		}
		r.accepts.Add(m.Broadcaster)
	case *PreVote:
		r.preVoted = true
		if !m.Yes && r.accepts.Has(m.Leader) {
			w.fail("replica %d pre-votes no on the broadcast of %d in round %d, which it accepted", i, m.Leader, n)
		}
	case *Vote:
		if !m.Yes && r.accepts.Has(m.Leader) {
			w.fail("replica %d votes no on the broadcast of %d in round %d, which it accepted", i, m.Leader, n)
		}
	}
}

// checkShown checks the certificates in a message for signatures of the receiver: the receiver lacks none of them, and a
// replica with an empty store lacks all.
func (w *world) checkShown(e *envelope) {
	if w.check(e.from, e.msg) != nil {
		return
	}
	empty, err := New(w.replicas[e.to].cfg)
	if err != nil {
		w.fail("new %d: %v", e.to, err)
		return
	}
	for _, x := range SignedBy(e.to, e.from, e.msg) {
		w.checkHolds(e.to, &x)
		if !empty.Lacks(&x) {
			w.fail("replica %d with an empty store does not lack %+v", e.to, x)
		}
		if w.shown == nil {
			w.shown = make(map[Phase]int)
		}
		w.shown[x.Phase]++
	}
}

// checkHolds checks that a replica has the record of a statement that it signed, now and after a restart.
func (w *world) checkHolds(i protocols.Index, x *Signed) {
	r := w.replicas[i]
	if r.machine.Lacks(x) {
		w.fail("replica %d lacks the record of its own signature: %+v", i, *x)
	}
	if w.order%16 != 0 {
		return
	}
	if m, err := Restore(r.cfg, stored(r.store)); err != nil || m.Lacks(x) {
		w.fail("after a restart replica %d lacks the record of its own signature: %+v, %v", i, *x, err)
	}
}
