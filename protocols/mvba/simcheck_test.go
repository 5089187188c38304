package mvba

import (
	"bytes"
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// fail keeps the first violation.
func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *world) over() bool {
	for _, r := range w.replicas {
		if r != nil && r.decided == nil {
			return false
		}
	}
	return true
}

func (w *world) decide(i protocols.Index, d Decided) {
	r := w.replicas[i]
	w.rounds = max(w.rounds, d.Decision.Round)
	if err := validity(d.Value); err != nil {
		w.fail("replica %d decides the invalid value %q", i, d.Value)
	}
	if DigestOf(d.Value) != d.Decision.Digest {
		w.fail("replica %d decides a value that is not its certificate's", i)
	}
	if w.value == nil {
		w.value = d.Value
	}
	if !bytes.Equal(w.value, d.Value) {
		w.fail("replica %d decides %q where another decided %q", i, d.Value, w.value)
	}
	r.decided = &d
}

// notice checks what an honest replica sends: never two different things signed in one place.
func (w *world) notice(i protocols.Index, msg protocols.Message) {
	if w.tap != nil {
		w.tap(i, msg)
	}
	w.know.learn(i, msg)
	var place, what string
	switch m := msg.(type) {
	case *Proposal:
		place, what = fmt.Sprintf("proposal %d", m.Round), m.Digest.String()
	case *Echo:
		place, what = fmt.Sprintf("echo %d of %d", m.Round, m.Broadcaster), m.Digest.String()
	case *Accept:
		place, what = fmt.Sprintf("accept %d of %d", m.Round, m.Broadcaster), m.Digest.String()
	case *PreVote:
		place, what = fmt.Sprintf("pre-vote %d", m.Round), fmt.Sprint(m.Yes, m.Digest)
	case *Vote:
		place, what = fmt.Sprintf("vote %d", m.Round), fmt.Sprint(m.Yes, m.Digest, m.claim())
	case *coin.Release:
		if done := w.know.complete(m.Name.Round); done < w.committee.Quorum() {
			w.fail("replica %d releases its share of round %d when %d broadcasts are complete", i, m.Name.Round, done)
		}
		return
	default:
		return
	}
	w.inOrder(i, msg)
	place = placeOf(i, place)
	if before, ok := w.signed[place]; ok && before != what {
		w.fail("replica %s: signs %s after %s", place, what, before)
	}
	w.signed[place] = what
}

func placeOf(i protocols.Index, what string) string { return fmt.Sprintf("%d: %s", i, what) }

// inOrder checks the order in which an honest replica signs: nothing in a round it left, nothing in a round's
// broadcasts after its pre-vote, and no against no broadcast that it accepted.
func (w *world) inOrder(i protocols.Index, msg protocols.Message) {
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

// witnessed checks the certificates in a message for the receiver's own signatures: it lacks none, and a replica with an
// empty store lacks all.
func (w *world) witnessed(e *envelope) {
	if w.check(e.from, e.msg) != nil {
		return
	}
	empty, err := New(w.replicas[e.to].cfg)
	if err != nil {
		w.fail("new %d: %v", e.to, err)
		return
	}
	for _, x := range SignedBy(e.to, e.from, e.msg) {
		w.holds(e.to, &x)
		if !empty.Lacks(&x) {
			w.fail("replica %d with an empty store does not lack %+v", e.to, x)
		}
		if w.shown == nil {
			w.shown = make(map[Phase]int)
		}
		w.shown[x.Phase]++
	}
}

// holds checks that a replica has what it signed, now and after a restart.
func (w *world) holds(i protocols.Index, x *Signed) {
	r := w.replicas[i]
	if r.machine.Lacks(x) {
		w.fail("replica %d lacks what it signed: %+v", i, *x)
	}
	if w.order%16 != 0 {
		return
	}
	if m, err := Restore(r.cfg, stored(r.store)); err != nil || m.Lacks(x) {
		w.fail("replica %d lacks after a restart what it signed: %+v, %v", i, *x, err)
	}
}
