package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// Stage is the progress of a transaction between shards in one of these shards.
type Stage uint8

// The stages. An input shard that has given its verdict is never in StagePending.
const (
	StagePending  Stage = iota // nothing consumed and nothing created in this shard
	StageEscrow                // its inputs in this shard are consumed and held in escrow
	StageSettled               // its outputs in this shard exist
	StageReturned              // its inputs in this shard were returned as new outputs
	StageRejected              // it changed nothing in this shard and never will
)

var stageNames = [...]string{"pending", "escrow", "settled", "returned", "rejected"}

// String is the name of the stage in the API.
func (s Stage) String() string {
	if int(s) >= len(stageNames) {
		return fmt.Sprintf("stage_%d", uint8(s))
	}
	return stageNames[s]
}

// KnownVerdict is one input shard's verdict as another shard, or the input shard itself, has recorded it.
type KnownVerdict struct {
	Shard   uint16
	Verdict Verdict // VerdictSpent, VerdictRejected, or 0 until it is known
	Reason  Reason  // of a rejection
	Height  uint64  // height in this shard of the block that recorded it
}

// Part is the state of a transaction between shards in one of these shards. It is kept for queries after the record
// is closed.
type Part struct {
	Tx     TxID
	Shard  uint16
	Stage  Stage
	Open   bool     // the record may still affect later blocks
	Height uint64   // of the block that set Stage
	Unsent ShardSet // shards to which this shard's verdict is not sent yet
	// Outputs are the output shards. The transaction is settled when its outputs exist in all of them.
	Outputs ShardSet
	Known   []KnownVerdict // every input shard, ascending
}

// Of returns the entry of an input shard in Known, nil if the shard is not an input shard.
func (p *Part) Of(shard uint16) *KnownVerdict {
	for i := range p.Known {
		if p.Known[i].Shard == shard {
			return &p.Known[i]
		}
	}
	return nil
}

// Complete reports whether the verdicts of all input shards are known.
func (p *Part) Complete() bool {
	for i := range p.Known {
		if p.Known[i].Verdict == 0 {
			return false
		}
	}
	return true
}

// AllSpent reports whether the known verdict of every input shard is SPENT.
func (p *Part) AllSpent() bool {
	for i := range p.Known {
		if p.Known[i].Verdict != VerdictSpent {
			return false
		}
	}
	return true
}

// Rejection returns the known rejection of the lowest-numbered shard, or nil.
func (p *Part) Rejection() *KnownVerdict {
	for i := range p.Known {
		if p.Known[i].Verdict == VerdictRejected {
			return &p.Known[i]
		}
	}
	return nil
}

const knownSize = 2 + 1 + 1 + 8

// encode omits the id and the shard: a reader has both, the id from the key.
func (p *Part) encode() []byte {
	b := append(make([]byte, 0, 1+1+8+8+8+2+len(p.Known)*knownSize), byte(p.Stage))
	b = wire.AppendU64(wire.AppendU64(wire.AppendBool(b, p.Open), p.Height), uint64(p.Unsent))
	b = wire.AppendU64(b, uint64(p.Outputs))
	b = wire.AppendU16(b, uint16(len(p.Known)))
	for i := range p.Known {
		k := &p.Known[i]
		b = append(wire.AppendU16(b, k.Shard), byte(k.Verdict), byte(k.Reason))
		b = wire.AppendU64(b, k.Height)
	}
	return b
}

func decodePart(v []byte, id TxID, shard uint16) (Part, error) {
	r := wire.NewReader(v)
	p := Part{Tx: id, Shard: shard, Stage: Stage(r.U8()), Open: r.Bool(), Height: r.U64(), Unsent: ShardSet(r.U64()), Outputs: ShardSet(r.U64())}
	p.Known = make([]KnownVerdict, r.Count(MaxShards, knownSize))
	for i := range p.Known {
		p.Known[i] = KnownVerdict{Shard: r.U16(), Verdict: Verdict(r.U8()), Reason: Reason(r.U8()), Height: r.U64()}
	}
	if err := r.Done(); err != nil {
		return Part{}, fmt.Errorf("the record of transaction %s is damaged: %w", id, err)
	}
	return p, nil
}

// Record is an open record: a transaction between shards that may still change something in this shard, or whose
// verdict in this shard must be kept so that no second one is given.
type Record struct {
	Part   Part
	Shards TxShards
	Tx     *Tx
}

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
