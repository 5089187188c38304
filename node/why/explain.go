package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
)

// Explain returns the reasons for which a transaction waits, the most important one first; at least one.
func Explain(s *State) []Reason {
	e := explainer{s: s}
	switch {
	case s.Part != nil:
		e.part()
	case s.Receipt != nil:
		e.receipt()
	case s.Pool != nil:
		e.pool()
	case s.Refusal != nil:
		e.refused()
	default:
		e.elsewhere()
	}
	return e.out
}

// explainer collects reasons.
type explainer struct {
	s   *State
	out []Reason
}

// add adds a reason in this shard.
func (e *explainer) add(k Kind, since int64, missing []protocols.Index, text, ends string) {
	e.in(e.s.Shard, k, since, missing, text, ends)
}

// in adds a reason in a shard.
func (e *explainer) in(shard uint16, k Kind, since int64, missing []protocols.Index, text, ends string) {
	if missing == nil {
		missing = []protocols.Index{}
	}
	e.out = append(e.out, Reason{Kind: k, Shard: shard, Replicas: missing, SinceMS: since, Text: text, Ends: ends})
}

const never = -1 // an unknown time

// receipt explains a transaction inside this shard that a block has decided.
func (e *explainer) receipt() {
	r := e.s.Receipt
	if r.Verdict == ledger.VerdictSettled {
		e.add(Settled, never, nil, fmt.Sprintf("It settled in block %d of shard %d.", r.Height, e.s.Shard), "It waits for nothing.")
	} else {
		e.add(Rejected, never, nil, fmt.Sprintf("Block %d of shard %d rejected it: %s.", r.Height, e.s.Shard, r.Reason.Description()), "It waits for nothing.")
	}
	e.certificate()
}

// certificate adds the reason of a block whose header is not certified.
func (e *explainer) certificate() {
	r := e.s.Receipt
	if r == nil || e.s.Certified || e.s.Core == nil {
		return
	}
	var missing []protocols.Index
	for _, h := range e.s.Core.Headers.Heights {
		if h.Height == r.Height {
			missing = h.Missing
		}
	}
	e.add(Certificate, never, missing,
		fmt.Sprintf("The header of block %d is not certified: fewer than %d replicas of shard %d have sent a VOTE for it.%s", r.Height, e.s.F+1, e.s.Shard, without(missing)),
		"The VOTE of one of these replicas, which it sends when it has executed the block.")
}

// without lists replicas without a message.
func without(missing []protocols.Index) string {
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf(" Missing: %s.", Replicas(missing))
}

// Replicas is a list of replicas in words.
func Replicas(list []protocols.Index) string {
	if len(list) == 0 {
		return "no replica"
	}
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = fmt.Sprint(r)
	}
	if len(list) == 1 {
		return "replica " + words[0]
	}
	return "replicas " + strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func (e *explainer) refused() {
	r := e.s.Refusal
	if r.Final() {
		e.add(Rejected, never, nil, fmt.Sprintf("It is rejected: %s.", r.Reason.Description()), "It waits for nothing.")
		return
	}
	e.add(Refused, never, nil, fmt.Sprintf("This replica did not take it, or removed it: %s.", r.Reason.Description()), "It is submitted again.")
}

// span is a time in words.
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// expiry is the end of a wait by the transaction's expiry.
func (e *explainer) expiry(or string) string {
	at := e.s.ExpiryMS
	if e.s.Pool != nil {
		at = e.s.Pool.ExpiryMS
	}
	switch {
	case at == 0:
		return or + "."
	case at < e.s.NowMS:
		return or + ", or the next block, because its expiry has passed."
	}
	return fmt.Sprintf("%s, or its expiry in %s.", or, span(int64(at-e.s.NowMS)))
}

// pool explains a transaction that no block has decided here.
func (e *explainer) pool() {
	s, p := e.s, e.s.Pool
	switch p.Place {
	case admission.PlaceOrphan:
		e.room()
	case admission.PlaceBehind:
		e.add(Parent, p.SinceMS, nil, fmt.Sprintf("It spends outputs of %s, which is in no batch yet and must be in one before it.", txs(p.Depends)),
			"The batch with that transaction; run debug why for it.")
		e.batch()
	case admission.PlaceReady:
		e.batch()
	case admission.PlaceParked:
		e.parked()
	case admission.PlaceBatch:
		if !p.Accepted {
			text := "Its batch is made and not on the disk of this replica yet."
			if s.SyncMS > 0 {
				text += fmt.Sprintf(" The disk is slow: a sync of the consensus store takes %s.", span(s.SyncMS))
			}
			e.add(Disk, p.SinceMS, nil, text, "The next sync of the consensus store. A slow or failing disk delays it.")
			return
		}
		e.order()
	}
	if s.Full && p.Place != admission.PlaceOrphan && !p.Accepted {
		e.add(MempoolFull, never, nil, "The mempool of this replica is full, or the share of it that one client may have.", "Commits make room. Until its batch is on disk, a transaction that pays more for each byte may replace it.")
	}
}

