package adversary

import (
	"slices"
	"strings"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/shard/settlement"
)

// mutable is the part of a message that is encoded, and the input that it carries, nil if it carries none.
func mutable(v *View, m protocols.Message) (content any, input *bdt.Input) {
	var value []byte
	switch x := m.(type) {
	case *replica.Inbound:
		return x.Content, nil
	case *mvba.Proposal:
		value = x.Value
	case *mvba.Value:
		value = x.Value
	}
	if in, err := bdt.DecodeInput(v.Committee, slices.Clone(value)); err == nil {
		input = in
	}
	return m, input
}

// signedAnew is the frame of a message in which a field was changed. If this replica signs such messages, and the
// changed field is not the signature, the message is signed again.
func signedAnew(v *View, m protocols.Message, input *bdt.Input, changed string) []byte {
	if input != nil && strings.HasPrefix(changed, "bdt.Input.") {
		for k := range input.Claims {
			if c := &input.Claims[k]; c.Replica == v.Self && !strings.HasSuffix(changed, ".Signature") {
				c.Signature = v.signStatus(&bdt.Status{Claim: c.Claim}).Signature
			}
		}
		switch x := m.(type) {
		case *mvba.Proposal:
			x.Value = input.Encode()
		case *mvba.Value:
			x.Value = input.Encode()
		}
	}
	if x, ok := m.(*lanes.Batch); ok {
		return batchFrame(v, x, changed)
	}
	if x, ok := m.(*replica.Inbound); ok {
		return ldFrame(x.Content)
	}
	if !strings.HasSuffix(changed, ".Signature") && !strings.HasSuffix(changed, ".Share") {
		sign(v, m)
	}
	return replica.Encode(m)
}

// sign signs the content of a message, if the message needs this replica's signature.
func sign(v *View, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Ack:
		*x = *v.signAck(x.Lane, x.Tip)
	case *lanes.Conflict:
		if x.Lane == v.Self {
			x.Signature = v.signHeader(&x.SignedHeader)
		}
	case *bolt.Propose:
		if x.Leader == v.Self {
			*x = *v.signPropose(x.Block, x.Certificates)
		}
	case *bolt.Vote:
		*x = *v.signVote(x.Epoch, x.Slot, x.Digest)
	case *bdt.Status:
		v.signStatus(x)
	case *certify.VOTE:
		x.Signature = v.Signer.Sign(certify.Statement(v.Committee, x.Height, x.Header))
	case *inbound.SIGN:
		*x = *v.signLD(x.Source, x.Tip)
	case *cancel.CLM:
		x.Digest = cancel.DigestOf(x.Content)
		x.Signature = v.Signer.Sign(cancel.Statement(v.Committee, x.Digest))
	case *mvba.Echo:
		*x = *v.signEcho(x.At, x.Broadcaster, x.Digest)
	case *mvba.Accept:
		*x = *v.signAccept(x.At, x.Broadcaster, x.Digest)
	case *mvba.PreVote:
		x.Signature = v.signNoPreVote(x.At, x.Leader).Signature
	case *mvba.Vote:
		if x.Yes {
			x.Signature = v.acceptance(x.At, x.Leader, x.Digest)
		} else {
			v.signNoVote(x)
		}
	case *toss.Release:
		*x = *v.share(x.Name)
	}
}

// headerBytes is the encoding of a lane's header.
func headerBytes(h *lanes.SignedHeader) []byte {
	b := (&lanes.Conflict{SignedHeader: *h}).Append(nil) // header, signature
	return b[:len(b)-sig.SignatureSize]
}

func (v *View) signHeader(h *lanes.SignedHeader) sig.Signature {
	network := v.Committee.Network()
	d := digest.Of("bdt/lane-header/1", wire.AppendU16(network[:], v.Shard), headerBytes(h))
	return v.sign("bdt/lane/1", d[:])
}

// batchFrame is the encoding of a batch from its fields, also if they are inconsistent. If the payload was changed, the
// header gets the digest of the new one. Otherwise no receiver would examine the payload.
func batchFrame(v *View, x *lanes.Batch, changed string) []byte {
	if changed == "lanes.Batch.Payload" {
		x.Header.Payload, x.Size = lanes.PayloadDigest(x.Payload), uint32(len(x.Payload))
	}
	if x.Lane == v.Self && !strings.HasSuffix(changed, ".Signature") {
		x.Signature = v.signHeader(&x.SignedHeader)
	}
	b := append([]byte{byte(lanes.KindBatch)}, headerBytes(&x.SignedHeader)...)
	b = wire.AppendBytes(append(b, x.Signature[:]...), x.Payload)
	if x.Certificate == nil {
		return wire.AppendBool(b, false)
	}
	return x.Certificate.Append(wire.AppendBool(b, true))
}

// ldFrame is the encoding of an LD from its fields.
func ldFrame(x *settlement.LD) []byte {
	return append([]byte{byte(inbound.KindLD)}, x.Encode()...)
}

