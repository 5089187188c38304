package why

import (
	"fmt"
	"slices"

	"bdtnode/ledger"
	"bdtnode/protocols"
)

// part explains a transaction between shards of which this shard has a part.
func (e *explainer) part() {
	s, p := e.s, e.s.Part
	since := int64(never)
	if s.PartMS != 0 && s.NowMS >= s.PartMS {
		since = int64(s.NowMS - s.PartMS)
	}
	switch p.Stage {
	case ledger.StageRejected, ledger.StageReturned:
		e.add(Rejected, never, nil, e.rejection(), "It waits for nothing.")
	case ledger.StageSettled:
		e.outputs(since)
		if len(e.out) == 0 {
			e.add(Settled, never, nil, fmt.Sprintf("It settled in shard %d in block %d, and in every other shard of its outputs.", s.Shard, p.Height), "It waits for nothing.")
		}
	case ledger.StagePending, ledger.StageEscrow:
		for i := range p.Known {
			if p.Known[i].Verdict == 0 && p.Known[i].Shard != s.Shard {
				e.verdict(p.Known[i].Shard, since)
			}
		}
		if p.Unsent != 0 {
			e.unsent(since)
		}
		if len(e.out) == 0 {
			e.add(Verdict, since, nil, fmt.Sprintf("Shard %d has not given its verdict.", s.Shard), e.expiry("The next block of this shard"))
		}
	}
	e.certificate()
}

// rejection says in which block and for which reason the transaction was rejected, or its escrow returned.
func (e *explainer) rejection() string {
	p := e.s.Part
	text := fmt.Sprintf("It is %s in shard %d since block %d", p.Stage, e.s.Shard, p.Height)
	if r := p.Rejection(); r != nil {
		text += fmt.Sprintf(": shard %d rejected it (%s)", r.Shard, r.Reason)
	}
	for i := range p.Known {
		if k := &p.Known[i]; k.Cancelled() {
			text += fmt.Sprintf(": a cancellation (CL) of shard %d ended it, because it can never be spent there. The verdict of shard %d has not arrived yet, and changes nothing", k.Shard, k.Shard)
		}
	}
	return text + "."
}

func (e *explainer) unsent(since int64) {
	e.add(VerdictUnsent, since, nil, fmt.Sprintf("The verdict of shard %d waits for room in a block: it is not sent to %s.", e.s.Shard, shards(e.s.Part.Unsent.Members())),
		"Each block sends the first verdicts of the queue, and the replicas ask for blocks until it is empty.")
}

func shards(list []uint16) string {
	if len(list) == 1 {
		return fmt.Sprintf("shard %d", list[0])
	}
	text := "shards"
	for i, s := range list {
		switch {
		case i > 0 && i == len(list)-1:
			text += " and"
		case i > 0:
			text += ","
		}
		text += fmt.Sprintf(" %d", s)
	}
	return text
}

func (e *explainer) other(shard uint16) *Other {
	for i := range e.s.Others {
		if e.s.Others[i].Shard == shard {
			return &e.s.Others[i]
		}
	}
	return nil
}

func (e *explainer) frozen(shard uint16) {
	e.in(shard, ChannelFrozen, never, nil, fmt.Sprintf("Shard %d broke the rules of settlement, so its channel is frozen and no verdict of it is taken.", shard),
		"Nothing ends this wait: a frozen channel is never opened again. See debug evidence. Value in escrow stays there.")
}

// verdict explains why the verdict of another input shard is not known here.
func (e *explainer) verdict(shard uint16, since int64) {
	s := e.s
	c, x := s.Channels[shard], e.other(shard)
	if c.Frozen {
		e.frozen(shard)
		return
	}
	if x != nil && x.Verdict != 0 {
		e.inbound(shard, since)
		return
	}
	if x != nil && x.Unreachable {
		e.down(x, since)
		return
	}
	own := s.Part.Of(s.Shard)
	switch {
	case own != nil && own.Verdict != 0 && s.Part.Unsent.Has(shard): // unsent says it
		return
	case own != nil && own.Verdict != 0 && s.Receipt != nil && !s.Certified && own.Height >= s.Receipt.Height:
		e.add(LDCertificate, since, nil, fmt.Sprintf("The verdict of shard %d for shard %d is in block %d, whose header is not certified, so its LD cannot be sent.", s.Shard, shard, own.Height),
			fmt.Sprintf("%d VOTEs for that header.", s.F+1))
		return
	}
	switch {
	case x != nil && x.Unconfirmed:
		e.in(shard, ShardSplit, since, nil, fmt.Sprintf("Fewer than f+1 replicas of shard %d agree about it: they are at different blocks, or too few answer (%d of %d can be reached).", shard, x.Reachable, x.Replicas),
			"Further replicas of that shard answer, or reach the same block.")
	case x != nil && (x.Known || x.Accepted):
		e.in(shard, OtherOrder, since, nil, fmt.Sprintf("Shard %d has the transaction, and no block of it has given a verdict.", shard),
			"A block of that shard; run debug why at one of its replicas.")
	case c.Sent > c.Acked:
		e.in(shard, LDDelivery, since, nil, fmt.Sprintf("Shard %d has not shown that it applied the LDs of shard %d: %d are made, and it has shown %d.", shard, s.Shard, c.Sent, c.Acked),
			"The replicas of this shard give the LDs to those of the other shard until they are applied. A block of the other shard then gives its verdict, at any time, also after the expiry.")
	default:
		e.in(shard, Verdict, since, nil, fmt.Sprintf("The verdict of shard %d is not known here.", shard), "An LD of that shard with its verdict.")
	}
}

