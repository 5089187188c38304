package settlement

import (
	"fmt"

	"bdtnode/ledger"
)

// Rules are the rules of settlement between shards. They have no state. All replicas of a shard must use the same;
// the zero Rules are not useful, see [Standard].
type Rules struct {
	// Transactions of batches that involve a shard are left out while MaxOutstanding LDs to it are not acknowledged,
	// or MaxWaiting open records wait for its verdict.
	MaxOutstanding, MaxWaiting uint64
	// AnswerAfter is the number of applied LDs of one shard after which that shard is sent an acknowledgement if
	// nothing else was sent to it. It must be at least 2: with 1, two shards would acknowledge each other's
	// acknowledgements for ever.
	AnswerAfter uint64
}

// Standard returns the rules of every network.
func Standard() Rules { return Rules{MaxOutstanding: 1024, MaxWaiting: 1 << 16, AnswerAfter: 8} }

// Ordered is the rule Spend, upon a transaction of a batch that has inputs in this shard. If they are good, they go
// into escrow. Otherwise the transaction is left out and nothing is stored, so that only real value in escrow costs
// other shards anything.
func (rules Rules) Ordered(s *ledger.BlockState, tx *ledger.Tx) error {
	r, err := s.Records.Get(tx.ID())
	if err != nil {
		return err
	}
	if r != nil {
		s.MarkDuplicate(tx)
		return nil
	}
	refusal, missing, err := s.CheckInputs(tx)
	if err != nil {
		return err
	}
	if refusal == nil {
		refusal = s.BeyondHorizon(tx)
	}
	if refusal != nil {
		// Its record may be closed, at the latest by this block. Then the transaction has its result, and the refusal
		// by the present state is not reported.
		past, err := s.Records.Closed(tx.ID())
		switch {
		case err != nil:
			return err
		case past != nil:
			s.MarkDuplicate(tx)
		default:
			s.LeaveOut(tx, refusal, missing)
		}
		return nil
	}
	for _, shard := range s.Shards(tx).All().Without(s.Shard()).Members() {
		if why := rules.Busy(s.Channels.Get(shard)); why != "" {
			s.LeaveOutBusy(tx, shard, why)
			return nil
		}
	}
	if !s.Outbox.HasSpace(tx) {
		s.LeaveOutBusy(tx, s.Shard(), "has no space left in the deliveries of this block")
		return nil
	}
	r = s.Records.Open(tx)
	if err := giveVerdict(s, r, ledger.VerdictSpent, ledger.ReasonNone); err != nil {
		return err
	}
	return resolve(s, r)
}

// Busy returns the reason why no new transaction may involve a shard now, empty if there is none. So a shard that is
// down blocks only transactions that involve it.
func (rules Rules) Busy(c ledger.Channel) string {
	switch {
	case c.Frozen:
		return "broke the rules, so its channel is frozen"
	case c.Sent-c.Acked >= rules.MaxOutstanding:
		return fmt.Sprintf("has not acknowledged the last %d deliveries", c.Sent-c.Acked)
	case c.Waiting >= rules.MaxWaiting:
		return fmt.Sprintf("has %d transactions waiting for its verdict", c.Waiting)
	}
	return ""
}

// Delivered is the rule Receive, upon an ordered LD. Each LD is applied once and in order: one whose number is not
// the next is ignored. One with the next number whose Previous is not the digest of the last applied LD proves that
// there are two LDs under that earlier number, so it freezes the channel.
func (rules Rules) Delivered(s *ledger.BlockState, x *ledger.Delivery) error {
	c := s.Channels.Get(x.Source)
	switch {
	case c.Frozen || x.Destination != s.Shard() || x.Number != c.Applied+1:
		return nil
	case x.Previous != c.AppliedDigest:
		freeze(s, x, fmt.Sprintf("its previous delivery is another delivery %d than the applied one", c.Applied))
		return nil
	case x.Applied > c.Sent:
		freeze(s, x, fmt.Sprintf("it acknowledges %d deliveries, only %d were sent", x.Applied, c.Sent))
		return nil
	}
	for i := range x.Entries {
		why, err := rules.entry(s, x.Source, &x.Entries[i])
		if err != nil {
			return err
		}
		if why != "" {
			freeze(s, x, fmt.Sprintf("entry %d, transaction %s: %s", i, x.Entries[i].Tx.ID(), why))
			return nil
		}
	}
	s.Channels.Apply(x)
	return nil
}

// freeze freezes the channel of an ordered delivery that itself proves that its source broke a rule.
func freeze(s *ledger.BlockState, x *ledger.Delivery, why string) {
	s.Channels.Freeze(ledger.Freeze{Source: x.Source, Number: x.Number, Delivery: x.Digest(), Why: why, Proof: string(x.Append(nil))})
}

// entry records a verdict of another shard, answers it, and settles or rolls back if possible. It returns the rule
// that the verdict breaks, if any; an honest shard breaks none.
func (rules Rules) entry(s *ledger.BlockState, source uint16, e *ledger.Entry) (why string, err error) {
	p := s.Shards(e.Tx)
	if !p.Inputs.Has(source) || !p.All().Has(s.Shard()) {
		return "the shard has no inputs of the transaction, or this shard is not involved", nil
	}
	if r := s.Underpaid(e.Tx); r != nil {
		return r.Detail, nil
	}
	r, err := s.Records.Get(e.Tx.ID())
	if err != nil {
		return "", err
	}
	if said, err := hasGivenVerdict(s, r, e.Tx.ID(), source); said || err != nil {
		return "the shard gives a second verdict", err
	}
	if e.Verdict == ledger.VerdictSpent && r != nil && r.Part.Of(source).Cancelled() {
		return "the shard spends a transaction that it cancelled", nil
	}
	if e.Verdict == ledger.VerdictSpent && isLastVerdict(s, p, r, source) && !s.FitsSupply(e.Tx, r != nil && r.Part.Stage == ledger.StageEscrow) {
		return "settling would create more value than the supply of the network", nil
	}
	if r == nil {
		r = s.Records.Open(e.Tx)
	}
	s.Records.SetVerdict(r, source, e.Verdict, e.Reason)
	if own := r.Part.Of(s.Shard()); own != nil && own.Verdict == 0 {
		if err := answer(s, r); err != nil {
			return "", err
		}
	}
	return "", resolve(s, r)
}

