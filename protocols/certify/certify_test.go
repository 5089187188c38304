package certify

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

type bench struct {
	c      *protocols.Committee
	scheme *sig.Ideal
}

func newBench(t testing.TB, n int) *bench {
	t.Helper()
	b := &bench{scheme: sig.NewIdeal(1)}
	b.c = committeetest.Ideal(t, b.scheme, 0, n, digest.Of("network"), 0)
	return b
}

func (b *bench) machine(executed, certified uint64) *Machine {
	return New(b.c, 0, b.scheme.Signer(0), executed, certified)
}

func (b *bench) vote(from protocols.Index, h uint64, d digest.Digest) *VOTE {
	return &VOTE{Height: h, Header: d, Signature: b.scheme.Signer(uint64(from)).Sign(Statement(b.c, h, d))}
}

func header(h uint64) digest.Digest { return digest.Of("header", wire.AppendU64(nil, h)) }

// TestWeakQuorumCertifies: VOTEs of f+1 distinct replicas for one header certify it, with or without the own VOTE.
func TestWeakQuorumCertifies(t *testing.T) {
	for n := 4; n <= 7; n++ {
		b := newBench(t, n)
		weak := protocols.Index(b.c.WeakQuorum())
		m := b.machine(0, 0)
		var got []*Certified
		for range 3 { // counted by sender, not by message
			for i := protocols.Index(1); i < weak; i++ {
				got = append(got, m.HandleVOTE(i, b.vote(i, 1, header(1))).Out...)
			}
		}
		for i := weak; i < 2*weak-1 && b.c.Has(i); i++ { // f other replicas vote for another header first, then for this one
			got = append(got, m.HandleVOTE(i, b.vote(i, 1, header(99))).Out...)
			got = append(got, m.HandleVOTE(i, b.vote(i, 1, header(1))).Out...)
		}
		if len(got) != 0 || m.CertifiedHeight() != 0 {
			t.Fatalf("n=%d: certified by %d", n, weak-1)
		}
		st := m.Executed(1, header(1))
		if len(st.Out) != 1 || m.CertifiedHeight() != 1 || len(st.Sends) != 1 || st.Sends[0].To != protocols.Everyone {
			t.Fatalf("n=%d: after the own VOTE: %d certificates and %d sends", n, len(st.Out), len(st.Sends))
		}
		checks, err := st.Out[0].SignatureChecks(b.c)
		if err != nil || !b.scheme.VerifyAll(checks) || len(checks) != b.c.WeakQuorum() {
			t.Errorf("n=%d: the certificate does not verify: %v", n, err)
		}
	}
}

// TestCertifiedHeightHasNoGaps: all heights up to the certified height are certified and executed here.
func TestCertifiedHeightHasNoGaps(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0, 0)
	out := 0
	for _, h := range []uint64{2, 1, 3} {
		for i := protocols.Index(1); i < 3; i++ {
			out += len(m.HandleVOTE(i, b.vote(i, h, header(h))).Out)
		}
	}
	if out != 3 || m.CertifiedHeight() != 0 {
		t.Errorf("%d certificates, height %d before anything is executed", out, m.CertifiedHeight())
	}
	for h := uint64(1); h <= 3; h++ {
		if m.Executed(h, header(h)); m.CertifiedHeight() != h {
			t.Errorf("executed %d, certified %d", h, m.CertifiedHeight())
		}
	}
	if m.HighestVOTE(1) != 3 || m.HighestVOTE(3) != 0 {
		t.Error("the highest VOTE of a peer is not recorded")
	}
}

