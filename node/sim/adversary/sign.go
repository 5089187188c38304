package adversary

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// A behaviour signs with the key of its replica. The statements are repeated here as the packages define them.

// sign signs a statement of any kind.
func (v *View) sign(kind string, fields ...[]byte) sig.Signature {
	return v.Signer.Sign(v.Committee.Statement(kind, fields...))
}

func slotFields(epoch, slot uint64, d digest.Digest) []byte {
	return append(wire.AppendU64(wire.AppendU64(nil, epoch), slot), d[:]...)
}

// signVote makes a vote for any block.
func (v *View) signVote(epoch, slot uint64, d digest.Digest) *bolt.Vote {
	return &bolt.Vote{Epoch: epoch, Slot: slot, Digest: d, Signature: v.sign("bdt/vote/1", slotFields(epoch, slot, d))}
}

// signAck acknowledges any position.
func (v *View) signAck(lane protocols.Index, t lanes.Tip) *lanes.Ack {
	b := wire.AppendU64(wire.AppendU16(nil, uint16(lane)), t.Seq)
	return &lanes.Ack{Lane: lane, Tip: t, Signature: v.sign("bdt/ack/1", b, t.Digest[:])}
}

// signPropose proposes any block.
func (v *View) signPropose(b *bolt.Block, certs []*lanes.TipCertificate) *bolt.Propose {
	p := &bolt.Propose{Leader: v.Self, Block: v.sealed(b), Certificates: certs}
	p.Signature = v.Signer.Sign(v.proposeStatement(v.Self, p.Block))
	return p
}

// sealed is the block with the digest of its content.
func (v *View) sealed(b *bolt.Block) *bolt.Block {
	r := wire.NewReader(b.Append(nil))
	out := bolt.ReadBlock(v.Committee, r)
	if err := r.Done(); err != nil {
		panic(err)
	}
	return out
}

func (v *View) proposeStatement(leader protocols.Index, b *bolt.Block) []byte {
	return v.Committee.Statement("bdt/propose/1", wire.AppendU16(nil, uint16(leader)), slotFields(b.Epoch, b.Slot, b.Digest()))
}

// signStatus signs any claim. Its proofs stay as they are.
func (v *View) signStatus(s *bdt.Status) *bdt.Status {
	s.Signature = v.sign("bdt/status/1", claimFields(s.Claim)...)
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

func (v *View) signEcho(at mvba.At, broadcaster protocols.Index, d digest.Digest) *mvba.Echo {
	return &mvba.Echo{At: at, Broadcaster: broadcaster, Digest: d,
		Signature: v.sign("bdt/mvba-echo/1", roundField(at), wire.AppendU16(nil, uint16(broadcaster)), d[:])}
}

func (v *View) signAccept(at mvba.At, broadcaster protocols.Index, d digest.Digest) *mvba.Accept {
	return &mvba.Accept{At: at, Broadcaster: broadcaster, Digest: d, Signature: v.acceptance(at, broadcaster, d)}
}

func (v *View) acceptance(at mvba.At, broadcaster protocols.Index, d digest.Digest) sig.Signature {
	return v.sign("bdt/mvba-accept/1", roundField(at), wire.AppendU16(nil, uint16(broadcaster)), d[:])
}

func (v *View) signNoPreVote(at mvba.At, leader protocols.Index) *mvba.PreVote {
	return &mvba.PreVote{At: at, Leader: leader, Signature: v.sign("bdt/mvba-pre-no/1", roundField(at))}
}

func (v *View) signNoVote(x *mvba.Vote) *mvba.Vote {
	claim := uint32(0)
	if x.Key != nil {
		claim = x.Key.Round
	}
	x.Signature = v.sign("bdt/mvba-no/1", roundField(x.At), wire.AppendU32(nil, claim))
	return x
}

// signLD signs any position of a channel.
func (v *View) signLD(source uint16, t lanes.Tip) *inbound.SIGN {
	b := append(wire.AppendU64(wire.AppendU16(nil, source), t.Seq), t.Digest[:]...)
	return &inbound.SIGN{Source: source, Tip: t, Signature: v.sign("bdt/SIGN/1", b)}
}

// header is the replica's VOTE for any header.
func (v *View) header(h *ledger.Header) sig.Signature {
	return v.Signer.Sign(certify.Statement(v.Committee, h.Height, h.Digest()))
}

// share is the replica's share of any toss.
func (v *View) share(name toss.Name) *toss.Release {
	return &toss.Release{Name: name, Share: v.Holder.Share(name.Statement(v.Committee))}
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
		return roundOf(x.Name), true
	case *toss.Relay:
		return roundOf(x.Name), true
	}
	return at, false
}

// copied is a copy of a message, every part of which may be changed.
func copied[M protocols.Message](v *View, m M) M {
	c, err := replica.Decode(v.Committee, replica.Encode(m))
	if err != nil {
		panic(err) // an own message of an honest core
	}
	return c.(M)
}

// forged is a message that every receiver must refuse.
func forged(m protocols.Message, why string) []network.Packet {
	return []network.Packet{{Frame: replica.Encode(m), Forged: why}}
}

// invented is a digest without content, another one for each number.
func invented(number uint64) digest.Digest {
	return digest.Of("bdt/simulated-lie/4", wire.AppendU64(nil, number))
}

// alone is a certificate with only its own signature.
func (v *View) alone(s sig.Signature) protocols.Certificate {
	var x protocols.Certificate
	x.Signers.Add(v.Self)
	x.Signatures = []sig.Signature{s}
	return x
}

// certificate has one signature in the name of several replicas.
func (v *View) certificate(signers int, s sig.Signature) protocols.Certificate {
	var x protocols.Certificate
	for i := range signers {
		x.Signers.Add(protocols.Index(i))
		x.Signatures = append(x.Signatures, s)
	}
	return x
}

// roundOf is the round of a coin.
func roundOf(n toss.Name) mvba.At {
	return mvba.At{Instance: mvba.Instance{Epoch: n.Epoch, Kind: n.Kind, Index: n.Index}, Round: n.Round}
}
