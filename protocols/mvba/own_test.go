package mvba

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// TestOwnSignaturesAreWitnessed: over some instances, certificates show replicas signatures of theirs of every phase, and
// whoever has the store lacks none ([world.witnessed]).
func TestOwnSignaturesAreWitnessed(t *testing.T) {
	shown := make(map[Phase]int)
	for seed := uint64(1); seed <= 60; seed++ {
		w, err := newWorld(planOf(4, seed))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for phase, count := range w.shown {
			shown[phase] += count
		}
	}
	for phase := PhaseEcho; phase <= PhaseNoVote; phase++ {
		if shown[phase] == 0 {
			t.Errorf("nothing of phase %d was shown", phase)
		}
	}
}

// TestLacks: what a replica with the store of before a round did not sign, or signed otherwise, it lacks.
func TestLacks(t *testing.T) {
	w, a, b, c, d := scripted(t)
	at := At{theInstance, 1}
	var before Signed
	split(t, w, a, b, c, d, func(i protocols.Index) {
		r := w.replicas[i]
		m := r.machine
		echoed := m.digestFor(m.slot(1), KindEcho, a)
		before = Signed{At: at, Phase: PhaseEcho, Broadcaster: a, Digest: echoed}
		for _, x := range []struct {
			what  string
			s     Signed
			lacks bool
		}{
			{"its echo", before, false},
			{"another echo", Signed{At: at, Phase: PhaseEcho, Broadcaster: a, Digest: digest.Of("other")}, true},
			{"its accept", Signed{At: at, Phase: PhaseAccept, Broadcaster: a, Digest: echoed}, false},
			{"an accept of d", Signed{At: at, Phase: PhaseAccept, Broadcaster: d, Digest: DigestOf([]byte("ok:d"))}, true},
			{"its share", Signed{At: at, Phase: PhaseShare}, false},
			{"its no-pre-vote", Signed{At: at, Phase: PhaseNoPreVote}, false},
			{"a no-vote with a key", Signed{At: at, Phase: PhaseNoVote, Claim: 9}, true},
			{"an echo of a later round", Signed{At: At{theInstance, 2}, Phase: PhaseEcho, Broadcaster: a, Digest: echoed}, true},
		} {
			if got := m.Lacks(&x.s); got != x.lacks {
				t.Errorf("%s: lacks %v", x.what, got)
			}
		}
	})
	other := before
	other.Digest = digest.Of("other")
	if w.replicas[a].decided == nil || w.replicas[a].machine.Lacks(&other) || w.replicas[b].machine.Lacks(&other) {
		t.Error("what is overwritten when a round is left, or its instance decided, counts as lacking")
	}
}

// TestSignedIsExact: what stands for a signature verifies only as it was signed, and decodes as it was encoded.
func TestSignedIsExact(t *testing.T) {
	w, err := newWorld(plan{n: 4, seed: 1, strategy: "silent", schedule: "even"})
	if err != nil {
		t.Fatal(err)
	}
	at := At{theInstance, 3}
	d := digest.Of("value")
	sign := func(statement []byte) sig.Signature { return w.signers[2].Sign(statement) }
	for _, m := range []protocols.Message{
		&Echo{at, 1, d, sign(at.echoStatement(w.committee, 1, d))},
		&Accept{at, 1, d, sign(at.acceptStatement(w.committee, 1, d))},
		&PreVote{At: at, Leader: 1, Signature: sign(at.noPreVoteStatement(w.committee))},
		&Vote{At: at, Leader: 1, Yes: true, Digest: d, Signature: sign(at.acceptStatement(w.committee, 1, d))},
		&Vote{At: at, Leader: 1, Key: &Key{Round: 2}, Signature: sign(at.noVoteStatement(w.committee, 2))},
	} {
		x, err := DecodeSigned(SignedBySender(m).Append(nil))
		if err != nil || *x != *SignedBySender(m) {
			t.Fatalf("%T decodes as %+v, %v", m, x, err)
		}
		good := func(x *Signed, by protocols.Index) bool {
			item, err := x.Item(w.committee, by)
			return err == nil && w.scheme.VerifyAll([]sig.Item{item})
		}
		if !good(x, 2) || good(x, 1) {
			t.Errorf("%T: %v for its sender, %v for another", m, good(x, 2), good(x, 1))
		}
		x.Round++
		if good(x, 2) {
			t.Errorf("%T verifies for another round", m)
		}
	}
	if _, err := (&Signed{At: at, Phase: PhaseShare}).Item(w.committee, 2); err == nil {
		t.Error("a share has a signature")
	}
}
