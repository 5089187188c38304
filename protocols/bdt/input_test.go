package bdt

import (
	"bytes"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// ending is a shard in which replicas 1, 2 and 3 have committed a block of slot 1 and hold a certified batch that is not
// ordered, with the Status of these replicas.
type ending struct {
	*shard
	base     *bolt.Block
	statuses []*Status
	from     []protocols.Index
	block    *bolt.Block
}

func newEnding(t *testing.T) *ending {
	s := newShard(t, 4)
	x := &ending{shard: s, base: s.machines[1].current.base}
	s.append(1, "a")
	s.down.Add(0)
	s.append(2, "b")
	s.pass(100 * time.Millisecond)
	x.deliver(1, "an LD")
	for i := protocols.Index(1); i < 4; i++ {
		var st Step
		s.machines[i].leave(s.now, &st)
		x.from, x.statuses = append(x.from, i), append(x.statuses, s.machines[i].current.status)
	}
	x.block = s.got[1][0].Block
	return x
}

// deliver gives an LD of shard 1 to all replicas that are up, and delivers their SIGNs to all.
func (x *ending) deliver(number uint64, content string) {
	ld := &inbound.LD{Source: 1, Number: number, Digest: digest.Of("test-ld", []byte(content)), Raw: []byte(content)}
	for i, m := range x.machines {
		if !x.down.Has(protocols.Index(i)) {
			st, _ := m.Handle(x.now, protocols.Index(i), ld)
			x.apply(protocols.Index(i), st)
		}
	}
	x.deliverAll()
}

func (x *ending) input() *Input {
	in, err := DecodeInput(x.c, newInput(1, x.from, x.statuses, x.base, x.block).Encode()) // a deep copy
	if err != nil {
		x.t.Fatal(err)
	}
	return in
}

// passes does the checks of a worker and of the agreement on an input.
func (x *ending) passes(in *Input) bool {
	got, err := DecodeInput(x.c, in.Encode())
	if err != nil {
		return false
	}
	checks, err := got.SignatureChecks(x.c)
	return err == nil && x.scheme.VerifyAll(checks) && got.check(x.c, 1, x.base) == nil
}

// claim changes a claim and signs it with the key of its replica.
func (x *ending) claim(in *Input, k int, change func(*Claim)) {
	s := &in.Claims[k]
	change(&s.Claim)
	s.Signature = x.scheme.Signer(uint64(s.Replica)).Sign(s.statement(x.c))
}

// certificate makes a certificate with signers acknowledgements of a tip.
func (x *ending) certificate(lane protocols.Index, tip lanes.Tip, signers int) *lanes.TipCertificate {
	out := &lanes.TipCertificate{Lane: lane, Tip: tip}
	statement := x.c.Statement("bdt/ack/1", []byte{byte(lane >> 8), byte(lane), 0, 0, 0, 0, 0, 0, 0, byte(tip.Seq)}, tip.Digest[:])
	for i := range signers {
		out.Certificate.Signers.Add(protocols.Index(i))
		out.Certificate.Signatures = append(out.Certificate.Signatures, x.scheme.Signer(uint64(i)).Sign(statement))
	}
	return out
}

// TestInputIsProved: an input in which a part is changed, left out or added is refused.
func TestInputIsProved(t *testing.T) {
	x := newEnding(t)
	good := x.input()
	if !x.passes(good) {
		t.Fatal("a good input is refused")
	}
	if good.QC == nil || good.QC.Slot != 1 || len(good.Certificates) != 1 || len(good.Deliveries) != 1 || good.Cut[2].Seq != 1 || good.Inbound[1].Seq != 1 {
		t.Fatalf("the input is %+v", good)
	}
	nothing := x.input()
	for k := range nothing.Claims {
		x.claim(nothing, k, func(c *Claim) {
			*c = Claim{Epoch: 1, TimeMS: c.TimeMS, Cut: make(lanes.Cut, 4), Inbound: make(lanes.Cut, 2)}
		})
	}
	nothing.QC, nothing.Block, nothing.Certificates, nothing.Deliveries = nil, nil, nil, nil
	nothing.Cut, nothing.Inbound = make(lanes.Cut, 4), make(lanes.Cut, 2)
	if !x.passes(nothing) || nothing.check(x.c, 2, x.base) == nil {
		t.Error("an input without new positions must be accepted in its epoch, and in no other")
	}
	other := digest.Of("something else")
	for name, spoil := range map[string]func(*Input){
		"a block other than that of the QC": func(in *Input) {
			b := *in.Block
			b.TimeMS++
			in.Block = bolt.ReadBlock(x.c, wire.NewReader(b.Append(nil)))
		},
		"a cut with a lane behind the block, certified": func(in *Input) {
			in.Cut[1] = lanes.Tip{}
			in.Certificates = append([]*lanes.TipCertificate{x.certificate(1, lanes.Tip{}, 3)}, in.Certificates...)
		},
		"another epoch":                     func(in *Input) { in.Epoch = 2 },
		"one claim too few":                 func(in *Input) { in.Claims = in.Claims[:2] },
		"a claim twice":                     func(in *Input) { in.Claims[1] = in.Claims[0] },
		"a claim with an invalid signature": func(in *Input) { in.Claims[1].TimeMS++ },
		"a claim of another replica":        func(in *Input) { in.Claims[0].Replica = 0 },
		"no QC":                             func(in *Input) { in.QC, in.Block = nil, nil },
		"a QC of too few": func(in *Input) {
			c := &in.QC.Certificate
			c.Signers.Remove(c.Signers.Members()[len(c.Signatures)-1])
			c.Signatures = c.Signatures[:2]
		},
		"a QC of another slot":      func(in *Input) { in.QC.Slot = 2 },
		"a QC of another block":     func(in *Input) { in.QC.Digest = other },
		"a QC below a claimed slot": func(in *Input) { x.claim(in, 0, func(c *Claim) { c.Slot, c.Digest = 2, other }) },
		"another block":             func(in *Input) { in.Block = x.base },
		"a cut below a tip": func(in *Input) {
			in.Cut[2], in.Certificates = in.Block.Cut[2], nil
		},
		"a cut with a lane behind the block": func(in *Input) { in.Cut[1] = lanes.Tip{} },
		"a tip of another digest":            func(in *Input) { in.Cut[2].Digest = other },
		"an uncertified tip":                 func(in *Input) { in.Cut[3] = lanes.Tip{Seq: 1, Digest: other} },
		"a tip certified by too few": func(in *Input) {
			tip := lanes.Tip{Seq: 1, Digest: other}
			in.Cut[3] = tip
			in.Certificates = append(in.Certificates, x.certificate(3, tip, 2))
		},
		"one certificate too many": func(in *Input) {
			in.Certificates = append(in.Certificates, x.certificate(3, lanes.Tip{Seq: 1, Digest: other}, 3))
		},
		"inbound below a tip": func(in *Input) { in.Inbound[1], in.Deliveries = lanes.Tip{}, nil },
		"an uncertified LD":   func(in *Input) { in.Inbound[1] = lanes.Tip{Seq: 2, Digest: other} },
		"an LD signed by too few": func(in *Input) {
			c := &in.Deliveries[0].Certificate
			c.Signers.Remove(c.Signers.Members()[1])
			c.Signatures = c.Signatures[:1]
		},
		"a channel to itself":               func(in *Input) { in.Deliveries[0].Source = 0 },
		"a cut of fewer channels":           func(in *Input) { in.Inbound = in.Inbound[:1] },
		"a claim of fewer channels":         func(in *Input) { x.claim(in, 0, func(c *Claim) { c.Inbound = c.Inbound[:1] }) },
		"a claimed tip that does not exist": func(in *Input) { x.claim(in, 0, func(c *Claim) { c.Cut[3] = lanes.Tip{Seq: 9, Digest: other} }) },
	} {
		in := x.input()
		spoil(in)
		if x.passes(in) {
			t.Errorf("an input with %s is accepted", name)
		}
	}
}

// TestValidInputs: a cut may be ahead of the claimed tips. A claim may be of a lower slot, or of another LD under the same
// number: a shard with too many Byzantine replicas can make two.
func TestValidInputs(t *testing.T) {
	x := newEnding(t)
	for name, change := range map[string]func(*Input){
		"a further tip": func(in *Input) {
			tip := lanes.Tip{Seq: 4, Digest: digest.Of("further")}
			in.Cut[3] = tip
			in.Certificates = append(in.Certificates, x.certificate(3, tip, 3))
		},
		"a claim of slot 0":     func(in *Input) { x.claim(in, 0, func(c *Claim) { c.Slot, c.Digest = 0, digest.Digest{} }) },
		"a claim of another LD": func(in *Input) { x.claim(in, 0, func(c *Claim) { c.Inbound[1].Digest = digest.Of("other") }) },
	} {
		in := x.input()
		change(in)
		if !x.passes(in) {
			t.Errorf("an input with %s is refused", name)
		}
	}
}

// TestLastBlock: the time of the last block is the median of the claimed times, or the time of the parent if that is later.
// Its parent is the block of the QC.
func TestLastBlock(t *testing.T) {
	x := newEnding(t)
	parent := x.block.TimeMS
	for _, c := range []struct{ times, want [3]uint64 }{
		{[3]uint64{parent + 30, parent + 10, parent + 20}, [3]uint64{parent + 20}},
		{[3]uint64{0, parent + 1<<50, parent + 20}, [3]uint64{parent + 20}},
		{[3]uint64{0, 1, parent + 20}, [3]uint64{parent}},
	} {
		in := x.input()
		for k := range in.Claims {
			in.Claims[k].TimeMS = c.times[k]
		}
		last := in.last(x.c, x.base)
		if last.TimeMS != c.want[0] || !last.Last || last.Slot != 0 || last.Epoch != 1 || last.Height != 2 || last.Parent != x.block.Digest() {
			t.Errorf("times %v: the last block is %+v", c.times, last)
		}
	}
}

// TestStatusIsProved: a Status whose proofs do not match its claim is refused.
func TestStatusIsProved(t *testing.T) {
	x := newEnding(t)
	passes := func(from protocols.Index, s *Status) bool {
		got, err := DecodeStatus(x.c, s.Append(nil))
		if err != nil {
			return false
		}
		if !bytes.Equal(got.Append(nil), s.Append(nil)) {
			t.Error("a Status decodes to another")
		}
		checks, err := got.SignatureChecks(x.c, from)
		return err == nil && x.scheme.VerifyAll(checks)
	}
	if !passes(1, x.statuses[0]) {
		t.Fatal("a good Status is refused")
	}
	if passes(2, x.statuses[0]) {
		t.Error("a Status verifies for another replica")
	}
	resign := func(s *Status) { s.Signature = x.scheme.Signer(1).Sign(s.statement(x.c)) }
	for name, spoil := range map[string]func(*Status){
		"another time":              func(s *Status) { s.TimeMS++ },
		"no signature":              func(s *Status) { s.Signature = sig.Signature{} },
		"another epoch":             func(s *Status) { s.Epoch++ },
		"a higher slot":             func(s *Status) { s.Slot++; resign(s) },
		"another block":             func(s *Status) { s.Digest[0] ^= 1; resign(s) },
		"a tip with another digest": func(s *Status) { s.Cut[2].Digest[0] ^= 1; resign(s) },
		"a further tip":             func(s *Status) { s.Cut[2].Seq++; resign(s) },
		"another LD":                func(s *Status) { s.Inbound[1].Digest[0] ^= 1; resign(s) },
		"a QC of too few":           func(s *Status) { s.QC.Certificate = x.certificate(0, lanes.Tip{}, 2).Certificate },
		"tips of fewer lanes":       func(s *Status) { s.Cut = s.Cut[:3]; resign(s) },
		"a certificate too few":     func(s *Status) { s.Certificates = nil },
	} {
		s, err := DecodeStatus(x.c, x.statuses[0].Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		spoil(s)
		if passes(1, s) {
			t.Errorf("a Status with %s is accepted", name)
		}
	}
}

// FuzzStatus: decoding and checking never panic, and a decoded Status encodes to the same bytes.
func FuzzStatus(f *testing.F) {
	x := newEnding(&testing.T{})
	f.Add(x.statuses[0].Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeStatus(x.c, b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Append(nil), b) {
			t.Errorf("%x encodes to %x", b, s.Append(nil))
		}
		_, _ = s.SignatureChecks(x.c, 1)
	})
}

// FuzzInput: decoding and checking never panic, and a decoded Input encodes to the same bytes.
func FuzzInput(f *testing.F) {
	x := newEnding(&testing.T{})
	f.Add(x.input().Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := DecodeInput(x.c, b)
		if err != nil {
			return
		}
		if !bytes.Equal(in.Encode(), b) {
			t.Errorf("%x encodes to %x", b, in.Encode())
		}
		_, _ = in.SignatureChecks(x.c)
		_ = in.check(x.c, 1, x.base)
	})
}

