package bolt

import (
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// slotKey is the key of a record of an epoch: kind, epoch and slot.
func slotKey(kind string, epoch, s uint64) []byte {
	return wire.AppendU64(wire.AppendU64(append(make([]byte, 0, 3+16), kind...), epoch), s)
}

func proposalKey(epoch, s uint64) []byte { return slotKey("b/p", epoch, s) }
func voteKey(epoch, s uint64) []byte     { return slotKey("b/v", epoch, s) }
func finalizeKey(epoch, s uint64) []byte { return slotKey("b/c", epoch, s) }

// topKey is the key of the QC of the highest own Finalize of an epoch.
func topKey(epoch uint64) []byte { return wire.AppendU64([]byte("b/t"), epoch) }

// Restore makes a machine from the persisted records of an earlier one of the same epoch. base is the last committed block,
// executed the height up to which this replica executed. It returns an error if a record is damaged.
func Restore(cfg Config, base *Block, executed uint64, stored protocols.Stored) (*Machine, error) {
	m := New(cfg, base, executed)
	m.slots.floor = 0
	c := cfg.Committee
	e := cfg.Epoch
	lowest := uint64(0)
	note := func(s uint64) *slot {
		if lowest == 0 || s < lowest {
			lowest = s
		}
		return m.slots.at(s)
	}
	for key, value := range stored(proposalKey(e, 0), proposalKey(e+1, 0)) {
		p, err := DecodePropose(c, append([]byte(nil), value...))
		if err != nil {
			return nil, fmt.Errorf("proposal record %x: %w: the store is damaged", key, err)
		}
		x := note(p.Block.Slot)
		x.proposal, x.blocks[p.Block.digest] = p, p
		if cfg.Self == cfg.Leader && p.Block.Height > m.last.Height {
			m.last = p.Block
		}
	}
	for key, value := range stored(voteKey(e, 0), voteKey(e+1, 0)) {
		s, err := slotOf(key)
		if err != nil || len(value) != len(Vote{}.Digest) {
			return nil, fmt.Errorf("vote record %x is malformed: the store is damaged", key)
		}
		v := &Vote{Epoch: e, Slot: s}
		copy(v.Digest[:], value)
		v.Signature = cfg.Signer.Sign(voteStatement(c, e, s, v.Digest))
		x := note(s)
		x.vote = v
		x.voters.Add(cfg.Self)
		t := protocols.NewTally(v.Digest)
		t.Add(cfg.Self, v.Signature)
		x.votes[v.Digest] = t
	}
	for key, value := range stored(finalizeKey(e, 0), finalizeKey(e+1, 0)) {
		qc, err := decodeQC(value)
		if err != nil {
			return nil, fmt.Errorf("record of a QC %x: %w: the store is damaged", key, err)
		}
		x := note(qc.Slot)
		x.qc = qc
		x.finalize = &Finalize{Epoch: e, Slot: qc.Slot, Digest: qc.Digest}
		x.senders.Add(cfg.Self)
		set := &protocols.Set{}
		set.Add(cfg.Self)
		x.finalizers[qc.Digest] = set
	}
	for key, value := range stored(topKey(e), topKey(e+1)) {
		qc, err := decodeQC(value)
		if err != nil {
			return nil, fmt.Errorf("record %x of the highest QC: %w: the store is damaged", key, err)
		}
		m.top = qc
	}
	m.slots.floor = baseSlot(e, base)
	if lowest > 0 {
		m.slots.floor = min(m.slots.floor, lowest-1)
	}
	return m, nil
}

// Resume continues after a restart. It must be called once, before all other methods. A Finalize is on disk with its
// QC, but the block that the QC names may not have arrived. Resume requests it: without the block, this replica cannot
// count its own Status or any other Status that claims this QC.
func (m *Machine) Resume(now protocols.Time) Step {
	for _, x := range m.slots.kept {
		if x.qc != nil {
			m.RequestBlock(now, x.qc)
		}
	}
	if m.top != nil {
		m.RequestBlock(now, m.top)
	}
	return m.Progress(now)
}

func decodeQC(value []byte) (*QC, error) {
	r := wire.NewReader(append([]byte(nil), value...))
	qc := ReadQC(r)
	return qc, r.Done()
}

func slotOf(key []byte) (uint64, error) {
	r := wire.NewReader(key[len("b/v"):])
	r.U64()
	s := r.U64()
	return s, r.Done()
}
