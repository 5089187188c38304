package cancel

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

const t0 protocols.Time = 1_000_000_000

type bench struct {
	c      *protocols.Committee
	scheme *sig.Ideal
}

func newBench(t testing.TB, n int) *bench {
	t.Helper()
	return inShard(t, n, "network", 0)
}

// inShard is a bench whose replicas have the same keys in every network and shard.
func inShard(t testing.TB, n int, network string, shard uint16) *bench {
	t.Helper()
	b := &bench{scheme: sig.NewIdeal(1)}
	b.c = committeetest.Ideal(t, b.scheme, 0, n, digest.Of(network), shard)
	return b
}

func (b *bench) machine() *Machine { return New(b.c, 0, b.scheme.Signer(0)) }

func (b *bench) statement(from protocols.Index, content string) *CLM {
	d := DigestOf([]byte(content))
	return &CLM{Content: []byte(content), Digest: d, Signature: b.scheme.Signer(uint64(from)).Sign(Statement(b.c, d))}
}

// outputs sorts the outputs of a step.
func outputs(st Step) (asked []string, certified []*Certified) {
	for _, o := range st.Out {
		if o.Certified != nil {
			certified = append(certified, o.Certified)
		} else {
			asked = append(asked, string(o.Ask))
		}
	}
	return asked, certified
}

// TestWeakQuorumCancels: CL_Ms of f+1 distinct replicas make a CL, with or without the own one, and no fewer do. They
// are counted by sender, not by message.
func TestWeakQuorumCancels(t *testing.T) {
	for n := 4; n <= 7; n++ {
		b := newBench(t, n)
		weak := b.c.WeakQuorum()
		for _, own := range []bool{false, true} {
			m := b.machine()
			var got []*Certified
			take := func(st Step) {
				_, c := outputs(st)
				got = append(got, c...)
			}
			others := weak
			if own {
				take(m.Impossible(t0, []byte("tx")))
				others--
			}
			for i := 1; i < others; i++ {
				for range 3 {
					take(m.HandleCLM(protocols.Index(i), b.statement(protocols.Index(i), "tx")))
				}
			}
			if len(got) > 0 {
				t.Fatalf("n = %d: fewer than %d replicas made a CL", n, weak)
			}
			for range 2 {
				take(m.HandleCLM(protocols.Index(others), b.statement(protocols.Index(others), "tx")))
				take(m.HandleCLM(protocols.Index(n-1), b.statement(protocols.Index(n-1), "tx")))
			}
			if len(got) != 1 || got[0].Certificate.Signers.Len() != weak {
				t.Fatalf("n = %d, own %v: %+v", n, own, got)
			}
			checks, err := got[0].SignatureChecks(b.c)
			if err != nil || !b.scheme.VerifyAll(checks) {
				t.Errorf("n = %d: the CL does not verify: %v", n, err)
			}
			if count, size := m.Pending(); count != 0 || size != 0 {
				t.Errorf("n = %d: %d transactions with %d bytes are kept after the CL", n, count, size)
			}
		}
	}
}

// TestSignsOnlyWhatItsStateShows: a CL_M of another replica makes this one look at its own state, once. It signs
// nothing before the caller confirms the fact.
func TestSignsOnlyWhatItsStateShows(t *testing.T) {
	b := newBench(t, 7)
	m := b.machine()
	asked, certified := outputs(m.HandleCLM(3, b.statement(3, "tx")))
	if len(asked) != 1 || asked[0] != "tx" || len(certified) != 0 {
		t.Fatalf("asked %q, certified %v", asked, certified)
	}
	st := m.HandleCLM(4, b.statement(4, "tx"))
	if len(st.Out)+len(st.Sends) > 0 {
		t.Errorf("asked twice, or sent without an answer: %+v", st)
	}
	if st = m.Impossible(t0, []byte("tx")); len(st.Sends) != 1 || st.Sends[0].To != protocols.Everyone {
		t.Fatalf("after the confirmation: %+v", st)
	}
	if _, certified = outputs(st); len(certified) != 1 {
		t.Errorf("the own CL_M does not count")
	}
	if st = m.Impossible(t0, []byte("tx")); len(st.Sends)+len(st.Out) > 0 {
		t.Errorf("signed twice: %+v", st)
	}
}

// TestOwnStatementsAreLimited: a replica sends at most Burst CL_Ms at once and PerSecond in a second, however much clients
// submit.
func TestOwnStatementsAreLimited(t *testing.T) {
	b := newBench(t, 4)
	m := b.machine()
	sent := func(now protocols.Time, from, to int) (n int) {
		for i := from; i < to; i++ {
			n += len(m.Impossible(now, fmt.Appendf(nil, "tx %d", i)).Sends)
		}
		return n
	}
	if n := sent(t0, 0, 3*Burst); n != Burst {
		t.Errorf("%d at once, want %d", n, Burst)
	}
	if n := sent(t0.Add(time.Second), 3*Burst, 6*Burst); n != PerSecond {
		t.Errorf("%d in the next second, want %d", n, PerSecond)
	}
}

