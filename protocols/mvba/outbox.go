package mvba

import (
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// outbox has the own messages of the current round, or the decision, to send them again.
type outbox struct {
	self     protocols.Index
	kept     []protocols.Send
	answered []uint32 // by peer: highest round of a ResendRequest that was answered
}

func newOutbox(cfg *Config) outbox {
	return outbox{self: cfg.Self, answered: make([]uint32, cfg.Committee.N())}
}

// send sends a message and keeps it, until the round is left. A message to Self is neither sent nor kept.
func (o *outbox) send(s *Step, to protocols.To, msg protocols.Message) {
	if to == protocols.To(o.self) {
		return
	}
	out := protocols.Send{To: to, Message: msg}
	o.kept = append(o.kept, out)
	s.Sends = append(s.Sends, out)
}

// resend sends a peer all kept messages.
func (o *outbox) resend(s *Step, peer protocols.Index) {
	for _, k := range o.kept {
		if k.To == protocols.Everyone || k.To == protocols.To(peer) {
			s.Send(peer, k.Message)
		}
	}
}

// upon ResendRequest of a round that is reached: send all messages again, at most once for each round.
func (o *outbox) handleResendRequest(s *Step, from protocols.Index, x *ResendRequest, current uint32) {
	if x.Round > o.answered[from] && x.Round <= current {
		o.answered[from] = x.Round
		o.resend(s, from)
	}
}

// leaveRound deletes the kept messages, except requests for values that are still requested.
func (o *outbox) leaveRound(requested map[digest.Digest]protocols.Set) {
	o.kept = slices.DeleteFunc(o.kept, func(k protocols.Send) bool {
		f, ok := k.Message.(*FetchValue)
		if ok {
			_, ok = requested[f.Digest]
		}
		return !ok
	})
}

// digestFor is the digest that this replica echoed or accepted for another broadcaster in the current round, zero if none.
func (o *outbox) digestFor(kind protocols.Kind, broadcaster protocols.Index) digest.Digest {
	for _, k := range o.kept {
		if k.To == protocols.To(broadcaster) && k.Message.Kind() == kind {
			return SignedBySender(k.Message).Digest
		}
	}
	return digest.Digest{}
}
