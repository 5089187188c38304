package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/engine"
)

// forwardEvery is when a transaction that other shards have to order is handed to another replica there, if nothing
// came of it.
const forwardEvery = 3 * time.Second

// Submit implements [api.Backend]. A transaction goes into the TX book here if this shard has inputs of it, and to a
// replica of each other shard that has. Where this shard has a part in it, its own ledger gives the answer; where it
// has none, or only outputs, a rejection is believed when f+1 replicas of an input shard say so.
func (b backend) Submit(ctx context.Context, from string, txs [][]byte, wait api.Wait) []api.TxAnswer {
	answers := make([]api.TxAnswer, len(txs))
	party := admission.ClientParty(from)
	var here, away plan
	var wg sync.WaitGroup
	elsewhere := make(map[uint16][][]byte) // other input shards, of what this shard orders too
	for i, raw := range txs {
		tx, err := ledger.DecodeTx(raw)
		if err != nil || tx.Check(b.committee.Network()) != nil {
			here.add(i, raw, tx) // to be refused with the reason
			continue
		}
		inputs := tx.Parties(b.home.Genesis.Home).Inputs
		if !inputs.Has(b.home.Shard) {
			away.add(i, raw, tx)
			continue
		}
		here.add(i, raw, tx)
		for _, s := range inputs.Without(b.home.Shard).Members() {
			elsewhere[s] = append(elsewhere[s], raw)
		}
	}
	for s, raws := range elsewhere {
		// A hint that saves a round: if it is lost, that shard learns of the transactions from this one's LDs.
		wg.Go(func() { b.hand(ctx, s, raws) })
	}
	if len(away.raws) > 0 {
		wg.Go(func() { b.submitAway(ctx, party, &away, wait, answers) })
	}
	if len(here.raws) > 0 {
		stage := stages[wait]
		for k, p := range b.engine.Submit(ctx, party, here.raws, stage) {
			answers[here.at[k]] = b.answer(p, stage)
		}
	}
	wg.Wait()
	if wait == api.WaitSettled {
		b.awaitOutputs(ctx, party, &here, answers)
		b.awaitOutputs(ctx, party, &away, answers)
	}
	return answers
}

