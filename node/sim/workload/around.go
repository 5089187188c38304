package workload

import (
	"slices"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// PayAround moves all coins around three shards, with the outputs of all earlier payments: one coin of each of two shards
// pays to the third, which pays both back.
func (w *Workload) PayAround(one, other int) {
	p := w.across
	var at [3][]coin
	for _, x := range p.fresh {
		at[x.owner/Accounts] = append(at[x.owner/Accounts], x)
	}
	p.fresh = nil
	third := 3 - one - other
	for i := range at[third] {
		if i%2 == 1 {
			p.exchange(at[third][i-1:i+1], one, other)
		}
	}
	for i := range min(len(at[one]), len(at[other])) {
		p.exchange([]coin{at[one][i], at[other][i]}, third, third)
	}
}

// exchange pays two coins to an account of each of two shards, and submits the payment to all replicas of its input
// shards.
func (p *acrossShards) exchange(from []coin, to ...int) {
	b := ledger.Body{Network: p.w.ID, ExpiryMS: p.w.Now().Add(time.Minute).Millis()}
	var signers []sig.Signer
	for i, x := range from {
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: x.outpoint, Key: p.signer(x.owner).Public(), Amount: x.amount})
		b.Outputs = append(b.Outputs, ledger.Output{Address: ledger.AddressOf(p.signer(to[i] * Accounts).Public()), Amount: x.amount})
		if i == 0 || x.owner != from[0].owner {
			signers = append(signers, p.signer(x.owner))
		}
	}
	tx, err := b.Sign(signers...)
	if err != nil {
		panic(err)
	}
	p.w.checks.Made(tx)
	for i := range b.Outputs {
		p.fresh = append(p.fresh, coin{ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, to[i] * Accounts, b.Outputs[i].Amount})
	}
	for _, shard := range tx.Shards(p.w.Peers.Home).Inputs.Members() {
		for _, n := range p.w.Shards[shard].Machines {
			p.w.submissions.bring(n, tx)
		}
	}
}

// Expired is one of the payments between shards that have expired, nil if there is none.
func (w *Workload) Expired() *ledger.Tx {
	var expired []*ledger.Tx
	for _, tx := range w.across.sent {
		if tx.ExpiryMS < w.Now().Millis() {
			expired = append(expired, tx)
		}
	}
	if len(expired) == 0 {
		return nil
	}
	return expired[w.Rand.IntN(len(expired))]
}

// Across is a valid payment of a coin of each of some shards to each of others. The coins are not spent by another one.
func (w *Workload) Across(inputs, outputs []uint16) *ledger.Tx {
	p := w.across
	b := ledger.Body{Network: w.ID, ExpiryMS: w.Now().Add(time.Minute).Millis()}
	var signers []sig.Signer
	left := uint64(0)
	for _, s := range inputs {
		k := slices.IndexFunc(p.fresh, func(x coin) bool { return x.owner/Accounts == int(s) })
		x := p.fresh[k]
		p.fresh = slices.Delete(p.fresh, k, k+1)
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: x.outpoint, Key: p.signer(x.owner).Public(), Amount: x.amount})
		signers = append(signers, p.signer(x.owner))
		left += x.amount
	}
	for k, s := range outputs {
		part := left / uint64(len(outputs)-k)
		left -= part
		b.Outputs = append(b.Outputs, ledger.Output{Address: ledger.AddressOf(p.signer(int(s) * Accounts).Public()), Amount: part})
	}
	return w.signed(b, signers)
}

// Rival is a payment inside a shard of the input that a transaction has there.
func (w *Workload) Rival(tx *ledger.Tx, shard uint16) *ledger.Tx {
	k := slices.IndexFunc(tx.Inputs, func(in ledger.Input) bool { return w.Peers.Home(ledger.AddressOf(in.Key)) == shard })
	in := tx.Inputs[k]
	b := ledger.Body{Network: w.ID, ExpiryMS: tx.ExpiryMS, Inputs: []ledger.Input{in}}
	b.Outputs = []ledger.Output{{Address: ledger.AddressOf(in.Key), Amount: in.Amount}}
	s := w.Shards[shard]
	owner := slices.IndexFunc(s.Signers, func(x sig.Signer) bool { return x.Public() == in.Key })
	return w.signed(b, []sig.Signer{s.Signers[owner]})
}

func (w *Workload) signed(b ledger.Body, signers []sig.Signer) *ledger.Tx {
	tx, err := b.Sign(signers...)
	if err != nil {
		panic(err)
	}
	w.checks.Made(tx)
	return tx
}
