package coin

import "bdtnode/protocols"

// Released is the set of replicas whose shares of the toss are here; those of the proof once the value is known.
func (t *Toss) Released() protocols.Set {
	if t.known {
		return t.proof.Holders
	}
	var set protocols.Set
	for i := range t.shares {
		set.Add(i)
	}
	return set
}
