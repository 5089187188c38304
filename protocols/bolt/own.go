package bolt

import "bdtnode/internal/digest"

// LacksVote reports whether a vote that this replica signed in this epoch has no record here, though nothing would have
// deleted it: records above the last commit are kept.
func (m *Machine) LacksVote(slot uint64, d digest.Digest) bool {
	if slot <= baseSlot(m.cfg.Epoch, m.base) {
		return false
	}
	x := m.slots[slot]
	return x == nil || x.vote == nil || x.vote.Digest != d
}
