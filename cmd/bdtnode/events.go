package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/shard"
)

func newEvents(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "events", Short: "Follow the events of a shard"})
	a.nodeFlag(c)
	a.keysFlag(c)
	c.AddCommand(newEventsTail(a))
	return c
}

// tailFlags are the flags of events tail.
type tailFlags struct {
	from     string
	kinds    []string
	accounts []string
	shard    uint64
	once     bool
}

func newEventsTail(a *app) *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail",
		Short: "Print events of the shard of a replica as they happen",
		Long: `Prints the events of the shard of the replica asked, one a line: blocks, ends of epochs, evidence against other shards,
verdicts and settlements of transactions. With --account it prints the transactions that change these accounts.

Each event has a cursor. A later call with --from CURSOR continues after that event, at any replica of the shard, also
after a restart of the replica. --from HEIGHT begins after a block, and --from 0 with the first one. Without --from, the
command prints events that happen from now on. If the connection breaks, the command connects again and continues.

The kinds block, epoch, evidence, verdict, settlement and transaction are the same at every replica of the shard. Events
of kind commit are the times of one replica's commits, which it keeps in memory. An event of kind gap names events that
the replica does not have.`,
		Example: `  bdtnode events tail
  bdtnode events tail --from 0 --once --kind settlement,verdict
  bdtnode events tail --shard 1 --kind settlement
  bdtnode events tail --account alice --from 12 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.tail(cmd, &f) },
	}
	fs := c.Flags()
	fs.StringVar(&f.from, "from", "", "cursor of an event, or a height, after which to begin (default: the last block)")
	fs.StringSliceVar(&f.kinds, "kind", nil, "kinds of events: "+strings.Join(textOf(api.ChosenKinds()), ", "))
	fs.StringSliceVar(&f.accounts, "account", nil, "addresses or names of accounts of the shard, at most 16")
	fs.Uint64Var(&f.shard, "shard", 0, "shard whose events are printed (default: that of the cursor, of the accounts, or of the replica)")
	fs.BoolVar(&f.once, "once", false, "print the events so far and end (default false)")
	cobra.CheckErr(c.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(textOf(api.ChosenKinds()), cobra.ShellCompDirectiveNoFileComp)))
	cobra.CheckErr(c.RegisterFlagCompletionFunc("account", a.completeAccounts))
	return c
}

func (a *app) tail(cmd *cobra.Command, f *tailFlags) error {
	ctx := cmd.Context()
	net, err := a.connect(ctx)
	if err != nil {
		return err
	}
	c, q, err := f.query(cmd, a, net)
	if err != nil {
		return err
	}
	show := func(e api.Event) error { return a.print.Data(e, func(w io.Writer) { fmt.Fprintln(w, eventText(e)) }) }
	if f.once {
		_, err = c.Events(ctx, q, show)
		return err
	}
	cursor, err := c.Follow(ctx, q, show)
	if ctx.Err() != nil {
		if cursor != "" && !a.print.JSON {
			a.print.Note("continue with: bdtnode events tail --from %s", cursor)
		}
		return nil // Ctrl-C is the normal end
	}
	return err
}

// query chooses the events, and a replica of their shard: that of --shard, of the cursor or of the accounts, else that of
// the replica that answered first.
func (f *tailFlags) query(cmd *cobra.Command, a *app, net *replicas) (*client.Client, client.EventQuery, error) {
	q := client.EventQuery{From: f.from}
	for _, name := range f.kinds {
		if !slices.Contains(api.ChosenKinds(), api.EventKind(name)) {
			return nil, q, output.Usage("--kind %q is unknown: use %s", name, strings.Join(textOf(api.ChosenKinds()), ", "))
		}
		q.Kinds = append(q.Kinds, api.EventKind(name))
	}
	in, why := net.status.Shard, ""
	choose := func(s uint16, by string) error {
		if why != "" && s != in {
			return output.Usage("%s is in shard %d, and %s in shard %d: follow each shard by itself", by, s, why, in)
		}
		in, why = s, by
		return nil
	}
	if cmd.Flags().Changed("shard") {
		if f.shard >= uint64(net.status.Shards) {
			return nil, q, output.Usage("--shard %d: the network has shards 0 to %d", f.shard, net.status.Shards-1)
		}
		_ = choose(uint16(f.shard), "--shard") // the first choice
	}
	if of, _, ok := strings.Cut(f.from, "/"); ok {
		n, err := strconv.ParseUint(of, 10, 16)
		if err != nil {
			return nil, q, output.Usage("--from %q is not a cursor: use a height, or the cursor of an event", f.from)
		}
		if err := choose(uint16(n), "the cursor"); err != nil {
			return nil, q, err
		}
	}
	for _, name := range f.accounts {
		addr, err := a.address(name, net.accounts)
		if err != nil {
			return nil, q, err
		}
		if err := choose(shard.Home(addr, net.status.Shards), "account "+name); err != nil {
			return nil, q, err
		}
		q.Accounts = append(q.Accounts, addr)
	}
	c, err := net.inShard(cmd.Context(), in)
	return c, q, err
}

// inShard returns a replica of a shard that answers.
func (r *replicas) inShard(ctx context.Context, of uint16) (*client.Client, error) {
	if r.status.Shard == of {
		return r.first(), nil
	}
	for _, c := range r.clients {
		asked, cancel := context.WithTimeout(ctx, probeTimeout)
		st, err := c.Status(asked)
		cancel()
		if err == nil && st.Shard == of {
			return c, nil
		}
	}
	if len(r.clients) == 1 {
		return nil, output.Usage("%s is a replica of shard %d, and the events are those of shard %d", r.first().URL(), r.status.Shard, of).
			WithHint("choose a replica of shard %d with --node URL", of)
	}
	return nil, output.Unreachable("no replica of shard %d answers", of)
}

// eventText is an event as one line: place, block time, kind, and the values of the kind.
func eventText(e api.Event) string {
	at := "-"
	switch {
	case e.TimeMS > 0:
		at = time.UnixMilli(int64(e.TimeMS)).UTC().Format("15:04:05.000")
	case e.Commit != nil:
		at = time.UnixMicro(e.Commit.AtUS).UTC().Format("15:04:05.000")
	}
	text := fmt.Sprintf("%-12s %s %-11s ", e.Cursor, at, e.Kind)
	switch {
	case e.Commit != nil:
		return text + fmt.Sprintf("epoch %d, leader %d, waited %v", e.Commit.Epoch, e.Commit.Leader, time.Duration(e.Commit.WaitedUS)*time.Microsecond)
	case e.Block != nil:
		return text + fmt.Sprintf("%s, epoch %d, slot %d, %d receipts so far", e.Block.HeaderDigest, e.Block.Epoch, e.Block.Slot, e.Block.Txs)
	case e.Epoch != nil:
		return text + fmt.Sprintf("epoch %d ended", e.Epoch.Ended)
	case e.Evidence != nil:
		return text + fmt.Sprintf("against shard %d, delivery %d: %s", e.Evidence.Against, e.Evidence.Delivery, e.Evidence.Detail)
	case e.Verdict != nil:
		return text + receiptText(e.Verdict)
	case e.Settlement != nil:
		return text + receiptText(e.Settlement)
	case e.Transaction != nil:
		for i, c := range e.Transaction.Changes {
			if i > 0 {
				text += ", "
			}
			text += changeText(c)
		}
		return text + " by " + e.Transaction.Tx.String()
	case e.Gap != nil:
		return text + fmt.Sprintf("heights %d to %d, %s: %s", e.Gap.From, e.Gap.To, strings.Join(textOf(e.Gap.Kinds), ", "), e.Gap.Reason)
	}
	return text
}

func receiptText(r *api.ReceiptEvent) string {
	text := fmt.Sprintf("%s %s", r.Tx, r.Result)
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text
}

func changeText(c api.AccountChange) string {
	switch {
	case c.Spent == 0:
		return fmt.Sprintf("%s received %d", short8(c.Address), c.Received)
	case c.Received == 0:
		return fmt.Sprintf("%s spent %d", short8(c.Address), c.Spent)
	}
	return fmt.Sprintf("%s spent %d, received %d", short8(c.Address), c.Spent, c.Received)
}

// short8 is the beginning of an address.
func short8(a ledger.Address) string { return a.String()[:8] + "…" }
