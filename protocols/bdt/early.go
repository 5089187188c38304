package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/mvba"
)

// Bounds of what is kept of the next epoch: what a peer sends before a replica that is one message behind it has caught
// up. What does not fit is asked for again when the epoch begins.
const (
	maxEarly      = 64       // messages of each peer
	maxEarlyBytes = 16 << 20 // of all peers, each of which has an equal share
)

// early is messages of the next epoch, which some replicas begin before others.
type early struct {
	kept    [][]protocols.Message
	bytes   []int         // of each peer's, encoded
	full    protocols.Set // peers whose share is used up
	refused protocols.Set // of whom something was not kept
	of      uint64        // the lowest epoch of what was not kept
}

type earlyMessage struct {
	from    protocols.Index
	message protocols.Message
}

func newEarly(n int) early { return early{kept: make([][]protocols.Message, n), bytes: make([]int, n)} }

// share is how many bytes are kept of one peer.
func (x *early) share() int { return maxEarlyBytes / (len(x.kept) - 1) }

// keep takes a message of a later epoch than the current one, or notes that it was refused.
func (x *early) keep(from protocols.Index, number, current uint64, msg protocols.Message) {
	_, value := msg.(*mvba.Value) // nobody has asked for it
	if number == current+1 && len(x.kept[from]) < maxEarly && !value && !x.second(from, msg) {
		if size := len(msg.Append(nil)); x.bytes[from]+size <= x.share() {
			x.kept[from] = append(x.kept[from], msg)
			x.bytes[from] += size
			if len(x.kept[from]) == maxEarly {
				x.full.Add(from)
			}
			return
		}
		x.full.Add(from)
	}
	x.refuse(from, number)
}

// refuse notes that something of an epoch was not kept.
func (x *early) refuse(from protocols.Index, number uint64) {
	if x.refused.Len() == 0 || number < x.of {
		x.of = number
	}
	x.refused.Add(from)
}

// second reports whether msg is another proposal of a value: one is all that counts, and they may be large.
func (x *early) second(from protocols.Index, msg protocols.Message) bool {
	if _, large := msg.(*mvba.Proposal); !large {
		return false
	}
	for _, have := range x.kept[from] {
		if _, large := have.(*mvba.Proposal); large {
			return true
		}
	}
	return false
}

// take gives what was kept for an epoch that begins, in the order of senders and of each one's sending.
func (x *early) take(number uint64) []earlyMessage {
	var out []earlyMessage
	for i, list := range x.kept {
		for _, msg := range list {
			if of, _ := epochOf(msg); of == number {
				out = append(out, earlyMessage{protocols.Index(i), msg})
			}
		}
		x.kept[i], x.bytes[i] = nil, 0
	}
	x.full = protocols.Set{}
	return out
}

// again is the peers of whom something of the current epoch, or of one before, was refused. They are forgotten.
func (x *early) again(current uint64) protocols.Set {
	var set protocols.Set
	if x.refused.Len() > 0 && x.of <= current {
		set, x.refused, x.of = x.refused, protocols.Set{}, 0
	}
	return set
}
