package machine

import (
	"context"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
)

var _ observe.Replica = (*Machine)(nil)

// ID implements [observe.Replica], as the following methods do.
func (n *Machine) ID() protocols.Index { return n.id }

func (n *Machine) Place() int { return n.place }

func (n *Machine) Shard() uint16 { return n.s.Number }

func (n *Machine) Honest() bool { return n.adversary == nil }

func (n *Machine) Guarded() bool {
	_, processes := n.adversary.(Processes)
	return n.adversary == nil || processes
}

func (n *Machine) Alive() bool { return n.alive }

func (n *Machine) Dead() bool { return n.dead }

func (n *Machine) Life() int { return n.life }

func (n *Machine) Nonce() uint64 { return n.nonce }

func (n *Machine) Replaced() bool { return n.replaced }

func (n *Machine) Status() replica.Status { return n.core.Status() }

func (n *Machine) Running() bool { return n.core.Standing().Running }

func (n *Machine) Stored(key []byte) (value []byte, ok bool, err error) { return n.store.Get(key) }

func (n *Machine) Height() uint64 { return n.chain.Height() }

func (n *Machine) BlockTimeMS() uint64 {
	tip, _, _ := n.chain.Tip()
	return tip.TimeMS
}

func (n *Machine) Audit() ledger.Audit {
	if n.state == nil {
		return ledger.Audit{} // a log has no value
	}
	a, err := n.state.Audit(context.Background())
	must(err)
	return a
}

// Channel is the channel of a machine's shard with another one.
func Channel(n *Machine, peer uint16) ledger.Channel {
	c, err := n.chain.Channel(peer)
	must(err)
	return c
}

func (n *Machine) Receipt(id ledger.TxID) (ledger.Receipt, bool, error) { return n.state.Receipt(id) }

func (n *Machine) Frozen() []ledger.Freeze {
	frozen, err := n.chain.Frozen()
	must(err)
	return frozen
}

func (n *Machine) Precheck(tx *ledger.Tx) *ledger.Refusal {
	tip, _, _ := n.state.Tip()
	refusal, err := n.state.Precheck(tx, tip.TimeMS)
	must(err)
	return refusal
}

// Appends is the interface of a replica to clients of a log. It lasts until the next crash.
func Appends(n *Machine) *clients.Appends { return n.driver.Appends() }

func (n *Machine) Find(id ledger.TxID) (admission.Progress, bool) { return n.driver.Clients().Find(id) }

func (n *Machine) Pending() int { return n.driver.Clients().Holding().Mempool }