// inbound explains the way of a verdict that another shard has given.
func (e *explainer) inbound(shard uint16, since int64) {
	if e.s.Core != nil {
		for _, v := range e.s.Core.Consensus.Inbound {
			if v.Source != shard {
				continue
			}
			if len(v.Gaps) > 0 {
				g := v.Gaps[0]
				e.in(shard, LDMissing, since, nil, fmt.Sprintf("Shard %d has given its verdict, and its LDs %d to %d are not here.", shard, g.From, g.To),
					"A replica of that shard, or of this one, answers the request for them.")
				return
			}
			if v.Signed > v.Executed {
				e.add(LDOrder, since, nil, fmt.Sprintf("The LDs of shard %d are here up to %d, and blocks of this shard have applied them up to %d.", shard, v.Signed, v.Executed),
					"The next blocks of this shard.")
				e.progress()
				return
			}
		}
	}
	e.in(shard, LDReturn, since, nil, fmt.Sprintf("Shard %d has given its verdict, and the LD with it has not arrived here.", shard),
		"The certificate of its block's header in that shard; then its replicas publish the LD, and give it until it has arrived.")
}

func (e *explainer) down(x *Other, since int64) {
	e.in(x.Shard, ShardDown, since, nil, fmt.Sprintf("No replica of shard %d answered this question in time; %d of %d are connected.", x.Shard, x.Reachable, x.Replicas),
		"Its replicas run and are connected again; see peers list. The inputs stay in escrow until then, also after the expiry.")
}

// outputs explains why a transaction that settled here is not settled in other shards.
func (e *explainer) outputs(since int64) {
	s := e.s
	for _, shard := range s.Part.Outputs.Without(s.Shard).Members() {
		x := e.other(shard)
		c := s.Channels[shard]
		switch {
		case x == nil || x.Settled || x.Stage == ledger.StageSettled:
		case x.Unreachable:
			e.down(x, since)
		case x.Unconfirmed:
			e.in(shard, ShardSplit, since, nil, fmt.Sprintf("Fewer than f+1 replicas of shard %d agree about its outputs there (%d of %d can be reached).", shard, x.Reachable, x.Replicas),
				"Further replicas of that shard answer, or reach the same block.")
		case (!x.Known || slices.Contains(x.Lacks, s.Shard)) && c.Sent > c.Acked:
			e.in(shard, LDDelivery, since, nil, fmt.Sprintf("Its outputs in shard %d do not exist yet: that shard has not shown that it applied the LDs of shard %d: %d are made, and it has shown %d.", shard, s.Shard, c.Sent, c.Acked),
				"A block of that shard applies the LDs.")
		default:
			text := fmt.Sprintf("Its outputs in shard %d do not exist yet", shard)
			if len(x.Lacks) > 0 {
				text += fmt.Sprintf(": it lacks the verdict of %s", shards(x.Lacks))
			}
			e.in(shard, Outputs, since, nil, text+".", "A block of that shard with the missing verdicts.")
		}
	}
}

// elsewhere explains a transaction of which this replica knows nothing.
func (e *explainer) elsewhere() {
	down := 0
	for i := range e.s.Others {
		x := &e.s.Others[i]
		switch {
		case x.Unreachable:
			down++
			e.down(x, never)
		case x.Unconfirmed:
			down++
			e.in(x.Shard, ShardSplit, never, nil, fmt.Sprintf("Fewer than f+1 replicas of shard %d agree about it (%d of %d can be reached).", x.Shard, x.Reachable, x.Replicas),
				"Further replicas of that shard answer, or reach the same block.")
		case x.Settled:
			e.in(x.Shard, Settled, never, nil, fmt.Sprintf("It settled in shard %d; this shard has no part in it.", x.Shard), "It waits for nothing.")
		case x.Rejected:
			e.in(x.Shard, Rejected, never, nil, fmt.Sprintf("Shard %d rejected it; this shard has no part in it.", x.Shard), "It waits for nothing.")
		case x.Known || x.Accepted:
			e.in(x.Shard, Elsewhere, never, nil, fmt.Sprintf("This shard has no part in it. Shard %d has it, and has not decided it.", x.Shard),
				"Run debug why at a replica of that shard.")
		}
	}
	if len(e.out) == down {
		unknown := Reason{Kind: Unknown, Shard: e.s.Shard, Replicas: nil, SinceMS: never,
			Text: "This replica does not have it: it never received it, dropped it, or was not asked to take it.", Ends: "It is submitted, to any replica."}
		if e.s.Full {
			unknown.Text += " Its mempool is full, or the share of it that one client may have, so it takes only transactions that pay more for each byte than another one there."
		}
		e.out = append([]Reason{unknown}, e.out...)
		e.out[0].Replicas = e.unacked(nil)[:0]
		e.frozenLanes()
	}
}

// frozenLanes names the replicas whose lanes are frozen: a transaction that only they received is never executed.
func (e *explainer) frozenLanes() {
	if e.s.Core == nil {
		return
	}
	for _, l := range e.s.Core.Consensus.Lanes {
		if l.Frozen {
			e.add(LaneFrozen, never, []protocols.Index{l.Lane}, fmt.Sprintf("The lane of replica %d is frozen at batch %d: a committed chain of it did not contain that position, so later batches of it are not executed.", l.Lane, l.FrozenAt),
				"Nothing for a transaction that only this replica received; submit it at another replica.")
		}
	}
}
