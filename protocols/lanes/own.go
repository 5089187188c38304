package lanes

import "bdtnode/protocols"

// ownLane is the state of the own lane that its owner alone has.
type ownLane struct {
	tip     Tip                         // newest batch
	certDue protocols.Time              // when the newest certificate is sent alone; zero if it was sent or is not needed
	acks    map[uint64]*protocols.Tally // by number, above the certified tip
}

// full is the reason why the own lane takes no batch, empty if it does. window is its window in bytes.
func (o *ownLane) full(l *lane, window int) string {
	switch {
	case l.frozen:
		return FullFrozen
	case o.tip.Seq-l.ordered.Seq >= WindowHeaders:
		return FullHeaders
	case l.bytes.held >= window:
		return FullBytes
	}
	return ""
}

// forgetAcks deletes the acks of own batches up to a number.
func (o *ownLane) forgetAcks(seq uint64) {
	for s := range o.acks {
		if s <= seq {
			delete(o.acks, s)
		}
	}
}

// LacksHeader reports whether this replica does not hold h although it signed h and would not have deleted it. Then its
// store is older than the header.
func (m *Machine) LacksHeader(h *SignedHeader) bool {
	if h.Lane != m.cfg.Self {
		return false
	}
	l := m.lanes[m.cfg.Self]
	return h.Seq > m.own.tip.Seq || h.Seq > l.base.Seq && l.entries[h.digest] == nil
}

// LacksAck reports whether there is no record of an acknowledgement by this replica that is in c. committed is the last
// committed cut; records above it are never deleted. Then the store is older than the acknowledgement.
func (m *Machine) LacksAck(c *TipCertificate, committed Cut) bool {
	if !c.Certificate.Signers.Has(m.cfg.Self) || int(c.Lane) >= len(m.lanes) || c.Tip.Seq <= committed[c.Lane].Seq {
		return false
	}
	l := m.lanes[c.Lane]
	return c.Tip.Seq > l.base.Seq && l.acked[c.Tip.Seq] != c.Tip.Digest
}

// OwnNumber is the number of the newest batch of the own lane.
func (m *Machine) OwnNumber() uint64 { return m.own.tip.Seq }
