package mvba

import (
	"bdtnode/protocols"
)

// dragger signs every broadcast and, once it knows a round's coin and the elected value's first-phase proof, shows
// the proof to everyone as the reason to go on to the next round.
type dragger struct{ done uint32 }

func (*dragger) start(*world)                                                     {}
func (*dragger) hear(*world, protocols.Index, protocols.Index, protocols.Message) {}

func (g *dragger) act(w *world) {
	b := w.byz()[0]
	n := w.know.last
	if n <= g.done {
		return
	}
	key := w.know.key(n)
	if key == nil {
		return
	}
	g.done = n
	r := w.know.round(n)
	var none protocols.Certificate
	for i := range protocols.Index(w.committee.Quorum()) {
		none.Signers.Add(i)
		none.Signatures = append(none.Signatures, w.signers[b].Sign(nil))
	}
	cert, ok := w.know.noPreOf(r)
	if !ok {
		cert = none
	}
	p := &Proposal{At: At{theInstance, n + 1}, Digest: key.Digest, Why: &Justification{Key: key, NoPreVotes: cert}}
	for to, honest := range w.replicas {
		if honest != nil {
			w.push(&envelope{at: w.now, from: b, to: protocols.Index(to), msg: p})
		}
	}
}
