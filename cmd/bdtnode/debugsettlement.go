package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/ledger"
	"bdtnode/node/admin"
	"bdtnode/protocols/inbound"
)

func newDebugSettlement(a *app, f *reach) *cobra.Command {
	c := &cobra.Command{
		Use:   "settlement",
		Short: "Show the channels to other shards, open records by age, escrow and created value",
		Long: `Shows the settlement with other shards as one replica sees it. For each other shard: the number of the last LD made for it,
and the last one that it has shown to be applied; of its own LDs the last one applied and received here, and missing
numbers; records that wait for its verdict, value in escrow for them, and all value that was created here because the
verdict of that shard was SPENT. Then the open records by age, with the oldest ones, and frozen channels.`,
		Example: `  bdtnode debug settlement
  bdtnode debug settlement --replica 1/2 --watch
  bdtnode debug settlement -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, f, "/v1/settlement", func(v *admin.Settlement) *admin.Head { return &v.Head }, printSettlement)
		},
	}
	f.addWatch(c)
	return c
}

func printSettlement(w io.Writer, v *admin.Settlement) {
	var l ledger.SettlementView
	if v.Ledger != nil {
		l = *v.Ledger
		fmt.Fprintf(w, "height\t%d\nvalue\t%d unspent, %d in escrow, %d burned, %d gained, %d ceded, %d at genesis\n", l.Height, l.Unspent, l.Escrow, l.Burned, l.Gained, l.Ceded, l.Genesis)
		if l.Unsent > 0 {
			fmt.Fprintf(w, "unsent verdicts\t%d\n", l.Unsent)
		}
	}
	fmt.Fprintf(w, "\nSHARD\tREACHABLE\tSENT\tSHOWN APPLIED\tAPPLIED\tRECEIVED\tMISSING\tWAITING\tESCROW\tCREATED\tSTATE\n")
	for _, r := range v.Reach {
		var c ledger.ChannelView
		if i := slices.IndexFunc(l.Channels, func(x ledger.ChannelView) bool { return x.Shard == r.Shard }); i >= 0 {
			c = l.Channels[i]
		}
		received, missing := "?", "?"
		if i := slices.IndexFunc(v.Inbound, func(x inbound.View) bool { return x.Source == r.Shard }); i >= 0 {
			received, missing = fmt.Sprint(v.Inbound[i].Signed), missingText(v.Inbound[i].Gaps)
		}
		state := "open"
		if c.Frozen {
			state = "frozen"
		}
		fmt.Fprintf(w, "%d\t%d of %d\t%d\t%d\t%d\t%s\t%s\t%d\t%d\t%d\t%s\n", r.Shard, r.Reachable, r.Replicas, c.Sent, c.Shown, c.Applied, received, missing, c.Waiting, c.Escrow, c.Created, state)
	}
	if v.Ledger != nil {
		printRecords(w, &l.Records)
	}
	for _, x := range l.Frozen {
		fmt.Fprintf(w, "\nfrozen\tshard %d, LD %d: %s (proof of %d bytes: bdtnode debug evidence --proof %d)\n", x.Source, x.Number, x.Why, x.Proof, x.Source)
	}
}

func missingText(gaps []inbound.Gap) string {
	if len(gaps) == 0 {
		return "-"
	}
	var words []string
	for _, g := range gaps {
		if g.From == g.To {
			words = append(words, fmt.Sprint(g.From))
		} else {
			words = append(words, fmt.Sprintf("%d-%d", g.From, g.To))
		}
	}
	return strings.Join(words, ",")
}

func printRecords(w io.Writer, r *ledger.RecordsView) {
	least := ""
	if r.Partial {
		least = "at least "
	}
	fmt.Fprintf(w, "\nrecords\t%s%d open: %d without a result, %d kept until their expiry\n", least, r.Scanned, r.Unresolved, r.Closing)
	if r.Unresolved == 0 {
		return
	}
	for _, x := range r.Ages {
		below := "older"
		if x.BelowMS > 0 {
			below = "below " + (time.Duration(x.BelowMS) * time.Millisecond).String()
		}
		fmt.Fprintf(w, "age %s\t%d\n", below, x.Count)
	}
	fmt.Fprintf(w, "\nOLDEST\tSTAGE\tAGE\tVALUE\tVERDICT MISSING OF\tTRANSACTION\n")
	for _, x := range r.Oldest {
		fmt.Fprintf(w, "block %d\t%s\t%s\t%d\t%s\t%s\n", x.Height, x.Stage, seconds(int64(x.AgeMS)), x.Value, numbersText(x.WaitsFor), x.Tx)
	}
}
