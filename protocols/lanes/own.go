package lanes

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