// TestDivergenceStops: a replica whose own header differs from a certified one panics, in any order of the two. It panics
// also for two certificates of different headers at one height.
func TestDivergenceStops(t *testing.T) {
	b := newBench(t, 4)
	certify := func(m *Machine) {
		m.HandleVOTE(1, b.vote(1, 1, header(1)))
		m.HandleVOTE(2, b.vote(2, 1, header(1)))
	}
	for name, do := range map[string]func(*Machine){
		"executed first":  func(m *Machine) { m.Executed(1, header(9)); certify(m) },
		"certified first": func(m *Machine) { certify(m); m.Executed(1, header(9)) },
		"two certificates": func(m *Machine) {
			m.Adopt(&Certified{Height: 1, Header: header(1)})
			m.Adopt(&Certified{Height: 1, Header: header(9)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.HasPrefix(r, "certify: ") {
					t.Errorf("no panic of this package: %q", r)
				}
			}()
			do(b.machine(0, 0))
		})
	}
}

// TestWindow: VOTEs beyond the window are not kept but raise Highest. VOTEs for certified heights change nothing.
func TestWindow(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(5, 5)
	for i := protocols.Index(1); i < 4; i++ {
		m.HandleVOTE(i, b.vote(i, 5+window+1, header(1)))
		m.HandleVOTE(i, b.vote(i, 5, header(1)))
	}
	if len(m.heights) != 0 || m.HighestVOTE(2) != 5+window+1 {
		t.Errorf("%d heights are kept", len(m.heights))
	}
	if st := m.Adopt(&Certified{Height: 5 + window + 1, Header: header(1)}); len(st.Out) != 0 {
		t.Error("a certificate beyond the window is accepted")
	}
	if st := m.Adopt(&Certified{Height: 6, Header: header(6)}); len(st.Out) != 1 {
		t.Error("a certificate within the window is not accepted")
	}
}

// TestResend: Resend sends the own VOTEs for the heights that are not certified here, and no others.
func TestResend(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine(0, 0)
	for h := uint64(1); h <= 3; h++ {
		m.Executed(h, header(h))
	}
	m.HandleVOTE(2, b.vote(2, 1, header(1)))
	m.HandleVOTE(2, b.vote(2, 3, header(3)))
	st := m.Resend(2)
	if len(st.Sends) != 2 || st.Sends[0].Message.(*VOTE).Height != 2 || st.Sends[1].Message.(*VOTE).Height != 3 {
		t.Errorf("sends %d VOTEs again", len(st.Sends))
	}
	again := b.machine(2, 4) // the ledger lost certified blocks: no VOTE is needed for them
	if st := again.Executed(3, header(3)); len(st.Sends) != 0 || len(st.Out) != 0 {
		t.Error("a VOTE is sent for a certified height")
	}
}

func TestStatelessChecks(t *testing.T) {
	b := newBench(t, 4)
	check := func(checks []sig.Check, err error) bool { return err == nil && b.scheme.VerifyAll(checks) }
	v := b.vote(1, 7, header(7))
	if !check(v.SignatureChecks(b.c, 1)) || check(v.SignatureChecks(b.c, 2)) {
		t.Error("a VOTE does not verify for its sender, or verifies for another replica")
	}
	moved := *v
	moved.Height = 8
	if check(moved.SignatureChecks(b.c, 1)) {
		t.Error("a VOTE verifies for another height")
	}
	if _, err := DecodeVOTE((&VOTE{}).Append(nil)); err == nil {
		t.Error("a VOTE for height 0 decodes")
	}
	tally := protocols.NewTally(header(7))
	tally.Add(1, v.Signature)
	one := &Certified{Height: 7, Header: header(7), Certificate: tally.Certificate()}
	tally.Add(3, b.vote(3, 7, header(7)).Signature)
	two := &Certified{Height: 7, Header: header(7), Certificate: tally.Certificate()}
	if check(one.SignatureChecks(b.c)) || !check(two.SignatureChecks(b.c)) {
		t.Error("f VOTEs verify as a certificate, or f+1 do not")
	}
	two.Height = 0
	if _, err := two.SignatureChecks(b.c); err == nil {
		t.Error("a certificate for height 0 verifies")
	}
}

func FuzzCertified(f *testing.F) {
	f.Add((&Certified{Height: 3, Header: header(3)}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		if x := ReadCertified(r); r.Done() == nil && !bytes.Equal(x.Append(nil), b) {
			t.Errorf("%x encodes to %x", b, x.Append(nil))
		}
	})
}
