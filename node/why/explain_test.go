package why

import (
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

const now = 1_700_000_000_000

var parent = ledger.TxID(digest.Of("parent"))

// healthy is a shard of four replicas in which nothing is missing. change changes it.
func healthy(change ...func(s *State)) *State {
	s := &State{
		Shard: 0, NowMS: now, Shards: 3, N: 4, F: 1, Self: 1, ExpiryMS: now + 60_000, Channels: make(map[uint16]ledger.Channel),
		Core: &replica.View{
			Consensus: bdt.View{
				Epoch: 3, Leader: 2, Committed: 10, Delivered: 10, Executed: 10,
				Lanes: []lanes.View{{}, {Lane: 1, Highest: 7, Ordered: 4, Certified: 4}, {}, {}}, Patience: bdt.PatienceView{LimitMS: 400},
			},
			Headers: certify.View{Executed: 10, Certified: 10},
			Start:   replica.StartView{Signs: true, Answered: 2, Needed: 2},
			Peers:   []replica.PeerView{{Replica: 0, Answers: true}, {Replica: 2, Answers: true}, {Replica: 3, Answers: true}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// pool puts the transaction into a place of the replica.
func pool(p admission.Place, change ...func(v *admission.TxView)) func(s *State) {
	return func(s *State) {
		v := admission.TxView{Place: p, SinceMS: 1500, ExpiryMS: now + 60_000, Depends: []ledger.TxID{}}
		for _, c := range change {
			c(&v)
		}
		s.Pool = &v
	}
}

// accepted is in batch 6 of the own lane on disk.
func accepted(v *admission.TxView) { v.Accepted, v.Batch = true, 6 }

func core(change func(c *replica.View)) func(s *State) { return func(s *State) { change(s.Core) } }

func slot(x bolt.SlotView) func(s *State) {
	return core(func(c *replica.View) { c.Consensus.FastLane.Slots = []bolt.SlotView{x} })
}

// part is a transaction with inputs in the shards 0 and 1, and outputs in 0 and 2. Shard 0 has SPENT.
func part(change ...func(p *ledger.Part)) func(s *State) {
	return func(s *State) {
		p := ledger.Part{
			Shard: 0, Stage: ledger.StageEscrow, Open: true, Height: 9, Outputs: ledger.ShardSet(0).With(0).With(2),
			Known: []ledger.KnownVerdict{{Shard: 0, Verdict: ledger.VerdictSpent, Height: 9}, {Shard: 1}},
		}
		for _, c := range change {
			c(&p)
		}
		s.Part, s.PartMS = &p, now-2000
		s.Receipt, s.Certified = &ledger.Receipt{Height: 9, Verdict: ledger.VerdictSpent}, true
	}
}

func settled(p *ledger.Part) {
	p.Stage = ledger.StageSettled
	p.Known[1].Verdict = ledger.VerdictSpent
}

func others(list ...Other) func(s *State) { return func(s *State) { s.Others = list } }

func channel(shard uint16, c ledger.Channel) func(s *State) {
	return func(s *State) { s.Channels[shard] = c }
}

// TestEachKind: each way in which a transaction can wait has its reason, which comes first and names the shard, the
// replicas and the time; its sentences name the facts.
func TestEachKind(t *testing.T) {
	tests := []struct {
		name     string
		state    *State
		want     Kind
		shard    uint16
		replicas []protocols.Index
		since    int64
		text     []string // parts of the text and of the end
	}{
		{"settled", healthy(func(s *State) {
			s.Receipt, s.Certified = &ledger.Receipt{Height: 5, Verdict: ledger.VerdictSettled}, true
		}), Settled, 0, nil, -1, []string{"block 5 of shard 0"}},
		{"rejected by a block", healthy(func(s *State) {
			s.Receipt, s.Certified = &ledger.Receipt{Height: 5, Verdict: ledger.VerdictRejected, Reason: ledger.ReasonExpired}, true
		}), Rejected, 0, nil, -1, []string{"has expired"}},
		{"rejected for ever", healthy(func(s *State) { s.Refusal = &ledger.Refusal{Reason: ledger.ReasonConsumed} }), Rejected, 0, nil, -1, []string{"consumed by another"}},
		{"refused for now", healthy(func(s *State) { s.Refusal = &ledger.Refusal{Reason: ledger.ReasonBookFull} }), Refused, 0, nil, -1, []string{"submitted again"}},
		{"unknown", healthy(others(Other{Shard: 1}, Other{Shard: 2})), Unknown, 0, nil, -1, []string{"does not have it"}},

		{"an input is missing", healthy(pool(admission.PlaceOrphan, func(v *admission.TxView) { v.UntilMS = 8000 }), func(s *State) { s.Missing = []Input{{Tx: parent}} }),
			MissingInput, 0, nil, 1500, []string{parent.String(), "dropped in 8s"}},
		{"an input is made here", healthy(pool(admission.PlaceOrphan), func(s *State) { s.Missing = []Input{{Tx: parent, Waiting: true}} }),
			MissingInput, 0, nil, 1500, []string{"it waits here too"}},
		{"an input is spent by another", healthy(pool(admission.PlaceOrphan, func(v *admission.TxView) { v.Depends = []ledger.TxID{parent} })),
			Conflict, 0, nil, 1500, []string{parent.String()}},
		{"behind its parent", healthy(pool(admission.PlaceBehind, func(v *admission.TxView) { v.Depends = []ledger.TxID{parent} })), Parent, 0, nil, 1500, []string{parent.String()}},
		{"start", healthy(pool(admission.PlaceReady), func(s *State) { s.Batch, s.Core.Start = driver.BatchSigns, replica.StartView{Answered: 1, Needed: 2} }),
			Start, 0, nil, 1500, []string{"until 2 peers", "1 have", "expiry in 1m0s"}},
		{"start without a bootstrap replica", healthy(pool(admission.PlaceReady), func(s *State) {
			s.Batch, s.Core.Start, s.Unreached = driver.BatchSigns, replica.StartView{Needed: 2}, []string{"0/0", "0/2"}
			s.Core.Peers[0].Answers, s.Core.Peers[1].Answers, s.Core.Peers[2].Answers = false, false, false
		}), Start, 0, []protocols.Index{0, 2, 3}, 1500, []string{"0 have", "Replicas 0, 2 and 3 do not answer", "bootstrap replicas are not reached: 0/0, 0/2"}},
		{"full lane", healthy(pool(admission.PlaceReady), func(s *State) { s.Batch, s.Core.Consensus.Lanes[1].Full = driver.BatchLane, lanes.FullBytes }),
			LaneFull, 0, nil, 1500, []string{"up to 7", "up to 4"}},
		{"frozen lane", healthy(pool(admission.PlaceReady), func(s *State) { s.Batch, s.Core.Consensus.Lanes[1].Frozen = driver.BatchLane, true }),
			LaneFrozen, 0, nil, 1500, []string{"another replica"}},
		{"no certificates", healthy(pool(admission.PlaceReady), func(s *State) { s.Batch = driver.BatchUnanswered }), Unanswered, 0, nil, 1500, []string{"Lane 1"}},
		{"the gap between batches", healthy(pool(admission.PlaceReady), func(s *State) { s.Batch = driver.BatchGap }), NextBatch, 0, nil, 1500, []string{"next batch"}},
		{"ready", healthy(pool(admission.PlaceReady)), NextBatch, 0, nil, 1500, []string{"next batch"}},
		{"not on disk", healthy(pool(admission.PlaceBatch)), Disk, 0, nil, 1500, []string{"sync"}},
		{"the disk is slow", healthy(pool(admission.PlaceBatch), func(s *State) { s.SyncMS = 2100 }), Disk, 0, nil, 1500, []string{"The disk is slow", "takes 2.1s"}},
		{"left out", healthy(pool(admission.PlaceParked, func(v *admission.TxView) {
			v.Accepted, v.UntilMS, v.LeftOut = true, 4000, &ledger.Refusal{Reason: ledger.ReasonShardBusy, Detail: "shard 2 has not acknowledged"}
		})), LeftOut, 0, nil, 1500, []string{"shard_busy", "shard 2 has not", "tried again in 4s"}},
		{"left out for an input", healthy(pool(admission.PlaceParked, func(v *admission.TxView) {
			v.Depends, v.LeftOut = []ledger.TxID{parent}, &ledger.Refusal{Reason: ledger.ReasonUnknownInput}
		})),
			LeftOut, 0, nil, 1500, []string{"unknown_input", "as soon as transaction " + parent.String()}},
		{"overdue", healthy(pool(admission.PlaceParked, func(v *admission.TxView) { v.Accepted, v.Overdue = true, true })), Overdue, 0, nil, 1500, []string{"each second"}},

		{"catching up", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.CatchUp = replica.CatchUpView{Behind: true, Lacks: 11, Target: 50, StillMS: 700}
		})), CatchingUp, 0, nil, 700, []string{"up to 10", "up to 50"}},
		{"no quorum", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Peers[0].Answers, c.Peers[2].Answers, c.Peers[2].AnsweredMS = false, false, 9000
		})), NoQuorum, 0, []protocols.Index{0, 3}, 9000, []string{"2 of 4 replicas of shard 0", "Replicas 0 and 3", "One of these replicas answers again"}},
		{"replicas leave", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Consensus.End = &bdt.EndView{Left: true, Missing: []protocols.Index{2, 3}, Needed: 1}
		})), EpochEnd, 0, []protocols.Index{2, 3}, -1, []string{"leave epoch 3", "1 further Status"}},
		{"agreement", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Consensus.End = &bdt.EndView{Left: true, Agreement: mvba.View{Round: 2, WaitsFor: mvba.WaitShares, Missing: []protocols.Index{3}}}
		})), EpochEnd, 0, []protocols.Index{3}, -1, []string{"round 2", "shares"}},
		{"votes", healthy(pool(admission.PlaceBatch, accepted), slot(bolt.SlotView{Slot: 8, SinceMS: 300, WaitsFor: bolt.WaitVotes, Missing: []protocols.Index{0, 3}, Needed: 1, OwnVote: bolt.VoteClock})),
			Votes, 0, []protocols.Index{0, 3}, 300, []string{"Slot 8 of epoch 3", "1 further Votes", "ahead of this replica's clock", "patience of 400ms"}},
		{"the leader's clock is ahead", healthy(pool(admission.PlaceBatch, accepted), slot(bolt.SlotView{Slot: 8, SinceMS: 300, WaitsFor: bolt.WaitVotes, Missing: []protocols.Index{0, 3}, Needed: 1, OwnVote: bolt.VoteClock}),
			core(func(c *replica.View) { c.Peers[1].ClockMS = 3_600_000 })),
			Votes, 0, []protocols.Index{0, 3}, 300, []string{"The clock of the leader, replica 2, is 1h0m0s ahead of this replica's."}},
		{"finalizes", healthy(pool(admission.PlaceBatch, accepted), slot(bolt.SlotView{Slot: 8, SinceMS: 300, WaitsFor: bolt.WaitFinalizes, Missing: []protocols.Index{0}, Needed: 1})),
			Finalizes, 0, []protocols.Index{0}, 300, []string{"has its QC"}},
		{"a block is missing", healthy(pool(admission.PlaceBatch, accepted), slot(bolt.SlotView{Slot: 8, SinceMS: 300, WaitsFor: bolt.WaitBlock})), Data, 0, nil, 300, []string{"is final"}},
		{"execution stops the commit", healthy(pool(admission.PlaceBatch, accepted), slot(bolt.SlotView{Slot: 8, SinceMS: 300, WaitsFor: bolt.WaitExecution})), Execution, 0, nil, 300, nil},
		{"certified and not proposed", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) { c.Consensus.Lanes[1].Certified = 6 })),
			Proposal, 0, []protocols.Index{2}, 1500, []string{"replica 2", "is certified"}},
		{"not proposed", healthy(pool(admission.PlaceBatch, accepted)), Proposal, 0, []protocols.Index{2}, 1500, []string{"has not proposed batch 6"}},
		{"too few acknowledgements", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) { c.Consensus.Lanes[1].AckedBy = []protocols.Index{0, 1} })),
			Acks, 0, []protocols.Index{2, 3}, 1500, []string{"2 of 3", "batch 5"}},
		{"data of a committed block", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Consensus.Lanes[1].Ordered, c.Consensus.Committed = 6, 12
		})), Data, 0, nil, 1500, []string{"Block 11"}},
		{"signatures", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Consensus.Lanes[1].Ordered, c.Consensus.Committed, c.Consensus.Delivered, c.Unknown = 6, 12, 12, 11
		})), Signatures, 0, nil, 1500, []string{"Block 11", "signatures", "Vouches of 2 replicas"}},
		{"execution before a block whose signatures are not known", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Consensus.Lanes[1].Ordered, c.Consensus.Committed, c.Consensus.Delivered, c.Unknown = 6, 12, 12, 12
		})), Execution, 0, nil, 1500, []string{"executed up to 10"}},
		{"execution", healthy(pool(admission.PlaceBatch, accepted), core(func(c *replica.View) {
			c.Consensus.Lanes[1].Ordered, c.Consensus.Committed, c.Consensus.Delivered = 6, 12, 12
		})), Execution, 0, nil, 1500, []string{"up to 12", "up to 10"}},
		{"no answer of the loop", healthy(pool(admission.PlaceBatch, accepted), func(s *State) { s.Core = nil }), Execution, 0, nil, 1500, []string{"does not answer"}},

		{"frozen channel", healthy(part(), channel(1, ledger.Channel{Frozen: true}), others(Other{Shard: 1, Unreachable: true})), ChannelFrozen, 1, nil, -1, []string{"Nothing ends this wait"}},
		{"verdict not sent", healthy(part(func(p *ledger.Part) { p.Unsent = ledger.ShardSet(0).With(1).With(2) }), others(Other{Shard: 1})), VerdictUnsent, 0, nil, 2000, []string{"shards 1 and 2"}},
		{"own header not certified", healthy(part(), others(Other{Shard: 1}), func(s *State) { s.Certified = false }), LDCertificate, 0, nil, 2000, []string{"block 9"}},
		{"LD not applied", healthy(part(), channel(1, ledger.Channel{Sent: 8, Acked: 5}), others(Other{Shard: 1, Reachable: 4, Replicas: 4})), LDDelivery, 1, nil, 2000, []string{"8 are made", "shown 5"}},
		{"the other shard orders it", healthy(part(), others(Other{Shard: 1, Accepted: true})), OtherOrder, 1, nil, 2000, nil},
		{"the other shard knows it", healthy(part(), others(Other{Shard: 1, Known: true})), OtherOrder, 1, nil, 2000, nil},
		{"LDs are missing", healthy(part(), others(Other{Shard: 1, Known: true, Verdict: ledger.VerdictSpent}), core(func(c *replica.View) {
			c.Consensus.Inbound = []inbound.View{{Source: 1, Signed: 4, Gaps: []inbound.Gap{{From: 5, To: 6}}}}
		})), LDMissing, 1, nil, 2000, []string{"5 to 6"}},
		{"LDs are not ordered", healthy(part(), others(Other{Shard: 1, Known: true, Verdict: ledger.VerdictRejected}), core(func(c *replica.View) {
			c.Consensus.Inbound = []inbound.View{{Source: 1, Signed: 4, Executed: 3}}
		})), LDOrder, 0, nil, 2000, []string{"up to 4", "up to 3"}},
		{"an LD is on its way", healthy(part(), others(Other{Shard: 1, Known: true, Verdict: ledger.VerdictSpent}), core(func(c *replica.View) {
			c.Consensus.Inbound = []inbound.View{{Source: 1, Signed: 4, Executed: 4}}
		})), LDReturn, 1, nil, 2000, nil},
		{"the other shard is down", healthy(part(), others(Other{Shard: 1, Unreachable: true, Reachable: 0, Replicas: 4})), ShardDown, 1, nil, 2000, []string{"0 of 4"}},
		{"the other shard disagrees", healthy(part(), others(Other{Shard: 1, Unconfirmed: true, Reachable: 1, Replicas: 4})), ShardSplit, 1, nil, 2000, []string{"1 of 4"}},
		{"no visible reason", healthy(part(), others(Other{Shard: 1})), Verdict, 1, nil, 2000, nil},
		{"an output shard waits for LDs", healthy(part(settled), channel(2, ledger.Channel{Sent: 3, Acked: 1}), others(Other{Shard: 2, Known: true, Lacks: []uint16{0}})), LDDelivery, 2, nil, 2000, []string{"outputs in shard 2"}},
		{"an output shard lacks a verdict", healthy(part(settled), others(Other{Shard: 2, Known: true, Lacks: []uint16{1}})), Outputs, 2, nil, 2000, []string{"verdict of shard 1"}},
		{"an output shard is down", healthy(part(settled), others(Other{Shard: 2, Unreachable: true, Replicas: 4})), ShardDown, 2, nil, 2000, nil},
		{"an output shard disagrees", healthy(part(settled), others(Other{Shard: 2, Unconfirmed: true, Replicas: 4})), ShardSplit, 2, nil, 2000, nil},
		{"settled everywhere", healthy(part(settled), others(Other{Shard: 2, Known: true, Stage: ledger.StageSettled, Settled: true})), Settled, 0, nil, -1, nil},
		{"returned", healthy(part(func(p *ledger.Part) {
			p.Stage, p.Known[1].Verdict, p.Known[1].Reason = ledger.StageReturned, ledger.VerdictRejected, ledger.ReasonConsumed
		})), Rejected, 0, nil, -1, []string{"shard 1 rejected it (consumed)"}},
		{"a cancellation", healthy(part(func(p *ledger.Part) {
			p.Stage, p.Known[1].Reason, p.Known[1].Height = ledger.StageReturned, ledger.ReasonCancelled, 9
		}), others(Other{Shard: 1, Known: true})), Rejected, 0, nil, -1, []string{"returned in shard 0 since block 9", "a cancellation (CL) of shard 1 ended it", "verdict of shard 1 has not arrived yet"}},
		{"a cancellation, and the verdict later", healthy(part(func(p *ledger.Part) {
			p.Stage, p.Known[1].Verdict, p.Known[1].Reason = ledger.StageReturned, ledger.VerdictRejected, ledger.ReasonConsumed
		})), Rejected, 0, nil, -1, []string{"returned in shard 0 since block 9: shard 1 rejected it (consumed)"}},
		{"elsewhere", healthy(others(Other{Shard: 1}, Other{Shard: 2, Known: true})), Elsewhere, 2, nil, -1, nil},
		{"settled elsewhere", healthy(others(Other{Shard: 1}, Other{Shard: 2, Known: true, Settled: true})), Settled, 2, nil, -1, nil},
		{"rejected elsewhere", healthy(others(Other{Shard: 1, Known: true, Rejected: true}, Other{Shard: 2})), Rejected, 1, nil, -1, nil},
	}
	seen := map[Kind]bool{}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			all := Explain(c.state)
			if len(all) == 0 {
				t.Fatal("no reason")
			}
			r := all[0]
			for _, x := range all {
				seen[x.Kind] = true
				if x.Replicas == nil || x.Text == "" || x.Ends == "" || !strings.HasSuffix(x.Text, ".") || !strings.HasSuffix(x.Ends, ".") {
					t.Errorf("not complete: %+v", x)
				}
			}
			if r.Kind != c.want || r.Shard != c.shard || r.SinceMS != c.since || !slices.Equal(r.Replicas, append([]protocols.Index{}, c.replicas...)) {
				t.Errorf("%+v, want %s in shard %d of replicas %v since %d ms", r, c.want, c.shard, c.replicas, c.since)
			}
			for _, part := range c.text {
				if !strings.Contains(r.Text+" "+r.Ends, part) {
					t.Errorf("%q is missing in: %s %s", part, r.Text, r.Ends)
				}
			}
		})
	}
	// Kinds that come after another one.
	for _, x := range Explain(healthy(pool(admission.PlaceReady), func(s *State) { s.Full = true })) {
		seen[x.Kind] = true
	}
	for _, x := range Explain(healthy(func(s *State) {
		s.Receipt = &ledger.Receipt{Height: 11, Verdict: ledger.VerdictSettled}
		s.Core.Headers.Heights = []certify.HeightView{{Height: 11, Missing: []protocols.Index{0, 2, 3}, Needed: 1}}
	})) {
		seen[x.Kind] = true
		if x.Kind == Certificate && !slices.Equal(x.Replicas, []protocols.Index{0, 2, 3}) {
			t.Errorf("%+v", x)
		}
	}
	for _, k := range Kinds {
		if !seen[k] {
			t.Errorf("no test gives the reason %s", k)
		}
	}
	if len(seen) != len(Kinds) {
		t.Errorf("%d reasons given, %d are in the list", len(seen), len(Kinds))
	}
}

