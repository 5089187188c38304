package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"bdtnode/node/admin"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/mvba"
)

func newDebugConsensus(a *app, f *reach) *cobra.Command {
	c := &cobra.Command{
		Use:   "consensus",
		Short: "Show epoch, leader, open slots, patience, and the agreement at an epoch's end",
		Long: `Shows the consensus as one replica sees it: epoch and leader; each open slot with the replicas whose Vote and Finalize are
here, and those that it waits for; the patience, and the pending work that counts against it; at an epoch's end each
Status, and round, broadcasts, coin and votes of the agreement; and the first headers without a certificate.`,
		Example: `  bdtnode debug consensus
  bdtnode debug consensus --replica 0/1 --watch
  bdtnode debug consensus --home net/shard0-replica1 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, f, "/v1/consensus", func(v *admin.Consensus) *admin.Head { return &v.Head }, printConsensus)
		},
	}
	f.addWatch(c)
	return c
}

func printConsensus(w io.Writer, v *admin.Consensus) {
	p := &v.Position
	ready := "yes"
	if !p.Ready {
		ready = "no: " + p.NotReady
	}
	fmt.Fprintf(w, "epoch\t%d, leader %d\nheight\tcommitted %d, executed %d, certified %d\n", p.Epoch, p.Leader, p.Committed, p.Executed, p.Certified)
	if p.StateHeight > 0 {
		fmt.Fprintf(w, "state\tat height %d, root %s\n", p.StateHeight, p.StateRoot)
	}
	fmt.Fprintf(w, "replicas\t%d of %d answer, %d needed\nready\t%s\n", p.Answering, v.Replicas, v.Quorum, ready)
	if p.WaitingMS > 0 {
		fmt.Fprintf(w, "waiting\t%s without a commit, %s\n", seconds(p.WaitingMS), p.Work)
	}
	if s := v.Start; s != nil && !s.Signs {
		fmt.Fprintf(w, "start\tsigns nothing: %d of %d needed peers have answered this start\n", s.Answered, s.Needed)
	}
	if c := v.CatchUp; c != nil && c.Behind {
		fmt.Fprintf(w, "behind\tlacks height %d, others have certified %d\n", c.Lacks, c.Target)
	}
	if v.Consensus == nil {
		return
	}
	printPatience(w, &v.Consensus.Patience, v.Consensus.FastLane.Left)
	printSlots(w, v.Consensus)
	if v.Consensus.End != nil {
		printEnd(w, v.Consensus)
	}
	if len(v.Headers.Heights) > 0 {
		fmt.Fprintf(w, "\nHEADER\tVOTE OF\tMISSING\tNEEDED\n")
		for _, h := range v.Headers.Heights {
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\n", h.Height, numbersText(h.VotedBy), numbersText(h.Missing), h.Needed)
		}
	}
	if len(v.Peers) > 0 {
		fmt.Fprintf(w, "\nPEER\tANSWERS\tLAST ANSWER\tROUND TRIP\tCLOCK\tSHOWN HEIGHT\n")
		for _, x := range v.Peers {
			fmt.Fprintf(w, "%d\t%s\t%s ago\t%.1f ms\t%+d ms\t%d\n", x.Replica, yes(x.Answers), seconds(x.AnsweredMS), float64(x.RoundTripUS)/1000, x.ClockMS, x.Shown)
		}
	}
}

func printPatience(w io.Writer, p *bdt.PatienceView, left bool) {
	fmt.Fprintf(w, "patience\t%s; commits take %d ms with a deviation of %d ms; at most %s in this epoch\n", seconds(p.LimitMS), p.MeanMS, p.DeviationMS, seconds(p.CeilingMS))
	if len(p.Marks) == 0 {
		fmt.Fprintf(w, "pending\tnothing counts against the patience\n")
		return
	}
	fmt.Fprintf(w, "\nPENDING\tPOSITION\tWAITING\tLEADER HAS CERTIFICATE\tDUE IN\n")
	for _, m := range p.Marks {
		of := m.Of
		if of != "slots" {
			of = fmt.Sprintf("%s %d", m.Of, m.Number)
		}
		due := seconds(m.DueMS)
		if left {
			due = "left"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", of, m.Position, seconds(m.WaitingMS), yes(m.CertSent), due)
	}
}

func printSlots(w io.Writer, c *bdt.View) {
	l := &c.FastLane
	left := ""
	if l.Left {
		left = ", left: this replica signs nothing more in this epoch"
	}
	fmt.Fprintf(w, "\nslots\t%d committed, %d proposed, %d open, last %d%s\n", l.Committed, l.Proposed, len(l.Slots), l.LastSlot, left)
	if len(l.Slots) == 0 {
		return
	}
	fmt.Fprintf(w, "\nSLOT\tHEIGHT\tBLOCK\tPROPOSED\tSINCE\tVOTES OF\tFINALIZES OF\tOWN VOTE\tWAITS FOR\tMISSING\n")
	for _, x := range l.Slots {
		proposed, height, block := "-", "-", "-"
		if x.Proposed {
			proposed, height, block = fmt.Sprintf("by %d", c.Leader), fmt.Sprint(x.Height), x.Digest
		}
		waits := string(x.WaitsFor)
		if x.Needed > 0 {
			waits = fmt.Sprintf("%d %s", x.Needed, waits)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Slot, height, block, proposed, seconds(x.SinceMS), numbersText(x.VotedBy), numbersText(x.Finalized), x.OwnVote, waits, numbersText(x.Missing))
	}
}

func printEnd(w io.Writer, c *bdt.View) {
	e := c.End
	fmt.Fprintf(w, "\nend of epoch %d\tthis replica left: %s, gave its input: %s, decided: %s\n", c.Epoch, yes(e.Left), yes(e.Proposed), yes(e.Decided))
	fmt.Fprintf(w, "status missing\t%s, %d needed\n", numbersText(e.Missing), e.Needed)
	fmt.Fprintf(w, "\nSTATUS OF\tSLOT\tCOUNTS\tCERTIFIED LANES\tCERTIFIED CHANNELS\n")
	for _, s := range e.Statuses {
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\n", s.Replica, s.Slot, yes(s.Counts), numbersText(s.Lanes), numbersText(s.Inbound))
	}
	printAgreement(w, &e.Agreement)
}

func printAgreement(w io.Writer, m *mvba.View) {
	if !m.Input && !m.Decided && len(m.Proposals) == 0 {
		fmt.Fprintf(w, "\nagreement\tnot begun\n")
		return
	}
	waits := string(m.WaitsFor)
	if m.Needed > 0 {
		waits = fmt.Sprintf("%d %s, missing of %s", m.Needed, waits, numbersText(m.Missing))
	}
	coin := "not known"
	if m.Coin {
		coin = fmt.Sprintf("elected %d", m.Elected)
	}
	fmt.Fprintf(w, "\nagreement\tround %d, waits for %s\n", m.Round, waits)
	fmt.Fprintf(w, "broadcasts\tproposed by %s, first phase of %s, complete of %s\n", numbersText(m.Proposals), numbersText(m.Locks), numbersText(m.Finished))
	fmt.Fprintf(w, "own broadcast\techoed by %s, accepted by %s\n", numbersText(m.Echoes), numbersText(m.Accepts))
	fmt.Fprintf(w, "coin\t%s, shares of %s\n", coin, numbersText(m.Shares))
	fmt.Fprintf(w, "pre-votes\tyes of %s, no of %s\nvotes\tyes of %s, no of %s\n", numbersText(m.PreVoteYes), numbersText(m.PreVoteNo), numbersText(m.VoteYes), numbersText(m.VoteNo))
}