// hasGivenVerdict reports whether a shard has given its verdict on a transaction before. An honest shard sends it to
// each shard once. A closed record counts too: if it did not, a second SPENT would create the outputs again.
func hasGivenVerdict(s *ledger.BlockState, r *ledger.Record, id ledger.TxID, source uint16) (bool, error) {
	if r != nil {
		return r.Part.Of(source).Verdict != 0, nil
	}
	past, err := s.Records.Closed(id)
	return past != nil, err // a record closes with the verdicts of all
}

// isLastVerdict reports whether the verdict of source is the last one that is missing for settling the transaction,
// apart from this shard's own.
func isLastVerdict(s *ledger.BlockState, p ledger.TxShards, r *ledger.Record, source uint16) bool {
	for _, shard := range p.Inputs.Without(source).Members() {
		said := ledger.Verdict(0)
		if r != nil {
			said = r.Part.Of(shard).Verdict
		}
		if said != ledger.VerdictSpent && (shard != s.Shard() || said != 0) {
			return false
		}
	}
	return true
}

// answer gives this shard's verdict on a transaction on which another shard sent its verdict, also after its expiry.
// This is the only place where REJECTED is given.
func answer(s *ledger.BlockState, r *ledger.Record) error {
	refusal, _, err := s.CheckInputs(r.Tx)
	switch {
	case err != nil:
		return err
	case refusal != nil:
		return giveVerdict(s, r, ledger.VerdictRejected, refusal.Reason)
	case r.Part.Rejection() != nil:
		return giveVerdict(s, r, ledger.VerdictRejected, ledger.ReasonElsewhere)
	}
	return giveVerdict(s, r, ledger.VerdictSpent, ledger.ReasonNone)
}

// giveVerdict gives this shard's verdict, once, and sends it to every other shard involved.
func giveVerdict(s *ledger.BlockState, r *ledger.Record, v ledger.Verdict, reason ledger.Reason) error {
	if v == ledger.VerdictSpent {
		if err := s.Spend(r); err != nil {
			return err
		}
	} else {
		s.Reject(r, reason)
	}
	s.Records.SetVerdict(r, s.Shard(), v, reason)
	s.Outbox.SendVerdict(r)
	return nil
}

// resolve settles the transaction if the verdict of every input shard is SPENT. If one is REJECTED, it returns the
// escrow of the transaction, or rejects it if it has none.
func resolve(s *ledger.BlockState, r *ledger.Record) error {
	var err error
	rejection := r.Part.Rejection()
	switch stage := r.Part.Stage; {
	case stage <= ledger.StageEscrow && r.Part.AllSpent():
		err = s.Settle(r)
	case stage == ledger.StageEscrow && rejection != nil:
		err = s.ReturnEscrow(r, rejection.Reason)
	case stage == ledger.StagePending && rejection != nil:
		s.Reject(r, rejection.Reason)
	}
	if err != nil {
		return err
	}
	forget(s, r)
	return nil
}

// cancelled is the rule Cancel, upon an ordered CL of another input shard: escrow of the transaction is returned. A CL
// is no verdict, so it changes nothing else: the record stays open until that shard's LD entry is ordered. That entry
// always comes, because this shard's SPENT went there. A CL for a transaction that is not in escrow here changes
// nothing, nor does one of a shard that has given its verdict or whose channel is frozen.
func cancelled(s *ledger.BlockState, id ledger.TxID, source uint16) error {
	r, err := s.Records.Get(id)
	if err != nil || r == nil || r.Part.Stage != ledger.StageEscrow || s.Channels.Get(source).Frozen {
		return err
	}
	if k := r.Part.Of(source); k == nil || source == s.Shard() || k.Verdict != 0 {
		return nil
	}
	return s.CancelEscrow(r, source)
}

// forget closes a record that can change nothing any more: the verdicts of all input shards are known, this shard's
// verdict is sent to all, and in an input shard the transaction has expired, so that no batch can contain it again.
// Every shard that receives a verdict answers it, so records close.
func forget(s *ledger.BlockState, r *ledger.Record) {
	if r.Part.Unsent == 0 && r.Part.Complete() && (!r.Shards.Inputs.Has(s.Shard()) || s.TimeMS() > r.Tx.ExpiryMS) {
		s.Records.Close(r)
	}
}

// Expired is the rule Forget upon expiry: a complete record is closed; one that is not is closed when it becomes
// complete.
func (Rules) Expired(s *ledger.BlockState, r *ledger.Record) error {
	forget(s, r)
	return nil
}

// VerdictSent is the rule Forget after this shard's verdict was sent to all other shards involved.
func (Rules) VerdictSent(s *ledger.BlockState, r *ledger.Record) error {
	forget(s, r)
	return nil
}

// EndBlock acknowledges deliveries of shards to which nothing was sent for AnswerAfter deliveries, so that these shards
// can delete them.
func (rules Rules) EndBlock(s *ledger.BlockState) error {
	for _, c := range s.Channels.Changed() {
		if !c.Frozen && c.Applied-c.AppliedSent >= rules.AnswerAfter {
			s.Outbox.Acknowledge(c.Peer)
		}
	}
	return nil
}
