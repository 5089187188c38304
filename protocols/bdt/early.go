package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/mvba"
)

// maxEarly is how many messages of the next epoch are kept for each peer: what one sends before a replica that is one
// message behind it has caught up.
const maxEarly = 64

// early is messages of the next epoch, which some replicas begin before others.
type early struct {
	kept    [][]protocols.Message
	refused protocols.Set // of whom something was not kept
	of      uint64        // the lowest epoch of what was not kept
}

type earlyMessage struct {
	from    protocols.Index
	message protocols.Message
}

func newEarly(n int) early { return early{kept: make([][]protocols.Message, n)} }

// keep takes a message of a later epoch than the current one, or notes that it was refused.
func (x *early) keep(from protocols.Index, number, current uint64, msg protocols.Message) {
	_, value := msg.(*mvba.Value) // nobody has asked for it
	if number == current+1 && len(x.kept[from]) < maxEarly && !value && !x.second(from, msg) {
		x.kept[from] = append(x.kept[from], msg)
		return
	}
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
		x.kept[i] = nil
	}
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
