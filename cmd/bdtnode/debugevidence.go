package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/admin"
)

func newDebugEvidence(a *app, f *reach) *cobra.Command {
	proof := -1
	c := &cobra.Command{
		Use:   "evidence",
		Short: "Show frozen channels, suspected lanes, second processes, and faults of peers",
		Long: `Shows the evidence that a replica has against others: frozen channels of other shards with the broken rule; evidence that is
not ordered yet; lanes whose owner signed two headers for one number; peers that run as two processes; and the faults of
peers since the start, the newest last. With --proof the answer has the proof against one shard, in hexadecimal.`,
		Example: `  bdtnode debug evidence
  bdtnode debug evidence -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/v1/evidence"
			if cmd.Flags().Changed("proof") {
				if proof < 0 {
					return output.Usage("--proof %d: use the number of a shard", proof)
				}
				path += fmt.Sprintf("?proof=%d", proof)
			}
			return show(cmd.Context(), a, f, path, func(v *admin.Evidence) *admin.Head { return &v.Head }, printEvidence)
		},
	}
	c.Flags().IntVar(&proof, "proof", -1, "shard whose proof is included (default: none)")
	f.addWatch(c)
	return c
}

func printEvidence(w io.Writer, v *admin.Evidence) {
	if len(v.Frozen)+len(v.Kept)+len(v.Lanes)+len(v.Twins)+len(v.Faults) == 0 {
		fmt.Fprintf(w, "evidence\tnone\n")
	}
	for _, x := range v.Frozen {
		fmt.Fprintf(w, "frozen channel\tshard %d, LD %d: %s; proof of %d bytes\n", x.Source, x.Number, x.Why, x.Proof)
		if x.Encoded != "" {
			fmt.Fprintf(w, "proof\t%s\n", x.Encoded)
		}
	}
	for _, x := range v.Kept {
		fmt.Fprintf(w, "evidence\tagainst shard %d, %d bytes, in a batch: %s\n", x.Source, x.Bytes, yes(x.InBatch))
	}
	for _, x := range v.Lanes {
		if x.Suspected {
			fmt.Fprintf(w, "suspected lane\t%d: its owner signed two headers for one number\n", x.Lane)
		}
		if x.Frozen {
			fmt.Fprintf(w, "frozen lane\t%d at batch %d\n", x.Lane, x.FrozenAt)
		}
	}
	for _, x := range v.Twins {
		fmt.Fprintf(w, "second process\treplica %d: start %d is fenced, start %d is kept, %s ago\n", x.Replica, x.Boot, x.Kept, seconds(x.AgoMS))
	}
	if len(v.Faults) > 0 {
		fmt.Fprintf(w, "\nFAULT OF\tTIMES\tLAST\tREASON\n")
		for _, x := range v.Faults {
			fmt.Fprintf(w, "%d\t%d\t%s\t%s\n", x.Replica, x.Count, time.UnixMilli(x.LastMS).UTC().Format(time.RFC3339), x.Reason)
		}
	}
}
