package lanes

import (
	"bdtnode/internal/sig"
	"bdtnode/protocols"
)

// acker signs the acknowledgements of this replica. It sends those for batches of other lanes after a delay, together.
type acker struct {
	committee *protocols.Committee
	self      protocols.Index
	signer    sig.Signer
	due       protocols.Time // when the delayed acks are sent; zero if there are none
}

func (a *acker) sign(h *SignedHeader) *Ack {
	t := h.Tip()
	return &Ack{Lane: h.Lane, Tip: t, Signature: a.signer.Sign(ackStatement(a.committee, h.Lane, t))}
}

func (a *acker) send(st *Step, h *SignedHeader) { st.Send(h.Lane, a.sign(h)) }

// sendAll sends the delayed acks of batches that are neither ordered nor certified. A certificate is only for data that is
// not ordered at once: while the fast lane is fast, no acks are needed.
func (a *acker) sendAll(st *Step, lanes []*lane) {
	a.due = 0
	for i, l := range lanes {
		if protocols.Index(i) == a.self || l.bad {
			continue
		}
		for s := max(l.ordered.Seq, l.certified.Seq, l.sent) + 1; s <= l.tip.Seq; s++ {
			if e := l.entries[l.acked[s]]; e != nil {
				a.send(st, e)
			}
		}
		l.sent = max(l.sent, l.tip.Seq)
	}
}
