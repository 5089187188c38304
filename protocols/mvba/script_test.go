package mvba

import (
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// The tests of this file deliver the messages of an instance one by one, as the test decides.

// scripted makes a world of 4 replicas in which replica d is Byzantine and the coin elects d in round 1, the honest a in
// round 2, and not a in round 3.
func scripted(t testing.TB) (w *world, a, b, c, d protocols.Index) {
	t.Helper()
	for seed := uint64(1); ; seed++ {
		w, err := newWorld(plan{n: 4, seed: seed, byzantine: 1, strategy: "silent", schedule: "even"})
		if err != nil {
			t.Fatal(err)
		}
		d := w.byz()[0]
		a := w.leader(t, 2)
		if w.leader(t, 1) != d || a == d || w.leader(t, 3) == a {
			continue
		}
		var rest []protocols.Index
		for i := range protocols.Index(4) {
			if i != a && i != d {
				rest = append(rest, i)
			}
			if i != d {
				w.boot(i)
				w.input(i)
			}
		}
		return w, a, rest[0], rest[1], d
	}
}

// leader is the replica that the coin of a round will elect. Only a test can know it early, since it holds all shares.
func (w *world) leader(t testing.TB, round uint32) protocols.Index {
	t.Helper()
	statement := At{theInstance, round}.toss().Statement(w.committee)
	var all coin.Shares
	for i := range protocols.Index(w.committee.WeakQuorum()) {
		all.Holders.Add(i)
		all.Shares = append(all.Shares, w.holders[i].Share(statement))
	}
	v, err := w.coin.Combine(statement, &all)
	if err != nil {
		t.Fatal(err)
	}
	return v.Leader(w.n)
}

// give delivers every waiting message that matches, and the matching messages that follow from it, until none is left.
func (w *world) give(t testing.TB, match func(e *envelope) bool) {
	t.Helper()
	for {
		slices.SortFunc(w.queue, func(x, y *envelope) int { return int(x.order) - int(y.order) })
		k := slices.IndexFunc(w.queue, match)
		if k < 0 {
			break
		}
		e := w.queue[k]
		w.queue = slices.Delete(w.queue, k, k+1)
		w.deliver(e)
	}
	if w.err != nil {
		t.Fatal(w.err)
	}
}

// kinds matches messages of the given kinds.
func kinds(kinds ...protocols.Kind) func(e *envelope) bool {
	return func(e *envelope) bool { return slices.Contains(kinds, e.msg.Kind()) }
}

var ofBroadcasts = kinds(KindProposal, KindEcho, KindLock, KindAccept, KindFinish)

// assist makes d sign every honest broadcast of a round.
func (w *world) assist(d protocols.Index, round uint32) {
	r := w.know.round(round)
	for j := range protocols.Index(w.n) {
		if v, ok := r.proposals[j]; ok {
			w.send(d, j, &Echo{r.at, j, v, w.signers[d].Sign(r.at.echoStatement(w.committee, j, v))})
			w.send(d, j, &Accept{r.at, j, v, w.signers[d].Sign(r.at.acceptStatement(w.committee, j, v))})
		}
	}
}

// split plays round 1 such that only a decides the value of d, by yes-votes. The others see a no-vote, so b and c go to
// round 2 by the key. restart is called after c voted no and before it gets the yes pre-vote of a.
func split(t testing.TB, w *world, a, b, c, d protocols.Index, restart func(i protocols.Index)) {
	t.Helper()
	at := At{theInstance, 1}
	value := []byte("ok:d")
	w.know.values[DigestOf(value)] = value
	for _, i := range []protocols.Index{a, b, c} {
		w.send(d, i, &Proposal{At: at, Value: value, Digest: DigestOf(value)})
	}
	w.give(t, ofBroadcasts)
	cert, ok := w.know.lockOf(w.know.round(1), d, DigestOf(value))
	if !ok {
		t.Fatal("no first-phase proof of d's broadcast")
	}
	w.send(d, a, &Lock{at, DigestOf(value), cert}) // only to a
	w.give(t, ofBroadcasts)
	w.give(t, kinds(coin.KindRelease, coin.KindRelay))
	no := &PreVote{At: at, Leader: d, Signature: w.signers[d].Sign(at.noPreVoteStatement(w.committee))}
	w.send(d, c, no)
	w.give(t, func(e *envelope) bool { return e.msg.Kind() == KindPreVote && e.to == c && e.from != a })
	restart(c)
	w.give(t, kinds(KindPreVote))
	w.send(d, a, &Vote{At: at, Leader: d, Yes: true, Digest: DigestOf(value), Echoes: cert,
		Signature: w.signers[d].Sign(at.acceptStatement(w.committee, d, DigestOf(value)))})
	w.give(t, func(e *envelope) bool { return e.msg.Kind() == KindVote && (e.to != a || e.from != c) })
	if w.replicas[a].decided == nil || w.replicas[b].machine.Round() != 2 || w.replicas[c].machine.Round() != 2 {
		t.Fatalf("the script did not split the round: %v, %d, %d", w.replicas[a].decided, w.replicas[b].machine.Round(), w.replicas[c].machine.Round())
	}
}

// reboot restarts a replica from its store, without reconnecting it.
func (w *world) reboot(i protocols.Index) { w.boot(i) }

// TestDecisionOutlivesARoundOfNoVotes: replicas decide in later rounds the value that one replica decided in round 1. In the
// round between, the coin elects a replica that has halted, so all others vote no there. If a justification depended only on
// the round before, they could then decide another value.
func TestDecisionOutlivesARoundOfNoVotes(t *testing.T) {
	for _, c := range []struct {
		name    string
		restart bool
	}{{"without a restart", false}, {"restarted in round 2", true}} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b, cc, d := scripted(t)
			split(t, w, a, b, cc, d, func(protocols.Index) {})
			if c.restart {
				w.reboot(b)
				w.reboot(cc)
			}
			alive := func(e *envelope) bool { return e.msg.Kind() != KindDecision && e.to != a && e.from != a }
			// Round 2: b, c and d complete their ofBroadcasts, the coin elects a, and all vote no.
			if why := w.know.justify(2); len(why) != 1 || !why[0].byKey() {
				t.Fatalf("round 2 has %d justifications, want only the key", len(why))
			}
			v := w.drive(t, d, 2, alive, b, cc)
			// Round 3: d can justify only the decided value.
			if r := w.replicas[b].machine.Round(); r != 3 {
				t.Fatalf("b is in round %d, want 3", r)
			}
			for round := uint32(3); round < 40 && w.replicas[b].decided == nil; round++ {
				d2 := w.drive(t, d, round, alive, b, cc)
				if d2 != v {
					t.Errorf("round %d can be entered with another value than the decided one", round)
				}
			}
			if w.replicas[b].decided == nil && w.replicas[cc].decided == nil {
				t.Error("neither b nor c decided")
			}
			if w.err != nil {
				t.Error(w.err)
			}
		})
	}
}

