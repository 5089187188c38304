package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/mvba"
)

// Bounds on the messages of the next epoch that are kept. A peer may send such messages before this replica has ended the
// epoch. Messages above the bounds are requested again when the next epoch begins.
const (
	maxFutureMessages = 64       // messages of each peer
	maxFutureBytes    = 16 << 20 // bytes of all peers together; each peer has an equal share
)

// futureMessages has messages of the next epoch, which some replicas begin before others.
type futureMessages struct {
	kept    [][]protocols.Message // by sender
	bytes   []int                 // by sender: encoded size of its kept messages
	full    protocols.Set         // peers whose share is used up
	refused protocols.Set         // peers of which a message was not kept
	of      uint64                // lowest epoch of the messages that were not kept
}

type futureMessage struct {
	from    protocols.Index
	message protocols.Message
}

func newFutureMessages(n int) futureMessages {
	return futureMessages{kept: make([][]protocols.Message, n), bytes: make([]int, n)}
}

// share is the number of bytes that are kept of one peer.
func (x *futureMessages) share() int { return maxFutureBytes / (len(x.kept) - 1) }

// keep keeps a message of a later epoch than the current one, or records that it was refused. It keeps only messages of the
// next epoch.
func (x *futureMessages) keep(from protocols.Index, number, current uint64, msg protocols.Message) {
	_, value := msg.(*mvba.Value) // a Value is an answer, and this replica has not asked for it
	if number == current+1 && len(x.kept[from]) < maxFutureMessages && !value && !x.second(from, msg) {
		if size := len(msg.Append(nil)); x.bytes[from]+size <= x.share() {
			x.kept[from] = append(x.kept[from], msg)
			x.bytes[from] += size
			if len(x.kept[from]) == maxFutureMessages {
				x.full.Add(from)
			}
			return
		}
		x.full.Add(from)
	}
	x.refuse(from, number)
}

// refuse records that a message of an epoch was not kept.
func (x *futureMessages) refuse(from protocols.Index, number uint64) {
	if x.refused.Len() == 0 || number < x.of {
		x.of = number
	}
	x.refused.Add(from)
}

// second reports whether msg is a further Proposal of the agreement from the same peer. Only the first one counts, and they
// may be large.
func (x *futureMessages) second(from protocols.Index, msg protocols.Message) bool {
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

// take returns the kept messages of an epoch that begins, in the order of senders and, for each sender, of arrival. It
// clears all kept messages.
func (x *futureMessages) take(number uint64) []futureMessage {
	var out []futureMessage
	for i, list := range x.kept {
		for _, msg := range list {
			if of, _ := epochOf(msg); of == number {
				out = append(out, futureMessage{protocols.Index(i), msg})
			}
		}
		x.kept[i], x.bytes[i] = nil, 0
	}
	x.full = protocols.Set{}
	return out
}

// again lists the peers of which a message of the current or an earlier epoch was refused. The call clears the list.
func (x *futureMessages) again(current uint64) protocols.Set {
	var set protocols.Set
	if x.refused.Len() > 0 && x.of <= current {
		set, x.refused, x.of = x.refused, protocols.Set{}, 0
	}
	return set
}