// room explains a transaction in the orphan pool.
func (e *explainer) room() {
	p := e.s.Pool
	drop := fmt.Sprintf("It is dropped in %s (unknown_input) and may be submitted again.", span(p.UntilMS))
	for _, in := range e.s.Missing {
		text := fmt.Sprintf("An input does not exist: transaction %s has not created it in shard %d.", in.Tx, e.s.Shard)
		ends := "That transaction settles. Otherwise: " + drop
		if in.Waiting {
			ends = "That transaction settles; it waits here too: run debug why for it. Otherwise: " + drop
		}
		e.add(MissingInput, p.SinceMS, nil, text, ends)
	}
	if len(e.s.Missing) == 0 {
		e.add(Conflict, p.SinceMS, nil, fmt.Sprintf("Another transaction without a decision spends an input of it: %s.", txs(p.Depends)),
			"A block decides that transaction. Otherwise: "+drop)
	}
}

// txs is a list of transactions in words.
func txs(ids []ledger.TxID) string {
	if len(ids) == 0 {
		return "another transaction"
	}
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = id.String()
	}
	if len(ids) == 1 {
		return "transaction " + words[0]
	}
	return "transactions " + strings.Join(words, ", ")
}

// batch explains a transaction that waits for a batch of the own lane.
func (e *explainer) batch() {
	s, p := e.s, e.s.Pool
	var lane string
	if s.Core != nil {
		l := &s.Core.Consensus.Lanes[s.Self]
		lane = fmt.Sprintf("Lane %d has batches up to %d, and blocks have ordered them up to %d.", s.Self, l.Highest, l.Ordered)
	}
	switch s.Batch {
	case driver.BatchSigns:
		start := s.Core.Start
		silent, _ := e.silent()
		text := fmt.Sprintf("This replica signs nothing until %d peers have answered its start; %d have.", start.Needed, start.Answered)
		if len(silent) > 0 {
			text += fmt.Sprintf(" %s.", upper(doNotAnswer(silent)))
		}
		if len(s.Unreached) > 0 {
			text += fmt.Sprintf(" It is connected to no replica of its shard, and its bootstrap replicas are not reached: %s.", strings.Join(s.Unreached, ", "))
		}
		e.add(Start, p.SinceMS, silent, text, e.expiry("Further peers answer"))
	case driver.BatchLane:
		if s.Core.Consensus.Lanes[s.Self].Frozen {
			e.add(LaneFrozen, p.SinceMS, nil, "The lane of this replica is frozen: a committed chain of it did not contain the position of the cut before.",
				e.expiry("Nothing; submit the transaction at another replica"))
			return
		}
		e.add(LaneFull, p.SinceMS, nil, "The window of this replica's lane is full. "+lane, e.expiry("A commit of batches of this lane"))
		e.progress()
	case driver.BatchUnanswered:
		e.add(Unanswered, p.SinceMS, nil, "Too many batches of this replica have neither a certificate nor a commit. "+lane, e.expiry("A commit, or acknowledgements of other replicas"))
		e.progress()
	default:
		e.add(NextBatch, p.SinceMS, nil, "It is ready for the next batch of this replica's lane.", e.expiry("The next batch, within milliseconds unless many transactions are ahead of it"))
	}
}

// parked explains a transaction that a block left out.
func (e *explainer) parked() {
	p := e.s.Pool
	if p.Overdue {
		e.add(Overdue, p.SinceMS, nil, "Its expiry has passed by this replica's clock, and not by block time.",
			"This replica puts one such transaction into a batch each second. The block that orders the batch has a later time and rejects it.")
		e.progress()
		return
	}
	why := "for a reason that may pass"
	if p.LeftOut != nil {
		why = fmt.Sprintf("because of %s (%s)", p.LeftOut.Reason, p.LeftOut.Reason.Description())
		if p.LeftOut.Detail != "" {
			why += ": " + p.LeftOut.Detail
		}
	}
	ends := e.expiry(fmt.Sprintf("It is tried again in %s", span(p.UntilMS)))
	if len(p.Depends) > 0 {
		ends = fmt.Sprintf("It is tried again in %s, and as soon as %s is decided. %s", span(p.UntilMS), txs(p.Depends), e.expiry("Otherwise a block"))
	}
	e.add(LeftOut, p.SinceMS, nil, fmt.Sprintf("A block left it out %s.", why), ends)
	for shard, c := range sorted(e.s.Channels) {
		if c.Frozen {
			e.frozen(shard)
		}
	}
}