// drive plays a round in which d takes part, and returns the value that d could propose.
func (w *world) drive(t testing.TB, d protocols.Index, round uint32, alive func(*envelope) bool, to ...protocols.Index) digest.Digest {
	t.Helper()
	at := At{theInstance, round}
	reasons := w.know.justify(round)
	if len(reasons) == 0 {
		t.Fatalf("round %d cannot be entered (%v)", round, w.err)
	}
	why := reasons[len(reasons)-1]
	value := []byte("ok:another")
	v := DigestOf(value)
	w.know.values[v] = value
	if why.Key != nil {
		v = why.Key.Digest
	}
	for _, i := range to {
		w.send(d, i, &Proposal{At: at, Digest: v, Justification: why})
	}
	w.assist(d, round)
	w.give(t, func(e *envelope) bool { return alive(e) && ofBroadcasts(e) })
	if why.Key == nil { // they request the value
		for _, i := range to {
			w.send(d, i, newValue(theInstance, value))
		}
	}
	w.give(t, func(e *envelope) bool { return alive(e) && (ofBroadcasts(e) || e.msg.Kind() == KindValue) })
	w.finishOf(t, d, round, to...)
	w.give(t, alive)
	l := w.leader(t, round)
	for _, i := range to {
		w.send(d, i, &PreVote{At: at, Leader: l, Signature: w.signers[d].Sign(at.noPreVoteStatement(w.committee))})
	}
	w.give(t, alive)
	if cert, ok := w.know.noPreOf(w.know.round(round)); ok {
		for _, i := range to {
			w.send(d, i, &Vote{At: at, Leader: l, NoPreVotes: cert, Signature: w.signers[d].Sign(at.noVoteStatement(w.committee, 0))})
		}
	}
	w.give(t, alive)
	return v
}

