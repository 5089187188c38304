package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// Channel is the state of the deliveries between this shard and a peer shard, in both directions. Numbers of
// deliveries count from 1; 0 means none.
type Channel struct {
	Peer          uint16
	Sent          uint64        // number of the last delivery made for the peer
	SentDigest    digest.Digest // of it
	Acked         uint64        // number of the last delivery to the peer that the peer has acknowledged as applied
	Applied       uint64        // number of the last delivery from the peer that was applied
	AppliedDigest digest.Digest // of it
	AppliedSent   uint64        // value of Applied in the last delivery made for the peer
	Frozen        bool          // the peer broke the rules; no further delivery from it is applied
	Waiting       uint64        // number of open records that wait for the peer's verdict
	Escrow        uint64        // value in escrow here for transactions that wait for the peer's verdict
	Created       uint64        // total value created here because the peer's verdict was SPENT
}

const channelSize = 8*8 + 2*digest.Size + 1

// encode omits the peer, which is in the key.
func (c *Channel) encode() []byte {
	b := make([]byte, 0, channelSize)
	b = append(wire.AppendU64(b, c.Sent), c.SentDigest[:]...)
	b = wire.AppendU64(wire.AppendU64(b, c.Acked), c.Applied)
	b = append(b, c.AppliedDigest[:]...)
	b = wire.AppendBool(wire.AppendU64(b, c.AppliedSent), c.Frozen)
	return wire.AppendU64(wire.AppendU64(wire.AppendU64(b, c.Waiting), c.Escrow), c.Created)
}

func decodeChannel(v []byte, peer uint16) (Channel, error) {
	r := wire.NewReader(v)
	c := Channel{Peer: peer, Sent: r.U64()}
	r.Fixed(c.SentDigest[:])
	c.Acked, c.Applied = r.U64(), r.U64()
	r.Fixed(c.AppliedDigest[:])
	c.AppliedSent, c.Frozen = r.U64(), r.Bool()
	c.Waiting, c.Escrow, c.Created = r.U64(), r.U64(), r.U64()
	if err := r.Done(); err != nil {
		return Channel{}, fmt.Errorf("the record of the channel with shard %d is damaged: %w", peer, err)
	}
	return c, nil
}

// Freeze is the reason why a channel was frozen: a rule that the source shard broke, with a proof. All replicas of
// the destination store the same Freeze.
type Freeze struct {
	Source   uint16
	Height   uint64        // of the block that froze the channel; set by [BlockState.Freeze]
	Number   uint64        // of the delivery that breaks the rule
	Delivery digest.Digest // its digest
	Why      string
	Proof    string // encoding of the delivery if the delivery was ordered, else encoding of the evidence
}

func (f *Freeze) encode() []byte {
	b := append(wire.AppendU64(wire.AppendU64(nil, f.Height), f.Number), f.Delivery[:]...)
	return wire.AppendBytes(wire.AppendBytes(b, []byte(f.Why)), []byte(f.Proof))
}

func decodeFreeze(v []byte, source uint16) (Freeze, error) {
	r := wire.NewReader(v)
	f := Freeze{Source: source, Height: r.U64(), Number: r.U64()}
	r.Fixed(f.Delivery[:])
	f.Why = string(r.Bytes(r.Len()))
	f.Proof = string(r.Bytes(r.Len()))
	if err := r.Done(); err != nil {
		return Freeze{}, fmt.Errorf("the freeze record of the channel from shard %d is damaged: %w", source, err)
	}
	return f, nil
}