// TestPendingIsBounded: a replica that states many transactions displaces only its own, and those that another replica
// stated too stay.
func TestPendingIsBounded(t *testing.T) {
	b := newBench(t, 7)
	m := b.machine()
	m.HandleCLM(1, b.statement(1, "honest"))
	m.HandleCLM(6, b.statement(6, "honest"))
	long := strings.Repeat("x", MaxContent-8)
	for i := range 1000 {
		m.HandleCLM(6, b.statement(6, fmt.Sprintf("%08d%s", i, long)))
		if _, size := m.Pending(); size > MaxPending {
			t.Fatalf("%d bytes pending, at most %d are allowed", size, MaxPending)
		}
		if p := m.peers[6].bytes; p > MaxPending/7 {
			t.Fatalf("%d bytes of one replica", p)
		}
	}
	if m.pending[DigestOf([]byte("honest"))] == nil {
		t.Fatal("a statement of an honest replica was displaced")
	}
	if _, c := outputs(m.HandleCLM(2, b.statement(2, "honest"))); len(c) != 1 {
		t.Error("no CL although f+1 replicas stated it")
	}
	for d, o := range m.pending {
		if o.holders == 0 {
			t.Fatalf("%s is kept and in no part", d)
		}
	}
	for i := range 2 * maxRecent {
		m.certified.Add(DigestOf(fmt.Appendf(nil, "%d", i)))
	}
	if m.certified.Len() != maxRecent {
		t.Errorf("%d digests remembered, at most %d are allowed", m.certified.Len(), maxRecent)
	}
}

// TestForgedCertificates: f signatures, signatures of another shard, network or transaction, and signers outside the
// shard prove nothing. A certificate with a signer twice does not decode.
func TestForgedCertificates(t *testing.T) {
	b := newBench(t, 4)
	certificate := func(b *bench, content string, signers ...protocols.Index) protocols.Certificate {
		tally := protocols.NewTally(DigestOf([]byte(content)))
		for _, i := range signers {
			tally.Add(i, b.statement(i, content).Signature)
		}
		return tally.Certificate()
	}
	bad := certificate(b, "tx", 1, 2)
	bad.Signatures[1][3]++
	for name, x := range map[string]*Certified{
		"f signatures":          {[]byte("tx"), certificate(b, "tx", 2)},
		"none":                  {[]byte("tx"), protocols.Certificate{}},
		"another transaction":   {[]byte("tx"), certificate(b, "other", 1, 2)},
		"another shard":         {[]byte("tx"), certificate(inShard(t, 4, "network", 1), "tx", 1, 2)},
		"another network":       {[]byte("tx"), certificate(inShard(t, 4, "other", 0), "tx", 1, 2)},
		"a signer that is none": {[]byte("tx"), certificate(inShard(t, 7, "network", 0), "tx", 1, 5)},
		"a bad signature":       {[]byte("tx"), bad},
	} {
		if checks, err := x.SignatureChecks(b.c); err == nil && b.scheme.VerifyAll(checks) {
			t.Errorf("%s: it verifies", name)
		}
	}
	good := &Certified{[]byte("tx"), certificate(b, "tx", 1, 2)}
	if checks, err := good.SignatureChecks(b.c); err != nil || !b.scheme.VerifyAll(checks) {
		t.Errorf("a good certificate: %v", err)
	}
}

func TestCLMEncoding(t *testing.T) {
	b := newBench(t, 4)
	x := b.statement(2, "tx")
	body := x.Append(nil)
	got, err := DecodeCLM(body)
	if err != nil || got.Digest != x.Digest || !bytes.Equal(got.Append(nil), body) {
		t.Fatalf("%+v, %v", got, err)
	}
	checks, err := got.SignatureChecks(b.c, 2)
	if err != nil || !b.scheme.VerifyAll(checks) {
		t.Error("it does not verify")
	}
	if checks, _ = got.SignatureChecks(b.c, 1); b.scheme.VerifyAll(checks) {
		t.Error("it verifies as that of another replica")
	}
	empty := &CLM{}
	for name, bad := range map[string][]byte{
		"short": body[:len(body)-1], "long": append(bytes.Clone(body), 0), "empty": empty.Append(nil),
		"too long": (&CLM{Content: make([]byte, MaxContent+1)}).Append(nil),
	} {
		if _, err := DecodeCLM(bad); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	largest := (&CLM{Content: make([]byte, MaxContent)}).Append(nil)
	if len(largest) != Messages[0].Max {
		t.Errorf("the largest body has %d bytes, the table says %d", len(largest), Messages[0].Max)
	}
}

func FuzzDecodeCLM(f *testing.F) {
	b := newBench(f, 4)
	f.Add(b.statement(1, "tx").Append(nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := DecodeCLM(body)
		if err == nil && !bytes.Equal(m.Append(nil), body) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", body)
		}
	})
}
