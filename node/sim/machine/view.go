package machine

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// view is the access of an adversary to a node.
type view struct{ n *Machine }

var _ adversary.Replica = view{}

// newView makes the view that the node's adversary has.
func newView(n *Machine) *adversary.View {
	s := n.s
	return &adversary.View{
		Self: n.id, Place: n.place, Shard: s.Number, Shards: len(s.cfg.Shards), Places: s.Config.Places(), Committee: s.Committee, Signer: s.Signers[n.id],
		Coin: s.Coin, Holder: s.shares[n.id], Dumbo: s.cfg.Dumbo, Vouched: s.Config.Vouched, Rand: s.Rand, Replica: view{n},
	}
}

func (v view) Now() protocols.Time { return v.n.s.Now() }

func (v view) Wall() protocols.Time { return v.n.clock() }

func (v view) Life() int { return v.n.life }

func (v view) After(d time.Duration, action func()) { v.n.after(d, action) }

func (v view) Around(mean time.Duration) time.Duration { return v.n.s.Around(mean) }

func (v view) Between(low, high time.Duration) time.Duration { return v.n.s.Between(low, high) }

func (v view) Send(place int, p network.Packet) { v.n.s.Network.Send(int(v.n.id), place, p) }

func (v view) Gossip(shard uint16, p network.Packet) {
	v.n.exchange.gossip(shard, func(*Machine) []network.Packet { return []network.Packet{p} })
}

func (v view) Network() *settlement.Network { return v.n.s.Peers }

func (v view) Submit(to protocols.To, m protocols.Message) { v.n.send(to, m) }

func (v view) Status() replica.Status { return v.n.core.Status() }

func (v view) Patience() time.Duration { return v.n.core.Status().Patience }

func (v view) NextLD(source uint16) uint64 { return v.n.core.NextLD(source) }

func (v view) Height() uint64 { return v.n.chain.Height() }

func (v view) Block(height uint64) *bolt.Block {
	value, ok, err := v.n.store.Get(bdt.CommitKey(height))
	must(err)
	if !ok {
		return nil
	}
	b, err := bdt.DecodeCommit(v.n.s.Committee, value)
	must(err)
	return b
}

func (v view) Batch(lane protocols.Index, t lanes.Tip) *lanes.Batch {
	b, err := replica.Batch(v.n.s.Committee, v.n.store, lane, t)
	must(err)
	return b
}

func (v view) LD(source uint16, t lanes.Tip) *inbound.LD {
	ld, err := replica.StoredLD(v.n.store, source, t)
	must(err)
	return ld
}

func (v view) History(from uint64) (*replica.History, error) {
	return replica.ReadHistory(v.n.s.Committee, v.n.store, v.n.chain, replica.HistoryRange{From: from})
}

func (v view) Junk() *ledger.Tx { return v.n.s.Junk() }

func (v view) PeerLife(i protocols.Index) int { return v.n.s.Machines[i].life }

func (v view) PeerCommitted(i protocols.Index) (height uint64, ok bool) {
	peer := v.n.s.Machines[i]
	if !peer.alive {
		return 0, false
	}
	return peer.core.Status().Committed, true
}

func (v view) MadeLD(source uint16, number uint64) (d digest.Digest, ok bool) {
	return v.n.s.checks.MadeLD(source, v.n.s.Number, number)
}
