package bolt

import (
	"bytes"
	"encoding/hex"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestEncodings checks encodings against fixed values. They are signed and stored, so they must never change within a
// version.
func TestEncodings(t *testing.T) {
	b := newBench(t, 4)
	x := b.block(b.genesis, 0)
	slot := "0000000000000001" + "0000000000000001" + x.digest.String()
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"finalize", finalizeOf(x).Append(nil), slot},
		{"vote", b.vote(2, x).Append(nil)[:48], slot},
		{"block", x.Append(nil)[:65], "01" + "0000000000000001" + "0000000000000001" + "0000000000000001" + b.genesis.digest.String() + "00000000000f4240"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
	network := b.c.Network()
	if want := digest.Of("bdt/block/1", network[:], []byte{0, 0}, x.Append(nil)); x.digest != want {
		t.Error("the digest of a block does not cover network, shard and block")
	}
	p := b.propose(x)
	p.Certificates = []*lanes.TipCertificate{{Lane: 1, Tip: tip(3)}, {Lane: 2, Tip: tip(4)}}
	got, err := DecodePropose(b.c, p.Append(nil))
	if err != nil || got.Block.digest != x.digest || len(got.Certificates) != 2 || !bytes.Equal(got.Append(nil), p.Append(nil)) {
		t.Errorf("a proposal decodes to another: %v", err)
	}
}

func TestStatelessChecks(t *testing.T) {
	b := newBench(t, 4)
	x := b.block(b.genesis, 0)
	passes := func(p *Propose) bool {
		got, err := DecodePropose(b.c, p.Append(nil))
		if err != nil {
			return false
		}
		checks, err := got.SignatureChecks(b.c)
		return err == nil && b.scheme.VerifyAll(checks)
	}
	if !passes(b.propose(x)) {
		t.Fatal("a good proposal is refused")
	}
	spoilt := func(f func(*Block)) *Propose {
		y := *x
		f(&y)
		y.setDigest(b.c)
		return b.propose(&y)
	}
	unsigned := *b.propose(x)
	unsigned.Block = b.block(b.genesis, 9)
	forged := *b.propose(x)
	forged.Leader = 1
	outsider := *b.propose(x)
	outsider.Leader = 4
	uncertified := *b.propose(x)
	uncertified.Certificates = []*lanes.TipCertificate{{Lane: 1, Tip: tip(3)}}
	disordered := *b.propose(x)
	disordered.Certificates = []*lanes.TipCertificate{{Lane: 2, Tip: tip(3)}, {Lane: 1, Tip: tip(3)}}
	for name, p := range map[string]*Propose{
		"the signature of another block": &unsigned,
		"another leader":                 &forged,
		"a leader that is not a replica": &outsider,
		"a certificate without signers":  &uncertified,
		"certificates out of order":      &disordered,
		"epoch 0":                        spoilt(func(y *Block) { y.Epoch = 0 }),
		"slot 0":                         spoilt(func(y *Block) { y.Slot = 0 }),
		"height 0":                       spoilt(func(y *Block) { y.Height = 0 }),
		"a cut of too few lanes":         spoilt(func(y *Block) { y.Cut = y.Cut[:3] }),
		"a position without a digest":    spoilt(func(y *Block) { y.Cut = lanes.Cut{{Seq: 1}, {}, {}, {}} }),
		"an origin that has a digest":    spoilt(func(y *Block) { y.Cut = lanes.Cut{{Digest: digest.Digest{1}}, {}, {}, {}} }),
		"a cut of too many lanes":        spoilt(func(y *Block) { y.Cut = append(y.Cut[:4:4], tip(1)) }),
	} {
		if passes(p) {
			t.Errorf("a proposal with %s is accepted", name)
		}
	}
	v := b.vote(2, x)
	if checks, err := v.SignatureChecks(b.c, 3); err == nil && b.scheme.VerifyAll(checks) {
		t.Error("a vote verifies for another replica")
	}
	for _, raw := range [][]byte{
		(&Finalize{Epoch: 0, Slot: 1, Digest: x.digest}).Append(nil),
		(&Finalize{Epoch: 1, Slot: 0, Digest: x.digest}).Append(nil),
		(&Finalize{Epoch: 1, Slot: 1}).Append(nil),
		append(finalizeOf(x).Append(nil), 0),
	} {
		if _, err := DecodeFinalize(raw); err == nil {
			t.Errorf("%x decodes", raw)
		}
	}
}

// TestQC: n-f votes prove a QC, fewer do not.
func TestQC(t *testing.T) {
	for n := 4; n <= 7; n++ {
		b := newBench(t, n)
		x := b.block(b.genesis, 0)
		made := func(signers int) *QC {
			tally := protocols.NewTally(x.digest)
			for i := range signers {
				tally.Add(protocols.Index(i), b.vote(protocols.Index(i), x).Signature)
			}
			return &QC{Epoch: 1, Slot: 1, Digest: x.digest, Certificate: tally.Certificate()}
		}
		check := func(checks []sig.Check, err error) bool { return err == nil && b.scheme.VerifyAll(checks) }
		q := made(b.c.Quorum())
		if !check(q.SignatureChecks(b.c)) || check(made(b.c.Quorum()-1).SignatureChecks(b.c)) {
			t.Errorf("n=%d: a QC of n-f votes must pass, and of one less must not", n)
		}
		r := wire.NewReader(q.Append(nil))
		if got := ReadQC(r); r.Done() != nil || !check(got.SignatureChecks(b.c)) {
			t.Errorf("n=%d: a QC decodes to another", n)
		}
		q.Slot++
		if check(q.SignatureChecks(b.c)) {
			t.Errorf("n=%d: a QC verifies for another slot", n)
		}
	}
}

func FuzzQC(f *testing.F) {
	f.Add((&QC{Epoch: 1, Slot: 2, Digest: digest.Digest{3}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		if q := ReadQC(r); r.Done() == nil && !bytes.Equal(q.Append(nil), b) {
			t.Errorf("%x encodes to %x", b, q.Append(nil))
		}
	})
}
