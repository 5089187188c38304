package sim

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// An adversary signs with its own key. The statements are repeated here as the packages define them.

// sign signs a statement of any kind.
func (n *node) sign(kind string, fields ...[]byte) sig.Signature {
	return n.s.signers[n.id].Sign(n.s.committee.Statement(kind, fields...))
}

// signPropose proposes any block.
func (n *node) signPropose(b *bolt.Block, certs []*lanes.TipCertificate) *bolt.Propose {
	p := &bolt.Propose{Leader: n.id, Block: n.sealed(b), Certificates: certs}
	p.Signature = n.s.signers[n.id].Sign(n.proposeStatement(n.id, p.Block))
	return p
}

// signStatus signs any claim. Its proofs stay as they are.
func (n *node) signStatus(s *bdt.Status) *bdt.Status {
	s.Signature = n.sign("bdt/status/1", claimFields(s.Claim)...)
	return s
}

// claimFields are the signed fields of a claim.
func claimFields(x bdt.Claim) [][]byte {
	b := (&bdt.Status{Claim: x}).Append(nil) // epoch, claim, signature
	return [][]byte{b[:len(b)-sig.SignatureSize]}
}

// roundField names a round of an agreement.
func roundField(at mvba.At) []byte {
	b := append(wire.AppendU64(nil, at.Instance.Epoch), at.Instance.Kind)
	return wire.AppendU32(wire.AppendU16(b, at.Instance.Index), at.Round)
}

func (n *node) signEcho(at mvba.At, broadcaster protocols.Index, d digest.Digest) *mvba.Echo {
	return &mvba.Echo{At: at, Broadcaster: broadcaster, Digest: d,
		Signature: n.sign("bdt/mvba-echo/1", roundField(at), wire.AppendU16(nil, uint16(broadcaster)), d[:])}
}

func (n *node) signAccept(at mvba.At, broadcaster protocols.Index, d digest.Digest) *mvba.Accept {
	return &mvba.Accept{At: at, Broadcaster: broadcaster, Digest: d, Signature: n.acceptance(at, broadcaster, d)}
}

func (n *node) acceptance(at mvba.At, broadcaster protocols.Index, d digest.Digest) sig.Signature {
	return n.sign("bdt/mvba-accept/1", roundField(at), wire.AppendU16(nil, uint16(broadcaster)), d[:])
}

func (n *node) signNoPreVote(at mvba.At, leader protocols.Index) *mvba.PreVote {
	return &mvba.PreVote{At: at, Leader: leader, Signature: n.sign("bdt/mvba-pre-no/1", roundField(at))}
}

func (n *node) signNoVote(v *mvba.Vote) *mvba.Vote {
	claim := uint32(0)
	if v.Key != nil {
		claim = v.Key.Round
	}
	v.Signature = n.sign("bdt/mvba-no/1", roundField(v.At), wire.AppendU32(nil, claim))
	return v
}

// signLD signs any position of a channel.
func (n *node) signLD(source uint16, t lanes.Tip) *inbound.SIGN {
	b := append(wire.AppendU64(wire.AppendU16(nil, source), t.Seq), t.Digest[:]...)
	return &inbound.SIGN{Source: source, Tip: t, Signature: n.sign("bdt/SIGN/1", b)}
}

// share is the replica's share of any toss.
func (n *node) share(name toss.Name) *toss.Release {
	return &toss.Release{Name: name, Share: n.s.shares[n.id].Share(name.Statement(n.s.committee))}
}

// tossOf is the coin of a round.
func tossOf(at mvba.At) toss.Name {
	return toss.Name{Epoch: at.Instance.Epoch, Kind: at.Instance.Kind, Index: at.Instance.Index, Round: at.Round}
}

// placeOf is the round of a message of an agreement; ok is false for other messages.
func placeOf(m protocols.Message) (at mvba.At, ok bool) {
	switch x := m.(type) {
	case *mvba.Proposal:
		return x.At, true
	case *mvba.Echo:
		return x.At, true
	case *mvba.Lock:
		return x.At, true
	case *mvba.Accept:
		return x.At, true
	case *mvba.Finish:
		return x.At, true
	case *mvba.PreVote:
		return x.At, true
	case *mvba.Vote:
		return x.At, true
	case *mvba.Decision:
		return x.At, true
	case *toss.Release:
		return roundOfName(x.Name), true
	case *toss.Relay:
		return roundOfName(x.Name), true
	}
	return at, false
}

// copied is a copy of a message, every part of which may be changed.
func copied[M protocols.Message](n *node, m M) M {
	c, err := replica.Decode(n.s.committee, replica.Encode(m))
	if err != nil {
		panic(err) // an own message of an honest core
	}
	return c.(M)
}

// forged is a message that every receiver must refuse.
func forged(m protocols.Message, why string) []packet {
	return []packet{{frame: replica.Encode(m), forged: why}}
}

// lies counts the incorrect messages of an adversary, by kind.
type lies map[string]int

// told is called with the kind of each incorrect message.
func (l *lies) told(what string) {
	if *l == nil {
		*l = make(lies)
	}
	(*l)[what]++
}

// invented is a digest without content, another one for each number.
func invented(number uint64) digest.Digest {
	return digest.Of("bdt/simulated-lie/4", wire.AppendU64(nil, number))
}
