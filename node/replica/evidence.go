package replica

import (
	"fmt"
	"slices"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// evidence is the set of proofs against other shards that this replica has, as long as no block has frozen their
// channels. Each piece is kept on disk, one of each kind for each source. It goes into one batch of the own lane, and
// again into one after a restart.
type evidence struct {
	kept    map[string]bool // keys of records
	pending []proof         // in the order in which they came
	frozen  ledger.ShardSet
}

// proof is a piece of evidence that is not ordered yet.
type proof struct {
	source  uint16
	content []byte // encoded
	told    bool   // a batch of the own lane has it
}

// prefixEvidence begins the keys of evidence. After it: the source (2 bytes), then the kind (1 byte).
const prefixEvidence = "h/v"

func evidenceKey(source uint16, kind settlement.EvidenceKind) []byte {
	return append(wire.AppendU16([]byte(prefixEvidence), source), byte(kind))
}

// recall reads the evidence that was stored before the last restart.
func (v *evidence) recall(stored protocols.Stored) error {
	v.kept = make(map[string]bool)
	for key, value := range stored([]byte(prefixEvidence), kv.PrefixEnd([]byte(prefixEvidence))) {
		r := wire.NewReader(key[len(prefixEvidence):])
		source := r.U16()
		if kind := settlement.EvidenceKind(r.U8()); kind >= settlement.EvidenceKinds {
			r.Fail("kind %d", kind)
		}
		if err := r.Done(); err != nil {
			return fmt.Errorf("evidence record %x: %w: the store is damaged", key, err)
		}
		v.kept[string(key)] = true
		v.pending = append(v.pending, proof{source: source, content: slices.Clone(value)})
	}
	return nil
}

// froze removes evidence against shards whose channels are frozen.
func (v *evidence) froze(frozen []ledger.Freeze) {
	for i := range frozen {
		v.frozen = v.frozen.With(frozen[i].Source)
	}
	v.pending = slices.DeleteFunc(v.pending, func(p proof) bool { return v.frozen.Has(p.source) })
}

// next is the first piece that no batch has yet, or nil.
func (v *evidence) next() *proof {
	for i := range v.pending {
		if !v.pending[i].told {
			return &v.pending[i]
		}
	}
	return nil
}

// Witness handles verified evidence: it is stored, and put into the own lane.
func (c *Core) Witness(e *settlement.Evidence) Step {
	var st Step
	key := evidenceKey(e.Source(), e.Kind())
	if c.evidence.kept[string(key)] || c.evidence.frozen.Has(e.Source()) {
		return st
	}
	content := e.Encode()
	c.evidence.kept[string(key)] = true
	c.evidence.pending = append(c.evidence.pending, proof{source: e.Source(), content: content})
	st.Record(key, content)
	return st
}

// Notices is the number of bytes that the next payload has besides transactions. It has at most [MaxNotices] entries.
func (c *Core) Notices() (size int) {
	if n := c.notice(); n != nil {
		size = n.Size()
	}
	for _, n := range c.Cancellation.notices() {
		size += n.Size()
	}
	return size
}

// MaxNotices is the greatest number of entries of a payload besides transactions: one of [Core.notice], and CLs.
const MaxNotices = 1 + maxCLsInBatch

// notice is the entry that the next payload has besides transactions and CLs, or nil: evidence, or a request for a block if
// verdicts wait for a block to carry them. Such a request is made once for each block.
func (c *Core) notice() *ledger.RawNotice {
	switch p := c.evidence.next(); {
	case p != nil:
		return &ledger.RawNotice{Kind: ledger.KindEvidence, Content: p.content}
	case c.more && !c.asked:
		return &ledger.RawNotice{Kind: ledger.KindContinue}
	}
	return nil
}

// takeNotice returns the notice for the payload that is made now, and marks it as used.
func (c *Core) takeNotice() []ledger.RawNotice {
	n := c.notice()
	switch {
	case n == nil:
		return nil
	case n.Kind == ledger.KindEvidence:
		c.evidence.next().told = true
	default:
		c.asked = true
	}
	return []ledger.RawNotice{*n}
}

// Contradiction is the evidence that a verified LD gives together with a stored LD under the same number, or nil. Of
// two LDs that come at the same time the later one finds the other, since the caller looks for it when the LD's own
// step is in the store.
func Contradiction(r kv.Reader, n *settlement.Network, x *Inbound) (*settlement.Evidence, error) {
	var other []byte
	from := inbound.StoredKey(x.Source, lanes.Tip{Seq: x.Number})
	to := inbound.StoredKey(x.Source, lanes.Tip{Seq: x.Number + 1})
	err := r.Scan(from, to, false, func(key, value []byte) bool {
		if string(key[len(key)-len(x.Digest):]) == string(x.Digest[:]) {
			return true
		}
		other = slices.Clone(value)
		return false
	})
	if err != nil || other == nil {
		return nil, err
	}
	ld, err := storedLD(x.Source, other)
	if err != nil {
		return nil, err
	}
	return settlement.Contradict(n, ld, x.Content), nil
}

// storedLD decodes an LD of a shard as it is in the store. The LD keeps the bytes.
func storedLD(source uint16, value []byte) (*settlement.LD, error) {
	d, err := inbound.DecodeStored(value)
	if err != nil {
		return nil, fmt.Errorf("an LD of shard %d: %w: the store is damaged", source, err)
	}
	ld, err := settlement.DecodeLD(d.Raw)
	if err != nil {
		return nil, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", d.Number, source, err)
	}
	return ld, nil
}

// maxSearched is the number of LDs that [SpentLD] reads.
const maxSearched = 64

// SpentLD is the stored LD of a shard with SPENT on a transaction, or nil. It looks at the newest 64 LDs below a number.
func SpentLD(r kv.Reader, source uint16, below uint64, id ledger.TxID) (*settlement.LD, error) {
	var found *settlement.LD
	count := 0
	from, to := inbound.StoredKey(source, lanes.Tip{Seq: 1}), inbound.StoredKey(source, lanes.Tip{Seq: below})
	err := kv.Each(r, from, to, true, func(_, value []byte) (bool, error) {
		ld, err := storedLD(source, slices.Clone(value))
		if err != nil {
			return false, err
		}
		for i := range ld.Delivery.Entries {
			if e := &ld.Delivery.Entries[i]; e.Verdict == ledger.VerdictSpent && e.Tx.ID() == id {
				found = ld
				return false, nil
			}
		}
		count++
		return count < maxSearched, nil
	})
	return found, err
}
