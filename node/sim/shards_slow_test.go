package sim

import (
	"fmt"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// slowChannel delays the messages from one shard to another, and moves all coins around the three shards: one coin of
// each of the two shards pays to the third, which knows both verdicts at once, and pays both back. The inputs in the
// channel's destination stay in escrow until the late verdict arrives.
type slowChannel struct {
	from, to int
	by       time.Duration
}

func (f slowChannel) String() string {
	return fmt.Sprintf("messages of shard %d to shard %d are delayed by %v", f.from, f.to, f.by)
}

func (f slowChannel) begin(w *world) {
	w.crossing.slow[f.from][f.to] = f.by
	w.repeat(600*time.Millisecond, func() { f.turn(w.payers) })
}

// turn pays on with the outputs of all earlier payments.
func (f slowChannel) turn(p *payers) {
	var at [3][]coin
	for _, x := range p.fresh {
		at[x.owner/accounts] = append(at[x.owner/accounts], x)
	}
	p.fresh = nil
	third := 3 - f.from - f.to
	for i := range at[third] {
		if i%2 == 1 {
			p.exchange(at[third][i-1:i+1], f.from, f.to)
		}
	}
	for i := range min(len(at[f.from]), len(at[f.to])) {
		p.exchange([]coin{at[f.from][i], at[f.to][i]}, third, third)
	}
}

// exchange pays two coins to an account of each of two shards, and submits the payment to all replicas of its input
// shards.
func (p *payers) exchange(from []coin, to ...int) {
	b := ledger.Body{Network: p.w.id, ExpiryMS: p.w.now.Add(time.Minute).Millis()}
	var signers []sig.Signer
	for i, x := range from {
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: x.outpoint, Key: p.signer(x.owner).Public(), Amount: x.amount})
		b.Outputs = append(b.Outputs, ledger.Output{Address: ledger.AddressOf(p.signer(to[i] * accounts).Public()), Amount: x.amount})
		if i == 0 || x.owner != from[0].owner {
			signers = append(signers, p.signer(x.owner))
		}
	}
	tx, err := b.Sign(signers...)
	if err != nil {
		panic(err)
	}
	p.w.settling.txs[tx.ID()] = tx
	for i := range b.Outputs {
		p.fresh = append(p.fresh, coin{ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, to[i] * accounts, b.Outputs[i].Amount})
	}
	for _, shard := range tx.Shards(p.w.peers.Home).Inputs.Members() {
		for _, n := range p.w.shards[shard].nodes {
			p.w.submissions.bring(n, tx)
		}
	}
}
