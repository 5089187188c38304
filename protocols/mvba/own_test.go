package mvba

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// TestCertificatesShowOwnSignatures: over some instances, certificates show replicas their own signatures of every phase, and a
// replica with its store lacks none of them (see world.checkShown).
func TestCertificatesShowOwnSignatures(t *testing.T) {
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
			t.Errorf("no certificate showed a signature of phase %d", phase)
		}
	}
}

// TestLacks: Lacks is true for statements that this replica did not sign.
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
			name  string
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
				t.Errorf("%s: lacks %v", x.name, got)
			}
		}
	})
	other := before
	other.Digest = digest.Of("other")
	if w.replicas[a].decided == nil || w.replicas[a].machine.Lacks(&other) || w.replicas[b].machine.Lacks(&other) {
		t.Error("Lacks is true for a statement whose record was overwritten after the round or the decision")
	}
}

// TestSignedIsExact: a Signed verifies only with the statement and replica that it was signed with, and decodes to itself.
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
			item, err := x.SignatureCheck(w.committee, by)
			return err == nil && w.scheme.VerifyAll([]sig.Check{item})
		}
		if !good(x, 2) || good(x, 1) {
			t.Errorf("%T: verifies %v for its sender and %v for another replica", m, good(x, 2), good(x, 1))
		}
		x.Round++
		if good(x, 2) {
			t.Errorf("%T verifies for another round", m)
		}
	}
	if _, err := (&Signed{At: at, Phase: PhaseShare}).SignatureCheck(w.committee, 2); err == nil {
		t.Error("a coin share has a signature to verify")
	}
}
