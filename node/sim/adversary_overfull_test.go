package sim

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// overfilling sends batches of its lane far beyond the window at once, in place of those of its honest core, and sends them
// again when another replica requests them.
type overfilling struct {
	Batches int

	chain []*lanes.Batch
}

func (*overfilling) String() string { return "fills its lane beyond the window" }

func (a *overfilling) Replace(v *adversary.View, _ protocols.Index, m protocols.Message) []network.Packet {
	if a.chain == nil {
		a.extend(v)
		v.After(time.Second, func() {
			for place := range v.Places {
				a.give(v, place, 0, uint64(a.Batches))
			}
		})
	}
	switch x := m.(type) {
	case *lanes.Batch:
		if x.Lane == v.Self {
			return nil
		}
	case *lanes.Conflict:
		return nil // its core made other batches
	}
	return adversary.Unchanged(m)
}

// extend makes the batches, each with a transaction that can never settle.
func (a *overfilling) extend(v *adversary.View) {
	var parent digest.Digest
	for k := range a.Batches {
		h := lanes.Header{Lane: v.Self, Seq: uint64(k) + 1, Parent: parent, Count: 1, TimeMS: v.Wall().Millis()}
		b := lanes.NewBatch(v.Committee, v.Signer, h, ledger.EncodePayload([][]byte{v.Junk().Encode()}))
		a.chain, parent = append(a.chain, b), b.Digest()
	}
}

// give sends the batches above one number, up to another.
func (a *overfilling) give(v *adversary.View, place int, after, last uint64) {
	if place == v.Place {
		return
	}
	for _, b := range a.chain {
		if b.Seq > after && b.Seq <= last {
			v.Send(place, adversary.Unchanged(b)[0])
		}
	}
}

// Receive answers requests for its batches.
func (a *overfilling) Receive(v *adversary.View, from protocols.Index, m protocols.Message) {
	x, ok := m.(*lanes.Fetch)
	if !ok || x.Lane != v.Self {
		return
	}
	last := x.After + 2*lanes.WindowHeaders
	if x.Tip.Seq > 0 {
		last = min(last, x.Tip.Seq)
	}
	a.give(v, int(from), x.After, last)
}
