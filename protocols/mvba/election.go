package mvba

import (
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// election is the second part of a round: when n-f broadcasts are complete, the coin elects one of all broadcasts.
type election struct {
	*shared
	at                At
	toss              *coin.Toss
	released, relayed bool // the own share, and the known coin, were sent
}

// upon n-f complete broadcasts of distinct replicas: release the own share of the coin. It is never released before. So when
// the coin becomes known, n-f broadcasts are complete, and the adversary cannot choose them after that. The coin elects one
// of them with probability (n-f)/n.
func (e *election) release(s *Step, finished *protocols.Set) {
	if e.released || e.toss.Known() || finished.Len() < e.cfg.Committee.Quorum() {
		return
	}
	name := e.at.toss()
	e.post(s, protocols.Everyone, &coin.Release{Name: name, Share: e.cfg.Shares.Share(name.Statement(e.cfg.Committee))})
}

// upon Release: count the share.
func (e *election) handleRelease(from protocols.Index, x *coin.Release) {
	if from == e.cfg.Self {
		e.released = true
	}
	e.changed = e.toss.Add(from, x.Share) || e.changed
}

// upon f+1 shares: relay them, so that all replicas learn the coin.
func (e *election) relay(s *Step) {
	if e.toss.Known() && !e.relayed {
		e.post(s, protocols.Everyone, &coin.Relay{Name: e.at.toss(), Shares: e.toss.Proof()})
	}
}

// upon Relay: the coin is known.
func (e *election) handleRelay(from protocols.Index, x *coin.Relay) {
	if from == e.cfg.Self {
		e.relayed = true
	}
	e.changed = e.toss.Learn(&x.Shares) || e.changed
}

// upon the coin: if the elected broadcast is complete, its value is decided. The result is nil if it is not.
func (e *election) decide(finishes []*Finish) *Decision {
	if !e.toss.Known() {
		return nil
	}
	f := finishes[e.toss.Leader()]
	if f == nil {
		return nil
	}
	return &Decision{e.at, e.toss.Leader(), f.Digest, f.Accepts, e.toss.Proof()}
}