// derived makes messages of rare types from one of a frequent type. They need not be valid.
func (v *View) derived(x message) []protocols.Message {
	c := v.Committee
	quorum := func(s sig.Signature) protocols.Certificate { return v.certificate(c.Quorum(), s) }
	switch m := x.Message.(type) {
	case *lanes.Batch:
		return []protocols.Message{
			&replica.Known{Member: m.Lane, Header: &lanes.Conflict{SignedHeader: m.SignedHeader}},
			&lanes.Conflict{SignedHeader: m.SignedHeader}, &lanes.Fetch{Lane: m.Lane, Tip: m.Tip(), After: m.Seq - 1},
			&lanes.TipCertificate{Lane: m.Lane, Tip: m.Tip(), Certificate: quorum(v.signAck(m.Lane, m.Tip()).Signature)},
		}
	case *bolt.Vote:
		return []protocols.Message{&replica.Known{Member: v.Self, Vote: m}, &bolt.FetchBlock{Epoch: m.Epoch, Slot: m.Slot, Digest: m.Digest}}
	case *inbound.SIGN:
		out := []protocols.Message{
			&inbound.FetchLD{Source: m.Source, Tip: m.Tip, After: m.Tip.Seq - 1},
			&inbound.TipCertificate{Source: m.Source, Tip: m.Tip, Certificate: v.certificate(c.WeakQuorum(), m.Signature)},
		}
		if stored := v.LD(m.Source, m.Tip); stored != nil {
			if ld, err := settlement.DecodeLD(slices.Clone(stored.Raw)); err == nil {
				out = append(out, replica.NewInbound(ld))
			}
		}
		return out
	case *replica.Position:
		out := []protocols.Message{&replica.Hello{Boot: 1, Nonce: 1}, &replica.Fenced{Boot: 1, Nonce: 1}}
		if height := v.Height(); height > 0 {
			out = append(out, &replica.Request{From: height})
			h, err := v.History(max(height, 4) - 3)
			if err == nil {
				out = append(out, h)
			}
		}
		return out
	case *bdt.Status:
		if m.Slot == 0 { // there is no fast lane, or the block is empty
			m = copied(v, m)
			m.Slot, m.Digest = 1, invented(m.Epoch)
			m.QC = &bolt.QC{Certificate: quorum(v.signVote(m.Epoch, m.Slot, m.Digest).Signature)}
		}
		if claimedBelow(m.Inbound) == 0 && len(m.Inbound) > 1 {
			m = copied(v, m)
			source := (v.Shard + 1) % uint16(len(m.Inbound))
			m.Inbound[source] = lanes.Tip{Seq: 1, Digest: invented(1)}
			m.Deliveries = []*inbound.TipCertificate{{Certificate: v.certificate(c.WeakQuorum(), v.signLD(source, m.Inbound[source]).Signature)}}
		}
		return []protocols.Message{v.signStatus(m), &replica.Known{Member: v.Self, Status: m.Signed(v.Self)}}
	case *mvba.Proposal:
		if m.Round > 1 {
			return nil
		}
		return []protocols.Message{&mvba.FetchValue{Instance: m.Instance, Digest: m.Digest}, &mvba.Value{Instance: m.Instance, Value: m.Value}, &mvba.ResendRequest{At: m.At}}
	case *mvba.Lock:
		return v.laterRound(x.from, m)
	}
	return nil
}

// laterRound makes the messages of a round that follows one without a decision.
func (v *View) laterRound(leader protocols.Index, m *mvba.Lock) []protocols.Message {
	c := v.Committee
	next := m.At
	next.Round++
	noes := v.certificate(c.Quorum(), v.signNoPreVote(m.At, leader).Signature)
	share := v.share(tossOf(m.At)).Share
	key := &mvba.Key{Round: m.Round, Leader: leader, Digest: m.Digest, Echoes: m.Echoes}
	var refusing mvba.NoVotes
	for i := range c.WeakQuorum() {
		key.Coin.Holders.Add(protocols.Index(i))
		key.Coin.Shares = append(key.Coin.Shares, share)
	}
	for i := range c.Quorum() {
		refusing.Signers.Add(protocols.Index(i))
		refusing.Claims = append(refusing.Claims, m.Round)
		refusing.Signatures = append(refusing.Signatures, noes.Signatures[0])
	}
	yes := &mvba.Vote{At: m.At, Leader: leader, Yes: true, Digest: m.Digest, Echoes: m.Echoes}
	yes.Signature = v.acceptance(m.At, leader, m.Digest)
	return []protocols.Message{
		v.signNoPreVote(m.At, leader), &mvba.PreVote{At: m.At, Leader: leader, Yes: true, Digest: m.Digest, Echoes: m.Echoes}, yes,
		v.signNoVote(&mvba.Vote{At: next, Leader: leader, NoPreVotes: noes, Key: key}),
		&mvba.Decision{At: m.At, Leader: leader, Digest: m.Digest, Accepts: m.Echoes, Coin: key.Coin},
		&mvba.Proposal{At: next, Digest: m.Digest, Justification: &mvba.Justification{Key: key, NoPreVotes: noes}},
		&mvba.Proposal{At: next, Digest: m.Digest, Justification: &mvba.Justification{Key: key, NoVotes: refusing}},
	}
}