// TestLargestInput: the largest possible input in the largest shard of the largest network is at most mvba.MaxValue bytes.
// Byzantine replicas have given each certificate as many signers as there are replicas.
func TestLargestInput(t *testing.T) {
	const n, shards = protocols.MaxReplicas, 64
	var all protocols.Certificate
	for i := range protocols.Index(n) {
		all.Signers.Add(i)
		all.Signatures = append(all.Signatures, sig.Signature{})
	}
	x := Input{QC: &bolt.QC{Certificate: all}, Cut: make(lanes.Cut, n), Inbound: make(lanes.Cut, shards)}
	claim := Claim{Cut: x.Cut, Inbound: x.Inbound}
	for i := range protocols.Index(n - (n-1)/3) {
		x.Claims = append(x.Claims, SignedClaim{Replica: i, Claim: claim})
	}
	x.Block = &bolt.Block{Cut: x.Cut, Inbound: x.Inbound}
	for i := range protocols.Index(n) {
		x.Certificates = append(x.Certificates, &lanes.TipCertificate{Lane: i, Certificate: all})
	}
	for k := range uint16(shards) {
		x.Deliveries = append(x.Deliveries, &inbound.TipCertificate{Source: k, Certificate: all})
	}
	size := len(x.Encode())
	t.Logf("%d bytes", size)
	if size > mvba.MaxValue {
		t.Errorf("%d bytes, and a value has at most %d", size, mvba.MaxValue)
	}
}
