package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// Stage is how far a transaction between shards has come in one of them.
type Stage uint8

// The stages. An input shard with a verdict is never pending.
const (
	StagePending  Stage = iota // nothing of it is consumed or created here
	StageEscrow                // its inputs here are consumed and held for it
	StageSettled               // its outputs here exist
	StageReturned              // its inputs here were given back as new outputs
	StageRejected              // it will never change anything here
)

var stageNames = [...]string{"pending", "escrow", "settled", "returned", "rejected"}

// String is the stage as the API tells it.
func (s Stage) String() string {
	if int(s) >= len(stageNames) {
		return fmt.Sprintf("stage_%d", uint8(s))
	}
	return stageNames[s]
}

// Known is what a shard knows of the verdict of one input shard.
type Known struct {
	Shard   uint16
	Verdict Verdict // VerdictSpent, VerdictRejected, or 0 while it is not known
	Reason  Reason  // of a rejection
	Height  uint64  // of the own block that noted it
}

// Part is one shard's part of a transaction between shards. It is kept for queries after it is closed.
type Part struct {
	Tx     TxID
	Shard  uint16
	Stage  Stage
	Open   bool     // it decides later blocks still
	Height uint64   // of the block that brought it to its Stage
	Untold ShardSet // shards that are still to be told the own verdict
	// Outputs are the shards that the transaction creates outputs in: it is settled when they exist in all of these.
	Outputs ShardSet
	Known   []Known // every input shard, ascending
}

// Of is what is known of a shard's verdict, nil if it is no input shard.
func (p *Part) Of(shard uint16) *Known {
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

// AllSpent reports whether all input shards are known to have spent their inputs.
func (p *Part) AllSpent() bool {
	for i := range p.Known {
		if p.Known[i].Verdict != VerdictSpent {
			return false
		}
	}
	return true
}

// Rejection is the first known rejection, by shard, or nil.
func (p *Part) Rejection() *Known {
	for i := range p.Known {
		if p.Known[i].Verdict == VerdictRejected {
			return &p.Known[i]
		}
	}
	return nil
}

const knownSize = 2 + 1 + 1 + 8

// encode leaves out the id and the shard, which are known where a part is read.
func (p *Part) encode() []byte {
	b := append(make([]byte, 0, 1+1+8+8+8+2+len(p.Known)*knownSize), byte(p.Stage))
	b = wire.AppendU64(wire.AppendU64(wire.AppendBool(b, p.Open), p.Height), uint64(p.Untold))
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
	p := Part{Tx: id, Shard: shard, Stage: Stage(r.U8()), Open: r.Bool(), Height: r.U64(), Untold: ShardSet(r.U64()), Outputs: ShardSet(r.U64())}
	p.Known = make([]Known, r.Count(MaxShards, knownSize))
	for i := range p.Known {
		p.Known[i] = Known{Shard: r.U16(), Verdict: Verdict(r.U8()), Reason: Reason(r.U8()), Height: r.U64()}
	}
	if err := r.Done(); err != nil {
		return Part{}, fmt.Errorf("the record of transaction %s is damaged: %w", id, err)
	}
	return p, nil
}

// Record is an open record: a transaction between shards that may still change something here, or whose verdict here
// must still be remembered.
type Record struct {
	Part    Part
	Parties Parties
	Tx      *Tx
}

// Channel is how a shard stands with another one, in both directions.
type Channel struct {
	Peer          uint16
	Sent          uint64        // number of the last delivery made for the peer
	SentDigest    digest.Digest // of it
	Acked         uint64        // number of the last one that the peer has shown it applied
	Applied       uint64        // number of the last delivery of the peer that was applied
	AppliedDigest digest.Digest // of it
	Told          uint64        // what Applied was when the peer was last told
	Frozen        bool          // the peer broke the rules; nothing more of it is applied
	Waiting       uint64        // open records that wait for its verdict
	Escrow        uint64        // value held here that waits for its verdict
	Created       uint64        // value created here on its word, in all
}

const channelSize = 8*8 + 2*digest.Size + 1

// encode leaves out the peer, which is in the key.
func (c *Channel) encode() []byte {
	b := make([]byte, 0, channelSize)
	b = append(wire.AppendU64(b, c.Sent), c.SentDigest[:]...)
	b = wire.AppendU64(wire.AppendU64(b, c.Acked), c.Applied)
	b = append(b, c.AppliedDigest[:]...)
	b = wire.AppendBool(wire.AppendU64(b, c.Told), c.Frozen)
	return wire.AppendU64(wire.AppendU64(wire.AppendU64(b, c.Waiting), c.Escrow), c.Created)
}

func decodeChannel(v []byte, peer uint16) (Channel, error) {
	r := wire.NewReader(v)
	c := Channel{Peer: peer, Sent: r.U64()}
	r.Fixed(c.SentDigest[:])
	c.Acked, c.Applied = r.U64(), r.U64()
	r.Fixed(c.AppliedDigest[:])
	c.Told, c.Frozen = r.U64(), r.Bool()
	c.Waiting, c.Escrow, c.Created = r.U64(), r.U64(), r.U64()
	if err := r.Done(); err != nil {
		return Channel{}, fmt.Errorf("the record of the channel with shard %d is damaged: %w", peer, err)
	}
	return c, nil
}

// Freeze is why a channel was frozen: what the peer said that no honest shard says, and the proof. All replicas keep
// the same.
type Freeze struct {
	Source   uint16
	Number   uint64        // of the delivery that shows it
	Delivery digest.Digest // its digest
	Why      string
	Proof    string // encoding of the delivery if it was ordered, else of the evidence that was
}

func (f *Freeze) encode() []byte {
	b := append(wire.AppendU64(nil, f.Number), f.Delivery[:]...)
	return wire.AppendBytes(wire.AppendBytes(b, []byte(f.Why)), []byte(f.Proof))
}

func decodeFreeze(v []byte, source uint16) (Freeze, error) {
	r := wire.NewReader(v)
	f := Freeze{Source: source, Number: r.U64()}
	r.Fixed(f.Delivery[:])
	f.Why = string(r.Bytes(r.Len()))
	f.Proof = string(r.Bytes(r.Len()))
	if err := r.Done(); err != nil {
		return Freeze{}, fmt.Errorf("why the channel of shard %d is frozen is damaged: %w", source, err)
	}
	return f, nil
}