// finishOf completes the broadcast of d in a round, of the value that is justified there.
func (w *world) finishOf(t testing.TB, d protocols.Index, round uint32, to ...protocols.Index) {
	t.Helper()
	r := w.know.round(round)
	for _, v := range w.know.digests(r, d) {
		if cert, ok := w.know.lockOf(r, d, v); ok {
			for _, i := range to {
				w.send(d, i, &Lock{r.at, v, cert})
			}
		}
	}
	w.give(t, kinds(KindLock, KindAccept))
	for _, v := range w.know.digests(r, d) {
		if cert, ok := w.know.acceptOf(r, d, v); ok {
			for _, i := range to {
				w.send(d, i, &Finish{r.at, v, cert})
			}
		}
	}
	w.give(t, kinds(KindFinish))
}

// TestLateLockCompletesNothing: the elected broadcast cannot complete if replicas voted no. Its first-phase proof, delayed
// until the coin is known and the votes are cast, gets no signatures, also not after a restart.
func TestLateLockCompletesNothing(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w, a, b, c, d := scripted(t)
		at := At{theInstance, 1}
		value := []byte("ok:d")
		for _, i := range []protocols.Index{a, b, c} {
			w.send(d, i, &Proposal{At: at, Value: value, Digest: DigestOf(value)})
		}
		w.give(t, ofBroadcasts)
		w.give(t, kinds(coin.KindRelease, coin.KindRelay))
		w.give(t, kinds(KindPreVote)) // three no-pre-votes, so three no-votes, which are not delivered
		if n := len(w.know.round(1).noVotes); n != 3 {
			t.Fatalf("%d no-votes, want 3", n)
		}
		cert, ok := w.know.lockOf(w.know.round(1), d, DigestOf(value))
		if !ok {
			t.Fatal("no first-phase proof of d's broadcast")
		}
		for _, i := range []protocols.Index{a, b, c} {
			if restart {
				w.reboot(i)
			}
			w.send(d, i, &Lock{at, DigestOf(value), cert})
		}
		w.give(t, ofBroadcasts)
		if n := len(w.know.round(1).accepts[broadcastName{d, DigestOf(value)}]); n > 0 {
			t.Errorf("%d replicas accept a broadcast on which they voted no (restarted: %v)", n, restart)
		}
	}
}

// TestVoteSurvivesARestart: a replica that voted no and restarted does not vote yes when it then gets the first-phase proof.
func TestVoteSurvivesARestart(t *testing.T) {
	w, a, b, c, d := scripted(t)
	split(t, w, a, b, c, d, w.reboot) // world.checkSigned fails if c signs two different votes
	if v := w.signed[placeOf(c, "vote 1")]; v == "" {
		t.Error("c has not voted")
	}
}

