package lanes

// LacksHeader reports whether a header that this replica signed is not held here, though nothing would have deleted it.
func (m *Machine) LacksHeader(h *SignedHeader) bool {
	if h.Lane != m.cfg.Self {
		return false
	}
	l := m.lanes[m.cfg.Self]
	return h.Seq > m.own.tip.Seq || h.Seq > l.base.Seq && l.entries[h.digest] == nil
}

// LacksAck reports whether an acknowledgement that this replica signed has no record here, given the last committed
// cut: records above it are never deleted.
func (m *Machine) LacksAck(c *TipCertificate, committed Cut) bool {
	if !c.Certificate.Signers.Has(m.cfg.Self) || int(c.Lane) >= len(m.lanes) || c.Tip.Seq <= committed[c.Lane].Seq {
		return false
	}
	l := m.lanes[c.Lane]
	return c.Tip.Seq > l.base.Seq && l.acked[c.Tip.Seq] != c.Tip.Digest
}

// OwnNumber is the number of the newest batch of the own lane.
func (m *Machine) OwnNumber() uint64 { return m.own.tip.Seq }
