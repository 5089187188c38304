package replica

import (
	"fmt"
	"slices"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// evidence is what this replica can prove against other shards and no block has frozen their channels for. Each piece is
// kept on disk, one of each kind for each source, and goes into one batch of the own lane, again after a restart.
type evidence struct {
	kept    map[string]bool // keys of records
	pending []proof         // in the order in which they came
	frozen  ledger.ShardSet
}

// proof is a piece of evidence that is not ordered yet.
type proof struct {
	source  uint16
	content []byte // encoded
	told    bool   // it is in a batch of the own lane
}

// prefixEvidence begins the keys of evidence: source 2, and 1 with two LDs under one number, else 0.
const prefixEvidence = "h/v"

func evidenceKey(source uint16, two bool) []byte {
	return wire.AppendBool(wire.AppendU16([]byte(prefixEvidence), source), two)
}

// recall reads what an earlier life kept.
func (v *evidence) recall(stored protocols.Stored) error {
	v.kept = make(map[string]bool)
	for key, value := range stored([]byte(prefixEvidence), kv.PrefixEnd([]byte(prefixEvidence))) {
		r := wire.NewReader(key[len(prefixEvidence):])
		source := r.U16()
		r.Bool()
		if err := r.Done(); err != nil {
			return fmt.Errorf("evidence record %x: %w: the store is damaged", key, err)
		}
		v.kept[string(key)] = true
		v.pending = append(v.pending, proof{source: source, content: slices.Clone(value)})
	}
	return nil
}

// froze drops evidence against shards whose channels are frozen.
func (v *evidence) froze(frozen []ledger.Freeze) {
	for i := range frozen {
		v.frozen = v.frozen.With(frozen[i].Source)
	}
	v.pending = slices.DeleteFunc(v.pending, func(p proof) bool { return v.frozen.Has(p.source) })
}

// next is the first piece that is in no batch yet, or nil.
func (v *evidence) next() *proof {
	for i := range v.pending {
		if !v.pending[i].told {
			return &v.pending[i]
		}
	}
	return nil
}

// Witness is called upon evidence that verifies: it is kept, and put into the own lane.
func (c *Core) Witness(e *settlement.Evidence) Step {
	var st Step
	key := evidenceKey(e.Source(), e.Other != nil)
	if c.evidence.kept[string(key)] || c.evidence.frozen.Has(e.Source()) {
		return st
	}
	content := e.Encode()
	c.evidence.kept[string(key)] = true
	c.evidence.pending = append(c.evidence.pending, proof{source: e.Source(), content: content})
	st.Record(key, content)
	return st
}

// Notices is how many bytes the next payload has beside transactions.
func (c *Core) Notices() int {
	if n := c.notice(); n != nil {
		return n.Size()
	}
	return 0
}

// notice is the entry that the next payload has beside transactions, or nil: evidence, or, if verdicts wait for a block to
// tell them, a request for one. That is made once for each block.
func (c *Core) notice() *ledger.RawNotice {
	switch p := c.evidence.next(); {
	case p != nil:
		return &ledger.RawNotice{Kind: ledger.KindEvidence, Content: p.content}
	case c.more && !c.asked:
		return &ledger.RawNotice{Kind: ledger.KindContinue}
	}
	return nil
}

// takeNotice is the notice for a payload that is made now.
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

// Contradiction is the evidence that a verified LD gives together with one that the store has under the same number, or
// nil. Of LDs that come at the same time the later one finds the other, since it is looked for when its own step is in
// the store.
func Contradiction(r kv.Reader, n *settlement.Network, x *Inbound) (*settlement.Evidence, error) {
	var other []byte
	from := channels.StoredKey(x.Source, lanes.Tip{Seq: x.Number})
	to := channels.StoredKey(x.Source, lanes.Tip{Seq: x.Number + 1})
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
	d, err := channels.DecodeStored(other)
	if err != nil {
		return nil, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", x.Number, x.Source, err)
	}
	ld, err := settlement.DecodeLD(d.Raw)
	if err != nil {
		return nil, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", x.Number, x.Source, err)
	}
	return settlement.Contradict(n, ld, x.Content), nil
}