// awaitOutputs waits until the outputs of what has settled exist in every shard that they are at home in, so that
// whoever is told settled may spend them. That they will exist is certain, so one replica's word for when is enough.
func (b backend) awaitOutputs(ctx context.Context, from admission.Party, p *plan, answers []api.TxAnswer) {
	pending := make(map[uint16][]int)
	for k, i := range p.at {
		if answers[i].State != api.StateSettled {
			continue
		}
		for _, s := range p.txs[k].Parties(b.home.Genesis.Home).Outputs.Members() {
			if s != answers[i].Shard {
				pending[s] = append(pending[s], i)
			}
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for s, at := range pending {
		wg.Go(func() {
			ids := make([]ledger.TxID, len(at))
			for k, i := range at {
				ids[k] = answers[i].ID
			}
			final := b.awaitIn(ctx, from, s, ids)
			mu.Lock()
			defer mu.Unlock()
			for k, i := range at {
				if !final[k] {
					answers[i].State, answers[i].TimedOut = api.StateOrdered, true
				}
			}
		})
	}
	wg.Wait()
}

// awaitIn waits until transactions are final in a shard, and answers which are.
func (b backend) awaitIn(ctx context.Context, from admission.Party, shard uint16, ids []ledger.TxID) []bool {
	if shard == b.home.Shard {
		return b.finalHere(ctx, from, ids)
	}
	final, err := forwardCtx[[]bool](ctx, b.Node, shard, call{Await: &awaitCall{ids}})
	if err != nil || len(final) != len(ids) {
		return make([]bool, len(ids))
	}
	return final
}

func (n *Node) finalHere(ctx context.Context, from admission.Party, ids []ledger.TxID) []bool {
	final := make([]bool, len(ids))
	for k, p := range n.engine.Await(ctx, from, ids, engine.Final) {
		final[k] = p.Reached(engine.Final)
	}
	return final
}

// plan is some of a request's transactions with their places in it.
type plan struct {
	at   []int
	raws [][]byte
	txs  []*ledger.Tx
}

func (p *plan) add(i int, raw []byte, tx *ledger.Tx) {
	p.at, p.raws, p.txs = append(p.at, i), append(p.raws, raw), append(p.txs, tx)
}

// hand gives transactions to a replica of another shard and does not wait for what becomes of them.
func (b backend) hand(ctx context.Context, shard uint16, raws [][]byte) {
	if _, err := forwardCtx[[]api.TxAnswer](ctx, b.Node, shard, call{Submit: &submitCall{raws, api.WaitAccepted}}); err != nil {
		logger.Debugw("transactions were not handed over", "shard", shard, "error", err)
	}
}

// submitAway sees transactions without an input here through: each is handed to a replica of its first input shard,
// and to others there until it is settled or f+1 of them reject it.
func (b backend) submitAway(ctx context.Context, from admission.Party, p *plan, wait api.Wait, answers []api.TxAnswer) {
	var wg sync.WaitGroup
	for k := range p.raws {
		wg.Go(func() { answers[p.at[k]] = b.away(ctx, from, p.raws[k], p.txs[k], wait) })
	}
	wg.Wait()
}

func (b backend) away(ctx context.Context, from admission.Party, raw []byte, tx *ledger.Tx, wait api.Wait) api.TxAnswer {
	parties := tx.Parties(b.home.Genesis.Home)
	inputs := parties.Inputs.Members()
	for _, s := range inputs[1:] {
		go b.hand(ctx, s, [][]byte{raw})
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	settled := make(chan api.TxAnswer, 1)
	if parties.Outputs.Has(b.home.Shard) {
		go func() {
			p := b.engine.Await(ctx, from, []ledger.TxID{tx.ID()}, engine.Final)[0]
			if p.Reached(engine.Final) {
				settled <- b.answer(p, engine.Final)
			}
		}()
	}
	remote := make(chan api.TxAnswer, 1)
	go func() { remote <- b.confirmed(ctx, inputs[0], raw, tx.ID(), wait) }()
	select {
	case a := <-settled:
		return a
	case a := <-remote:
		if !a.TimedOut || ctx.Err() != nil {
			return a
		}
	}
	return api.TxAnswer{ID: tx.ID(), State: api.StateUnknown, Shard: inputs[0], TimedOut: true}
}

// confirmed submits a transaction to replicas of a shard until f+1 of them have given the same answer.
func (b backend) confirmed(ctx context.Context, shard uint16, raw []byte, id ledger.TxID, wait api.Wait) api.TxAnswer {
	need := b.network.Committee(shard).WeakQuorum()
	votes := make(map[api.State]int)
	last := api.TxAnswer{ID: id, State: api.StateUnknown, Shard: shard, TimedOut: true}
	n := b.network.Committee(shard).N()
	start := int(b.home.Replica)
	for k := 0; k < n && ctx.Err() == nil; k++ {
		try, cancel := context.WithTimeout(ctx, max(forwardEvery, remaining(ctx)/2))
		got, err := forwardTo[[]api.TxAnswer](try, b.Node, shard, (start+k)%n, call{Submit: &submitCall{[][]byte{raw}, wait}})
		cancel()
		if err != nil || len(got) != 1 || got[0].ID != id {
			continue
		}
		a := got[0]
		if a.TimedOut {
			continue
		}
		if votes[a.State]++; votes[a.State] >= need {
			a.TimedOut = false
			return a
		}
	}
	return last
}

func remaining(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return api.MaxWait
}

func (b backend) answer(p engine.Progress, stage engine.Stage) api.TxAnswer {
	a := api.TxAnswer{ID: p.ID, Shard: b.home.Shard, State: api.StateAccepted, TimedOut: !p.Reached(stage)}
	switch {
	case p.Refusal != nil:
		a.State = api.StateRejected
		a.Reason, a.Detail = p.Refusal.Reason.String(), p.Refusal.Detail
		if p.Refusal.Reason == ledger.ReasonBookFull {
			a.RetryMS = bookRetry.Milliseconds()
		}
		if !p.Refusal.Final() {
			a.State = api.StateUnknown // not taken, and free to come again
		}
	case p.Receipt.Height > 0:
		a.Height, a.Certified = p.Receipt.Height, p.Certified
		switch p.Receipt.Verdict {
		case ledger.VerdictSettled:
			a.State = api.StateSettled
		case ledger.VerdictSpent:
			a.State = api.StateOrdered
		default:
			a.State = api.StateRejected
			a.Reason, a.Detail = p.Receipt.Reason.String(), p.Receipt.Reason.Words()
		}
	}
	return a
}

// Tx implements [api.Backend]. Of a transaction between shards, every shard is asked for its part.
func (b backend) Tx(id ledger.TxID) (api.TxAnswer, error) {
	a, found := b.txHere(id)
	if len(b.home.Genesis.Shards) == 1 || found && len(a.Parts) == 0 && a.Height > 0 { // all of it is in this shard
		if !found {
			return a, fmt.Errorf("transaction %s: %w", id, api.ErrNotFound)
		}
		return a, nil
	}
	others := make([]*api.TxAnswer, len(b.home.Genesis.Shards))
	var wg sync.WaitGroup
	for s := range others {
		if uint16(s) != b.home.Shard {
			wg.Go(func() {
				if x, err := forward[api.TxAnswer](b.Node, uint16(s), call{Tx: &txCall{id}}); err == nil {
					others[s] = &x
				}
			})
		}
	}
	wg.Wait()
	for _, x := range others {
		switch {
		case x == nil || x.State == api.StateUnknown:
			continue
		case !found:
			a, found = *x, true
		default:
			a.Parts = append(a.Parts, x.Parts...)
		}
	}
	if !found {
		return a, fmt.Errorf("transaction %s: %w", id, api.ErrNotFound)
	}
	return a, nil
}

// txHere is what this shard alone knows of a transaction.
func (b backend) txHere(id ledger.TxID) (api.TxAnswer, bool) {
	p, ok := b.engine.Find(id)
	a := api.TxAnswer{ID: id, Shard: b.home.Shard, State: api.StateUnknown}
	if ok {
		a = b.answer(p, engine.Logged)
		a.TimedOut = false
	}
	part, has, err := b.state.Part(id)
	if err != nil || !has {
		return a, ok
	}
	x := api.Part{Shard: part.Shard, Stage: part.Stage.String(), Height: part.Height}
	for _, k := range part.Known {
		v := api.PartVerdict{Shard: k.Shard, Verdict: "unknown", Reason: k.Reason.String(), Height: k.Height}
		if k.Verdict != 0 {
			v.Verdict = k.Verdict.String()
		}
		x.Verdicts = append(x.Verdicts, v)
	}
	a.Parts = []api.Part{x}
	if !ok { // heard of, and no receipt yet
		a.State = api.StateOrdered
	}
	return a, true
}
