package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

func newQuery(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "query", Short: "Show the balance and the history of an account"})
	a.nodeFlag(c)
	a.keysFlag(c)
	c.AddCommand(newQueryBalance(a), newQueryHistory(a))
	return c
}

// balance is the output of query balance.
type balance struct {
	Address ledger.Address `json:"address"`
	Shard   uint16         `json:"shard"`
	Height  uint64         `json:"height,string"` // block height at which it was read
	Balance uint64         `json:"balance,string"`
	Outputs uint64         `json:"outputs"` // unspent outputs
	Changed api.Change     `json:"changed"` // last change
	// Unconfirmed: fewer than f+1 replicas of the account's shard agree on this answer.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

func newQueryBalance(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "balance ADDRESS",
		ValidArgsFunction: a.completeAccounts,
		Short:             "Show the balance of an address or a named account",
		Long: `Shows the balance of an address or a named account. If its home shard is not the shard of the replica asked, f+1
replicas of the home shard must agree, at any heights. Otherwise the balance is marked (unconfirmed): the account keeps
changing, or too few replicas answer.`,
		Example: `  bdtnode query balance alice
  bdtnode query balance 5f0c… -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			net, err := connectTo(cmd.Context(), a, api.LedgerPayments)
			if err != nil {
				return err
			}
			addr, err := a.address(args[0], net.accounts)
			if err != nil {
				return err
			}
			acc, err := net.first().Account(cmd.Context(), addr, client.AccountQuery{})
			if err != nil {
				return err
			}
			b := balance{Address: addr, Shard: acc.Shard, Height: acc.Height, Balance: acc.Balance, Outputs: acc.Count, Changed: acc.Changed, Unconfirmed: acc.Unconfirmed}
			return a.print.Data(b, func(w io.Writer) {
				fmt.Fprintf(w, "address\t%s\nbalance\t%d%s\noutputs\t%d unspent\nshard\t%d, at height %d\n", b.Address, b.Balance, unconfirmed(b.Unconfirmed), b.Outputs, b.Shard, b.Height)
			})
		},
	}
}

// history is one page of the output of query history.
type history struct {
	Address ledger.Address     `json:"address"`
	History []api.HistoryEntry `json:"history"` // newest first
	Older   string             `json:"older,omitempty"`
	// Unconfirmed: fewer than f+1 replicas of the account's shard agree on this answer.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// unconfirmed is the mark of an answer on which fewer than f+1 replicas of another shard agree.
func unconfirmed(is bool) string {
	if is {
		return " (unconfirmed)"
	}
	return ""
}

func newQueryHistory(a *app) *cobra.Command {
	var limit int
	var older string
	c := &cobra.Command{
		Use:               "history ADDRESS",
		ValidArgsFunction: a.completeAccounts,
		Short:             "List the transactions of an address or a named account, newest first",
		Example: `  bdtnode query history alice --limit 5
  bdtnode query history alice --limit 5 --older CURSOR`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > api.MaxPage {
				return output.Usage("--limit %d: use 1 to %d", limit, api.MaxPage)
			}
			net, err := connectTo(cmd.Context(), a, api.LedgerPayments)
			if err != nil {
				return err
			}
			addr, err := a.address(args[0], net.accounts)
			if err != nil {
				return err
			}
			acc, err := net.first().Account(cmd.Context(), addr, client.AccountQuery{History: limit, Older: older})
			if err != nil {
				return err
			}
			h := history{Address: addr, History: acc.History, Older: acc.Older, Unconfirmed: acc.Unconfirmed}
			if h.History == nil {
				h.History = []api.HistoryEntry{}
			}
			if err := a.print.Data(h, func(w io.Writer) { printHistory(w, h.History) }); err != nil {
				return err
			}
			if h.Unconfirmed {
				a.print.Note("unconfirmed: fewer than f+1 replicas of shard %d agree on this list", acc.Shard)
			}
			if h.Older != "" {
				a.print.Note("older entries: bdtnode query history %s --limit %d --older %s", args[0], limit, h.Older)
			}
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 20, "number of entries to list, 1 to 1000")
	c.Flags().StringVar(&older, "older", "", "cursor of an older page, from the output of the page before (default: the newest page)")
	cobra.CheckErr(c.Flags().SetAnnotation("older", mayBeEmpty, []string{"true"}))
	return c
}

func printHistory(w io.Writer, entries []api.HistoryEntry) {
	fmt.Fprintln(w, "HEIGHT\tTIME\tRECEIVED\tSPENT\tTRANSACTION")
	for _, e := range entries {
		fmt.Fprintf(w, "%d\t%s\t%d\t%d\t%s\n", e.Height, time.UnixMilli(int64(e.TimeMS)).UTC().Format(time.RFC3339), e.Received, e.Spent, e.Tx)
	}
}
