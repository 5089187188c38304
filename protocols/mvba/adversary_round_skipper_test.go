package mvba

import (
	"bdtnode/protocols"
)

// roundSkipper is the adversary that tries to skip rounds. It signs every broadcast. When it knows the coin of a round and the
// first-phase proof of the elected value, it shows the proof to all as a justification of the next round.
type roundSkipper struct{ done uint32 }

func (*roundSkipper) start(*world)                                                        {}
func (*roundSkipper) receive(*world, protocols.Index, protocols.Index, protocols.Message) {}

func (g *roundSkipper) act(w *world) {
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
	p := &Proposal{At: At{theInstance, n + 1}, Digest: key.Digest, Justification: &Justification{Key: key, NoPreVotes: cert}}
	for to, honest := range w.replicas {
		if honest != nil {
			w.push(&envelope{at: w.now, from: b, to: protocols.Index(to), msg: p})
		}
	}
}
