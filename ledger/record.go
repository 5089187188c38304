package ledger

import (
	"fmt"

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
	Reason  Reason  // of a rejection; ReasonCancelled without a verdict: a CL of the shard has returned the escrow
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
