package lanes

import (
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

const (
	markCertifiedOnly = 1
	markFrozen        = 2
	markBad           = 4
)

// marks is the permanent record of a lane: flags (1 byte), and the number at which it was frozen (8 bytes).
func (l *lane) marks() []byte {
	var b byte
	if l.certifiedOnly {
		b |= markCertifiedOnly
	}
	if l.frozen {
		b |= markFrozen
	}
	if l.bad {
		b |= markBad
	}
	return wire.AppendU64([]byte{b}, l.frozenAt)
}

func (l *lane) readMarks(value []byte) error {
	r := wire.NewReader(value)
	flags := r.U8()
	l.certifiedOnly, l.frozen, l.bad = flags&markCertifiedOnly != 0, flags&markFrozen != 0, flags&markBad != 0
	l.frozenAt = r.U64()
	return r.Done()
}

// Restore makes a machine from the persisted records of an earlier one. All batches up to executed have been executed. It
// reads only the records above executed, so its time does not depend on the length of the ledger. It returns an error if a
// record is damaged or if the own lane has two headers for one number.
func Restore(cfg Config, executed Cut, stored protocols.Stored) (*Machine, error) {
	m := New(cfg)
	for i, t := range executed {
		lane := protocols.Index(i)
		l := m.lanes[i]
		l.base, l.ordered, l.tip = t, t, t
		for key, value := range stored(markKey(lane), markKey(lane+1)) {
			if err := l.readMarks(value); err != nil {
				return nil, fmt.Errorf("lane record %x: %w: the store is damaged", key, err)
			}
		}
		for _, value := range stored(StoredKey(lane, Tip{Seq: t.Seq + 1}), StoredKey(lane+1, Tip{})) {
			b, err := DecodeStored(cfg.Committee, value)
			if err != nil {
				return nil, fmt.Errorf("batch of lane %d above %d: %w: the store is damaged", lane, t.Seq, err)
			}
			h := b.SignedHeader
			l.entries[h.digest] = &h
			l.bySeq[h.Seq] = append(l.bySeq[h.Seq], h.digest)
			l.countBytes(&h, 1)
		}
		for key, value := range stored(ackedKey(lane, t.Seq+1), ackedKey(lane+1, 0)) {
			r := wire.NewReader(key[len("l/a"):])
			r.U16()
			seq := r.U64()
			if len(value) != len(Tip{}.Digest) || r.Done() != nil {
				return nil, fmt.Errorf("ack record %x is malformed: the store is damaged", key)
			}
			tip := Tip{Seq: seq}
			copy(tip.Digest[:], value)
			l.acked[seq] = tip.Digest
			if e := l.entries[tip.Digest]; e != nil {
				l.bytes.acked += int(e.Size)
			}
			l.tip = tip // records come in order of number
		}
		if lane == cfg.Self {
			if err := m.restoreOwn(l, t); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

func (m *Machine) restoreOwn(l *lane, executed Tip) error {
	m.own.tip = executed
	for seq := executed.Seq + 1; ; seq++ {
		ds := l.bySeq[seq]
		if len(ds) == 0 {
			return nil
		}
		if len(ds) > 1 {
			return fmt.Errorf("own lane has %d headers numbered %d: two replicas run with one key, or the store is damaged", len(ds), seq)
		}
		h := l.entries[ds[0]]
		m.own.tip = h.Tip()
		if _, ok := l.acked[seq]; ok {
			// Count the own acknowledgement again. Peers send theirs when they receive the batch again.
			t := protocols.NewTally(h.digest)
			t.Add(m.cfg.Self, m.acker.sign(h).Signature)
			m.own.acks[seq] = t
		}
	}
}
