package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/node/admin"
	"bdtnode/protocols/lanes"
)

func newDebugLanes(a *app, f *reach) *cobra.Command {
	c := &cobra.Command{
		Use:   "lanes",
		Short: "Show tip, certified, ordered and executed position of each lane, and the mempool",
		Long: `Shows each lane of the shard as one replica sees it: the number of the highest batch that it acknowledged (tip), that has
a certificate, that a block ordered, and that is executed; the open bytes; and the state of the lane: suspected after two
headers for one number, frozen, or held back by the leader. The last lines are the mempool of the replica.`,
		Example: `  bdtnode debug lanes
  bdtnode debug lanes --replica 1/0 --watch
  bdtnode debug lanes -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), a, f, "/v1/lanes", func(v *admin.Lanes) *admin.Head { return &v.Head }, printLanes)
		},
	}
	f.addWatch(c)
	return c
}

func printLanes(w io.Writer, v *admin.Lanes) {
	if v.Lanes != nil {
		fmt.Fprintf(w, "\nLANE\tTIP\tCERTIFIED\tORDERED\tEXECUTED\tOPEN\tWANTED\tSTATE\n")
		for i := range v.Lanes {
			l := &v.Lanes[i]
			name := fmt.Sprint(l.Lane)
			if uint16(l.Lane) == v.Replica {
				name += " (own)"
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s of %s\t%d\t%s\n", name, l.Tip, l.Certified, l.Ordered, l.Executed,
				sizeText(l.OpenBytes), sizeText(l.Window), l.Wanted, laneState(l))
		}
	}
	if v.Batch != "" {
		fmt.Fprintf(w, "\nno batch because\t%s\n", v.Batch)
	}
	if x := v.Vouching; x != nil && x.Least > 0 {
		unknown, checking := 0, 0
		for i := range x.Lanes {
			unknown, checking = unknown+x.Lanes[i].Unknown, checking+x.Lanes[i].Checking
		}
		fmt.Fprintf(w, "\nsignatures\t%d batches are not known to be good or bad, %d of them are being checked; a vouch takes %v, the next rank waits %v\n",
			unknown, checking, time.Duration(x.Usual)*time.Microsecond, time.Duration(x.Wait)*time.Microsecond)
	}
	m := &v.Admission
	fmt.Fprintf(w, "\nmempool\t%d of %d transactions, %s of %s, %s ready for a batch\n", m.Txs, m.MaxTxs, sizeText(m.Bytes), sizeText(m.MaxBytes), sizeText(m.Ready))
	fmt.Fprintf(w, "orphan pool\t%d of %d transactions\nrequests\twait for %d transactions\n", m.Orphans, m.MaxOrphans, m.Waits)
}

// laneState is the state of a lane in words.
func laneState(l *lanes.View) string {
	var words []string
	if l.Frozen {
		words = append(words, fmt.Sprintf("frozen at %d: a committed chain did not contain the position of the cut before", l.FrozenAt))
	}
	if l.Forked {
		words = append(words, "suspected: two headers for one number, proposed with certificates only")
	}
	if l.Bad {
		words = append(words, "a batch with a bad signature: neither acknowledged nor proposed any more")
	}
	if l.HoldMS > 0 {
		words = append(words, fmt.Sprintf("uncertified tips are held back for %d ms", l.HoldMS))
	}
	if l.Full != "" && l.Full != lanes.FullFrozen {
		words = append(words, "full: "+l.Full)
	}
	if l.Refused {
		words = append(words, "a batch beyond the window was refused")
	}
	if !l.Held {
		words = append(words, "batches are missing here")
	}
	if len(words) == 0 {
		return "ok"
	}
	return strings.Join(words, "; ")
}

// sizeText is a number of bytes with a unit.
func sizeText(n int) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