// TestUnreachableShardsOfAnUnknownTransaction: an unknown transaction may be in a shard that does not answer, and the
// reasons say so after the first.
func TestUnreachableShardsOfAnUnknownTransaction(t *testing.T) {
	all := Explain(healthy(others(Other{Shard: 1, Unreachable: true, Replicas: 4}, Other{Shard: 2, Unconfirmed: true, Replicas: 4})))
	var kinds []Kind
	for _, r := range all {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, []Kind{Unknown, ShardDown, ShardSplit}) {
		t.Errorf("%v", kinds)
	}
}

// TestFrozenLaneOfAnUnknownTransaction: a transaction of which this replica knows nothing may be in a frozen lane, and the
// second reason names that lane.
func TestFrozenLaneOfAnUnknownTransaction(t *testing.T) {
	all := Explain(healthy(others(Other{Shard: 1}), core(func(c *replica.View) {
		c.Consensus.Lanes[3] = lanes.View{Lane: 3, Frozen: true, FrozenAt: 5}
	})))
	if len(all) != 2 || all[0].Kind != Unknown || all[1].Kind != LaneFrozen || !slices.Equal(all[1].Replicas, []protocols.Index{3}) ||
		!strings.Contains(all[1].Text, "replica 3 is frozen at batch 5") {
		t.Errorf("%+v", all)
	}
}

// TestReasonsOfNoProgress: the reasons for which a shard commits nothing follow the reason for which the lane takes no
// batch, and several of them are given together.
func TestReasonsOfNoProgress(t *testing.T) {
	all := Explain(healthy(pool(admission.PlaceReady), func(s *State) {
		s.Batch = driver.BatchUnanswered
		s.Core.Peers[0].Answers, s.Core.Peers[1].Answers = false, false
		s.Core.Consensus.FastLane.Slots = []bolt.SlotView{{Slot: 4, WaitsFor: bolt.WaitVotes, Missing: []protocols.Index{0, 2}}}
	}))
	var kinds []Kind
	for _, r := range all {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, []Kind{Unanswered, NoQuorum, Votes}) {
		t.Errorf("%v", kinds)
	}
}
