package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/admin"
)

func newDebugWhy(a *app, f *reach) *cobra.Command {
	c := &cobra.Command{
		Use:   "why TX",
		Short: "Say why a transaction waits: the missing shard, quorum or message, and the end of the wait",
		Long: `Says in words why a transaction waits, from the state of one replica and the answers of other shards: the shard, quorum or
message that is missing, since when, and the event that ends the wait. Ask the replica to which the transaction was
submitted: transactions in the mempools of other replicas are not looked up.`,
		Example: `  bdtnode debug why b43c8ce53fe544e8da4a13e39e91c078b33315ec5b8c7c14b0230e0dd7760b6b
  bdtnode debug why b43c8ce53fe544e8da4a13e39e91c078b33315ec5b8c7c14b0230e0dd7760b6b --replica 1/0 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := ledger.ParseTxID(args[0])
			if err != nil {
				return output.Usage("%v", err)
			}
			return show(cmd.Context(), a, f, "/v1/why/"+id.String(), func(v *admin.Why) *admin.Head { return &v.Head }, printWhy)
		},
	}
	f.addWatch(c)
	return c
}

func printWhy(w io.Writer, v *admin.Why) {
	fmt.Fprintf(w, "transaction\t%s\n", v.Tx)
	for _, r := range v.Reasons {
		fmt.Fprintf(w, "\nreason\t%s\n\t%s\n", r.Kind, r.Text)
		if r.SinceMS >= 0 {
			fmt.Fprintf(w, "since\t%s ago\n", seconds(r.SinceMS))
		}
		fmt.Fprintf(w, "ends\t%s\n", r.Ends)
	}
}
