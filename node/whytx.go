package node

import (
	"context"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admin"
	"bdtnode/node/admission"
	"bdtnode/node/api"
	"bdtnode/node/foreign"
	"bdtnode/node/why"
)

// othersTime bounds the questions to other shards. It leaves time for the other parts of the answer.
const othersTime = 1200 * time.Millisecond

// Why implements [admin.Backend].
func (n inspector) Why(ctx context.Context, id ledger.TxID) (admin.Why, error) {
	if n.state == nil {
		return admin.Why{Head: n.Head(), Tx: id}, errNoPayments
	}
	out := admin.Why{Head: n.Head(), Tx: id}
	s := why.State{
		Shard: n.home.Shard, NowMS: uint64(out.TimeMS), Shards: len(n.home.Genesis.Shards), N: n.committee.N(), F: n.committee.F(),
		Self: n.home.Replica, Channels: make(map[uint16]ledger.Channel),
	}
	var wg sync.WaitGroup
	if v := n.loop(ctx, &out.Head); v != nil {
		s.Core, s.Batch = &v.Core, v.Batch
	}
	r := n.read()
	s.SyncMS, s.Unreached, s.Full = r.sync.Milliseconds(), r.unreached, r.full
	if err := n.whyHere(id, &s); err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, othersTime)
	defer cancel()
	shards := n.askFor(id, &s)
	s.Others = make([]why.Other, len(shards))
	for i, shard := range shards {
		wg.Go(func() { s.Others[i] = n.other(ctx, shard, id) })
	}
	wg.Wait()
	out.Reasons = why.Explain(&s)
	out.Final = true
	for i := range out.Reasons {
		out.Final = out.Final && out.Reasons[i].Kind.Final()
	}
	return out, nil
}

// whyHere fills in this replica's own data about a transaction. The error is the store's.
func (n inspector) whyHere(id ledger.TxID, s *why.State) error {
	p, known := n.engine.Find(id)
	if known && p.Receipt.Height > 0 {
		s.Receipt, s.Certified = &p.Receipt, p.Certified
	}
	s.Refusal = p.Refusal
	pool, tx, ok := n.engine.InspectTx(id)
	if ok {
		s.Pool, s.ExpiryMS = &pool, pool.ExpiryMS
	}
	part, has, err := n.state.Part(id)
	if err != nil {
		return err
	}
	if has {
		s.Part = &part
		if h, ok, err := n.state.Header(part.Height); err == nil && ok {
			s.PartMS = h.TimeMS
		}
		if open, err := n.state.OpenTx(id); err == nil && open != nil {
			s.ExpiryMS = open.ExpiryMS
		}
	}
	channels, err := n.state.Channels()
	if err != nil {
		return err
	}
	var involved ledger.ShardSet
	if tx != nil {
		involved = tx.Shards(n.home.Genesis.Home).All()
	}
	if has {
		involved = part.Outputs
		for i := range part.Known {
			involved = involved.With(part.Known[i].Shard)
		}
	}
	for _, c := range channels {
		if involved.Has(c.Peer) {
			s.Channels[c.Peer] = c
		}
	}
	if s.Pool == nil || s.Pool.Place != admission.PlaceOrphan {
		return nil
	}
	x, err := n.state.Inspect(tx, s.NowMS)
	if err != nil {
		return err
	}
	for _, i := range x.Missing {
		from := tx.Inputs[i].Outpoint.Tx
		_, _, waiting := n.engine.InspectTx(from)
		s.Missing = append(s.Missing, why.Input{Tx: from, Waiting: waiting})
	}
	return nil
}

// askFor lists the other shards whose answer about a transaction matters.
func (n inspector) askFor(id ledger.TxID, s *why.State) []uint16 {
	var out []uint16
	all := s.Part == nil && s.Receipt == nil && s.Pool == nil && s.Refusal == nil // this shard may have no part in it
	for shard := range uint16(s.Shards) {
		if shard == n.home.Shard {
			continue
		}
		if all || s.Part != nil && (s.Part.Outputs.Has(shard) || s.Part.Of(shard) != nil) {
			out = append(out, shard)
		}
	}
	return out
}

// other asks another shard about a transaction.
func (n inspector) other(ctx context.Context, shard uint16, id ledger.TxID) why.Other {
	x := why.Other{Shard: shard, Replicas: len(n.home.Genesis.Shards[shard].Members), Reachable: len(n.net.Reachable(shard))}
	if x.Reachable == 0 {
		x.Unreachable = true
		return x
	}
	describeRow(&x, n.foreign.Tx(ctx, shard, id))
	return x
}

// describeRow fills in the answer of another shard.
func describeRow(x *why.Other, row foreign.Row) {
	x.Unreachable, x.Unconfirmed, x.Accepted = row.Unreachable, row.Unconfirmed, row.Accepted
	a := &row.Answer
	x.Settled, x.Rejected = a.State == api.StateSettled, a.State == api.StateRejected
	x.Known = a.Height > 0 || len(a.Parts) > 0 || x.Settled || x.Rejected
	for _, p := range a.Parts {
		for s := ledger.StagePending; s <= ledger.StageRejected; s++ {
			if p.Stage == s.String() {
				x.Stage = s
			}
		}
		for _, v := range p.Verdicts {
			switch {
			case v.Verdict == "unknown":
				x.Lacks = append(x.Lacks, v.Shard)
			case v.Shard == x.Shard && v.Verdict == ledger.VerdictSpent.String():
				x.Verdict = ledger.VerdictSpent
			case v.Shard == x.Shard:
				x.Verdict = ledger.VerdictRejected
			}
		}
	}
	if x.Lacks == nil {
		x.Lacks = []uint16{}
	}
}
