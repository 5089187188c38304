package adversary

import (
	"fmt"
	"math"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// BadCuts proposes cuts for which no honest replica may vote, or whose data no replica has. They take back ordered
// positions, name positions that do not exist, or existing ones by a wrong digest. Some go to all replicas, some to a
// part only, and its later blocks may extend them.
type BadCuts struct {
	Rate  float64 // share of its proposals
	epoch uint64
	kind  string // kind of bad cut in the current epoch
	twins map[digest.Digest]badCut
	own   map[digest.Digest]*bolt.Block // blocks proposed by its core
	tally
}

// badCut is the block that it proposes in place of another, and the receivers.
type badCut struct {
	propose *bolt.Propose
	forged  string
	all     bool
}

func (a *BadCuts) String() string { return fmt.Sprintf("proposes %.0f %% bad cuts", 100*a.Rate) }

func (a *BadCuts) Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet {
	p, ok := m.(*bolt.Propose)
	if !ok || p.Leader != v.Self {
		return Unchanged(m)
	}
	if a.twins == nil {
		a.twins, a.own = make(map[digest.Digest]badCut), make(map[digest.Digest]*bolt.Block)
	}
	d := p.Block.Digest()
	a.own[d] = p.Block
	bad, known := a.twins[d]
	if !known {
		bad = a.invent(v, p)
		a.twins[d] = bad
	}
	if bad.propose == nil || !bad.all && to%2 == 0 {
		return Unchanged(m)
	}
	if bad.forged != "" {
		return forged(bad.propose, bad.forged)
	}
	return Unchanged(bad.propose)
}

// invent makes the bad cut in place of a block, or none.
//
//nolint:cyclop,funlen // one case for each kind of bad cut
func (a *BadCuts) invent(v *View, p *bolt.Propose) badCut {
	rng := v.Rand
	on := a.twins[p.Block.Parent].propose
	if rng.Float64() >= a.Rate && on == nil {
		return badCut{}
	}
	b := *p.Block
	b.Cut, b.Inbound = slices.Clone(b.Cut), slices.Clone(b.Inbound)
	if on != nil && rng.IntN(2) == 0 {
		b.Parent = on.Block.Digest()
	}
	certs := p.Certificates
	why := ""
	lane := rng.IntN(len(b.Cut))
	if a.epoch != b.Epoch || rng.IntN(3) == 0 {
		a.epoch, a.kind = b.Epoch, BadCutKinds[rng.IntN(len(BadCutKinds))]
	}
	t := &b.Cut[lane]
	switch a.kind {
	case "shrinks":
		parent := a.own[b.Parent]
		if on != nil && b.Parent == on.Block.Digest() {
			parent = on.Block
		}
		if parent == nil {
			parent = v.Block(b.Height - 1)
		}
		if parent == nil {
			return badCut{}
		}
		copy(b.Cut, parent.Cut)
		for back := range b.Cut {
			b.Cut[back] = v.before(protocols.Index(back), b.Cut[back])
		}
	case "other digest":
		*t = lanes.Tip{Seq: max(t.Seq, 1), Digest: invented(rng.Uint64N(3))}
	case "no data":
		*t = lanes.Tip{Seq: t.Seq + 1 + rng.Uint64N(3), Digest: invented(rng.Uint64N(1 << 20))}
	case "forged certificate":
		*t = lanes.Tip{Seq: t.Seq + 1, Digest: invented(rng.Uint64N(1 << 20))}
		ack := v.signAck(protocols.Index(lane), *t)
		cert := &lanes.TipCertificate{Lane: protocols.Index(lane), Tip: *t, Certificate: v.certificate(v.Committee.Quorum(), ack.Signature)}
		if rng.IntN(2) == 0 {
			cert.Certificate = v.alone(ack.Signature)
		}
		certs, why = []*lanes.TipCertificate{cert}, "a proposal with a forged certificate"
	case "kept to itself":
		t = &b.Cut[v.Self]
		h := lanes.Header{Lane: v.Self, Seq: t.Seq + 1, Parent: t.Digest, Count: 1}
		*t = lanes.NewBatch(v.Committee, v.Signer, h, ledger.EncodePayload([][]byte{v.Junk().Encode()})).Tip()
	case "far ahead":
		*t = lanes.Tip{Seq: []uint64{t.Seq + 10_000, 1 << 63, math.MaxUint64}[rng.IntN(3)], Digest: invented(0)}
	case "wrong number":
		if t.Seq == 0 {
			return badCut{}
		}
		t.Seq = []uint64{t.Seq + 1, t.Seq + 300, max(t.Seq, 2) - 1, math.MaxUint64}[rng.IntN(4)]
	case "another lane's":
		t.Digest = b.Cut[(lane+1)%len(b.Cut)].Digest
		t.Seq = b.Cut[(lane+1)%len(b.Cut)].Seq
	case "inbound":
		source := rng.IntN(len(b.Inbound))
		x := &b.Inbound[source]
		switch {
		case x.Seq > 0 && rng.IntN(2) == 0:
			x.Seq += 1 + rng.Uint64N(3)
		default:
			*x = lanes.Tip{Seq: x.Seq + []uint64{1, 2, 65, 1 << 40}[rng.IntN(4)], Digest: invented(2)}
		}
	case "inbound of another length":
		b.Inbound = b.Inbound[:rng.IntN(len(b.Inbound))]
		if rng.IntN(2) == 0 {
			b.Inbound = make(lanes.Cut, v.Shards+1)
		}
	}
	a.note(a.kind)
	return badCut{propose: v.signPropose(&b, certs), forged: why, all: rng.IntN(3) > 0}
}

// BadCutKinds are the ways in which a cut can be bad.
var BadCutKinds = []string{
	"shrinks", "other digest", "no data", "forged certificate", "kept to itself", "far ahead", "wrong number", "another lane's",
	"inbound", "inbound of another length",
}

// before is the position below one in a lane, if its batch is here, else the position itself.
func (v *View) before(lane protocols.Index, t lanes.Tip) lanes.Tip {
	b := v.Batch(lane, t)
	if b == nil {
		return t
	}
	return lanes.Tip{Seq: b.Seq - 1, Digest: b.Parent}
}