// sorted ranges over a map in the order of its keys.
func sorted(m map[uint16]ledger.Channel) func(yield func(uint16, ledger.Channel) bool) {
	return func(yield func(uint16, ledger.Channel) bool) {
		var keys []uint16
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// order explains a transaction in a batch on disk that no block has decided.
func (e *explainer) order() {
	s, p := e.s, e.s.Pool
	if s.Core == nil {
		e.add(Execution, p.SinceMS, nil, fmt.Sprintf("It is in batch %d of this replica's lane, and the loop of the engine does not answer.", p.Batch), "The loop continues; see debug profile goroutine.")
		return
	}
	l := &s.Core.Consensus.Lanes[s.Self]
	c := &s.Core.Consensus
	if p.Batch <= l.Ordered { // the block is committed
		if c.Delivered < c.Committed && c.Delivered == c.Executed {
			e.add(Data, p.SinceMS, nil, fmt.Sprintf("Block %d is committed, and data of it is not here; it is requested from the replicas that voted for it.", c.Delivered+1),
				"One of these replicas answers.")
			return
		}
		if h := s.Core.Unknown; h != 0 && h == c.Executed+1 {
			e.add(Signatures, p.SinceMS, nil, fmt.Sprintf("Block %d is committed, and this replica does not know yet whether the signatures of each of its batches verify.", h),
				fmt.Sprintf("Vouches of %d replicas for each of these batches, %d VOTEs for the header of the block, or the check of this replica itself; see debug lanes.", s.F+1, s.F+1))
			return
		}
		e.add(Execution, p.SinceMS, nil, fmt.Sprintf("Its batch %d is in a committed block that is not executed: blocks are committed up to %d and executed up to %d.", p.Batch, c.Committed, c.Executed),
			"The executor; a slow disk or processor delays it.")
		return
	}
	e.progress()
	if len(e.out) > 0 {
		return
	}
	if l.Certified >= p.Batch {
		e.add(Proposal, p.SinceMS, []protocols.Index{c.Leader}, fmt.Sprintf("Its batch %d is certified, and the leader, replica %d, has not proposed it.", p.Batch, c.Leader),
			"A proposal of the leader. "+e.patience())
		return
	}
	missing := e.unacked(l.AckedBy)
	if len(l.AckedBy) > 0 && len(l.AckedBy) < s.N-s.F && len(missing) > s.F {
		e.add(Acks, p.SinceMS, missing, fmt.Sprintf("Its batch %d has no certificate: %d of %d replicas have acknowledged batch %d.%s", p.Batch, len(l.AckedBy), s.N-s.F, max(l.Certified, l.Ordered)+1, without(missing)),
			e.expiry("Acknowledgements of these replicas, or a proposal of the leader without them"))
		return
	}
	e.add(Proposal, p.SinceMS, []protocols.Index{c.Leader}, fmt.Sprintf("The leader, replica %d, has not proposed batch %d of this replica's lane.", c.Leader, p.Batch),
		"A proposal of the leader. "+e.patience())
}

func (e *explainer) unacked(have []protocols.Index) []protocols.Index {
	var set protocols.Set
	for _, i := range have {
		set.Add(i)
	}
	return set.Others(e.s.N)
}

// patience is the end of a wait for the leader.
func (e *explainer) patience() string {
	c := &e.s.Core.Consensus
	return fmt.Sprintf("If a certified batch waits for longer than the patience of %s, this replica leaves the epoch; once %d replicas did, the shard agrees on the epoch's end and the next leader.",
		span(c.Patience.LimitMS), e.s.F+1)
}

// silent are the replicas of the shard that answer no Pings, and the longest time since one of them did.
func (e *explainer) silent() (silent []protocols.Index, since int64) {
	since = never
	for _, p := range e.s.Core.Peers {
		if !p.Answers {
			silent = append(silent, p.Replica)
			if p.AnsweredMS > 0 {
				since = max(since, p.AnsweredMS)
			}
		}
	}
	return silent, since
}

// doNotAnswer says that these replicas do not answer.
func doNotAnswer(list []protocols.Index) string {
	if len(list) == 1 {
		return Replicas(list) + " does not answer"
	}
	return Replicas(list) + " do not answer"
}

// progress adds the reasons for which the shard commits nothing, as this replica sees them.
func (e *explainer) progress() {
	s := e.s
	if s.Core == nil {
		return
	}
	c := &s.Core.Consensus
	if s.Core.CatchUp.Behind && s.Core.CatchUp.Target > c.Committed {
		e.add(CatchingUp, s.Core.CatchUp.StillMS, nil, fmt.Sprintf("This replica is behind: it has committed up to %d, and others have certified up to %d.", c.Committed, s.Core.CatchUp.Target),
			"Peers answer its requests for certified blocks.")
	}
	if silent, since := e.silent(); len(silent) > s.F {
		e.add(NoQuorum, since, silent, fmt.Sprintf("%d of %d replicas of shard %d answer, and %d are needed. %s.", s.N-len(silent), s.N, s.Shard, s.N-s.F, upper(doNotAnswer(silent))),
			e.expiry(atLeast(len(silent)-s.F)+" again"))
	}
	if end := c.End; end != nil && (end.Left || len(end.Statuses) > s.F) {
		if end.Needed > 0 {
			e.add(EpochEnd, never, end.Missing, fmt.Sprintf("The replicas leave epoch %d, and %d further Status are needed before the agreement on its end begins.%s", c.Epoch, end.Needed, without(end.Missing)),
				"The Status of these replicas; each leaves once f+1 replicas have left.")
		} else {
			a := &end.Agreement
			e.add(EpochEnd, never, a.Missing, fmt.Sprintf("The agreement on the end of epoch %d is in round %d and waits for %s.%s", c.Epoch, a.Round, a.WaitsFor, without(a.Missing)),
				"Messages of these replicas. The agreement depends on no time.")
		}
		return
	}
	if len(c.FastLane.Slots) == 0 {
		return
	}
	x := &c.FastLane.Slots[0]
	switch x.WaitsFor {
	case bolt.WaitVotes:
		e.add(Votes, x.SinceMS, x.Missing, fmt.Sprintf("Slot %d of epoch %d waits for %d further Votes.%s%s", x.Slot, c.Epoch, x.Needed, without(x.Missing), e.ownVote(x.OwnVote)),
			"Votes of these replicas. "+e.patience())
	case bolt.WaitFinalizes:
		e.add(Finalizes, x.SinceMS, x.Missing, fmt.Sprintf("Slot %d of epoch %d has its QC and waits for %d further Finalizes.%s", x.Slot, c.Epoch, x.Needed, without(x.Missing)),
			"Finalizes of these replicas. "+e.patience())
	case bolt.WaitBlock:
		e.add(Data, x.SinceMS, nil, fmt.Sprintf("Slot %d of epoch %d is final, and a block up to it is not here.", x.Slot, c.Epoch), "A replica that voted for it answers the request.")
	case bolt.WaitExecution:
		e.add(Execution, x.SinceMS, nil, fmt.Sprintf("This replica commits nothing more before its execution is nearer: committed up to %d, executed up to %d.", c.Committed, c.Executed), "The executor.")
	case bolt.WaitProposal, bolt.WaitEarlier: // the caller names the leader, or the slot commits at once
	}
}

// ownVote is the reason why this replica has not voted, in words.
func (e *explainer) ownVote(v bolt.OwnVote) string {
	switch v {
	case bolt.VoteRefused:
		return " This replica does not vote, because the block does not extend its parent."
	case bolt.VoteParent:
		return " This replica waits for the block before it."
	case bolt.VoteExecution:
		return " This replica votes when its execution is nearer."
	case bolt.VoteClock:
		text := " The block's time is ahead of this replica's clock."
		leader := e.s.Core.Consensus.Leader
		for _, p := range e.s.Core.Peers {
			if p.Replica == leader && p.ClockMS > 0 {
				text += fmt.Sprintf(" The clock of the leader, replica %d, is %s ahead of this replica's.", leader, span(p.ClockMS))
			}
		}
		return text
	case bolt.VoteData:
		return " This replica lacks data of the block, or acknowledged another header."
	case bolt.VoteCast, bolt.VoteLeft, bolt.VoteProposal:
	}
	return ""
}

// atLeast says that so many of the named replicas answer.
func atLeast(n int) string {
	if n == 1 {
		return "One of these replicas answers"
	}
	return fmt.Sprintf("%d of these replicas answer", n)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