// TestRefusedMessagesAreRequested: a message beyond the window is refused, and requested when the replica has reached its
// round. The sender then sends it again, once.
func TestRefusedMessagesAreRequested(t *testing.T) {
	w, a, b, c, _ := scripted(t)
	m := w.replicas[a].machine
	const far = Window + 2
	at := At{theInstance, far}
	name := at.toss()
	if s := m.Handle(0, b, &coin.Release{Name: name, Share: w.holders[b].Share(name.Statement(w.committee))}); len(s.Sends) > 0 {
		t.Errorf("a message too far ahead is answered with %v", s.Sends)
	}
	if n := len(m.rounds); n > 1 {
		t.Errorf("%d rounds are kept, want 1", n)
	}
	before := At{theInstance, far - 1}
	why := &Justification{}
	for i := range protocols.Index(w.committee.Quorum()) {
		why.NoVotes.Signers.Add(i)
		why.NoVotes.Claims = append(why.NoVotes.Claims, 0)
		why.NoVotes.Signatures = append(why.NoVotes.Signatures, w.signers[i].Sign(before.noVoteStatement(w.committee, 0)))
	}
	p := &Proposal{At: at, Digest: DigestOf([]byte("ok:1")), Justification: why}
	if err := w.check(c, p); err != nil {
		t.Fatal(err)
	}
	s := m.Handle(0, c, p)
	if m.Round() != far {
		t.Fatalf("in round %d after a justified proposal of round %d", m.Round(), far)
	}
	asked := 0
	for _, send := range s.Sends {
		if again, ok := send.Message.(*ResendRequest); ok {
			asked++
			if again.Round != far || send.To != protocols.To(b) {
				t.Errorf("requests from %d round %d, want from %d round %d", send.To, again.Round, b, far)
			}
		}
	}
	if asked != 1 {
		t.Errorf("requests messages %d times, want once", asked)
	}
	// The same machine as the receiver of a ResendRequest.
	again := &ResendRequest{at}
	own := 0
	for _, send := range m.Handle(0, b, again).Sends {
		if send.Message.Kind() == KindProposal && send.To == protocols.To(b) {
			own++
		}
	}
	if own != 1 {
		t.Errorf("its proposal is sent again %d times, want once", own)
	}
	if s := m.Handle(0, b, again); len(s.Sends) > 0 {
		t.Error("the same ResendRequest is answered twice")
	}
	if s := m.Handle(0, b, &ResendRequest{At{theInstance, far + 1}}); len(s.Sends) > 0 {
		t.Error("a ResendRequest of a round that is not reached is answered")
	}
}

// TestDecidedInstanceAnswers: a decided instance sends the decision to each peer once for each connection, serves the value,
// and nothing else.
func TestDecidedInstanceAnswers(t *testing.T) {
	w, a, b, c, _ := scripted(t)
	w.give(t, func(e *envelope) bool { return true })
	m := w.replicas[a].machine
	if m.Decision() == nil { // the coin elects d in round 1, which is silent
		t.Fatalf("a has not decided, it is in round %d", m.Round())
	}
	echo := &Echo{At: At{theInstance, 9}, Broadcaster: a}
	count := func(s Step) (n int) {
		for _, send := range s.Sends {
			if send.Message.Kind() == KindDecision {
				n++
			}
		}
		return n
	}
	m.Resend(b)
	m.outcome.sent.Remove(b)
	if n := count(m.Handle(0, b, echo)); n != 1 {
		t.Errorf("%d answers, want one", n)
	}
	if n := count(m.Handle(0, b, echo)); n != 0 {
		t.Error("a second answer over one connection")
	}
	if n := count(m.Resend(b)); n != 1 {
		t.Errorf("the decision is sent %d times after a reconnect, want once", n)
	}
	want := &FetchValue{theInstance, m.Decision().Digest}
	if s := m.Handle(0, c, want); len(s.Sends) != 1 || s.Sends[0].Message.Kind() != KindValue {
		t.Errorf("a FetchValue of the decided value is answered with %v", s.Sends)
	}
	if s := m.Handle(0, c, want); len(s.Sends) != 0 {
		t.Error("a value is sent twice over one connection")
	}
	m.Resend(c)
	if s := m.Handle(0, c, want); len(s.Sends) != 1 {
		t.Error("a value is not sent again after a reconnect")
	}
}
