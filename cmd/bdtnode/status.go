package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
)

func newStatus(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of a replica; exit code 7 if it is not ready",
		Long: `Shows the state of one replica: that of --node, or the first one that answers of the newest network running on this machine.
net status shows all replicas of a network.`,
		Example: `  bdtnode status
  bdtnode status --watch
  bdtnode status --node http://127.0.0.1:26700 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.again(cmd.Context(), watch, a.status)
		},
	}
	addWatch(c, &watch)
	a.nodeFlag(c)
	return c
}

// addWatch adds --watch to a command.
func addWatch(c *cobra.Command, watch *bool) {
	c.Flags().BoolVar(watch, "watch", false, "show it again every second until Ctrl-C; with -o json one line each (default false)")
}

// again asks for a state and prints it, with watch every second until ctx ends. ask returns a function that prints the
// state and, if the state is bad, the failure that it means. While it watches, failures are notes.
func (a *app) again(ctx context.Context, watch bool, ask func(ctx context.Context) (show func() error, bad, err error)) error {
	for {
		show, bad, err := ask(ctx)
		switch {
		case ctx.Err() != nil && watch:
			return nil
		case err != nil && !watch:
			return err
		case err != nil:
			a.print.Note("%v", err)
		default:
			if watch {
				a.print.Clear()
			}
			if err := show(); err != nil || !watch {
				return cmp.Or(err, bad)
			}
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// status asks one replica for its state.
func (a *app) status(ctx context.Context) (show func() error, bad, err error) {
	net, err := a.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range net.clients {
		c.Close()
	}
	st := net.status
	if !st.Ready {
		bad = output.Unhealthy("replica %d of shard %d is not ready: %s", st.Replica, st.Shard, st.NotReady)
	}
	return func() error { return a.print.Data(st, func(w io.Writer) { printStatus(w, st) }) }, bad, nil
}

// waitingText is the time for which the oldest uncommitted work has waited.
func waitingText(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", float64(ms)/1000)
}

func printStatus(w io.Writer, s api.Status) {
	ready := "yes"
	if !s.Ready {
		ready = "no: " + s.NotReady
	}
	fmt.Fprintf(w, "network\t%s (%s)\n", s.NetworkName, s.Network)
	fmt.Fprintf(w, "replica\t%d of %d in shard %d of %d, tolerates %d faulty\n", s.Replica, s.Replicas, s.Shard, s.Shards, s.Faulty)
	fmt.Fprintf(w, "ready\t%s\n", ready)
	if s.Degraded != "" {
		fmt.Fprintf(w, "degraded\t%s\n", s.Degraded)
	}
	fmt.Fprintf(w, "height\t%d, certified %d\n", s.Height, s.Certified)
	fmt.Fprintf(w, "epoch\t%d, leader %d\n", s.Epoch, s.Leader)
	fmt.Fprintf(w, "block time\t%s\n", time.UnixMilli(int64(s.BlockTimeMS)).UTC().Format(time.RFC3339Nano))
	fmt.Fprintf(w, "header\t%s\n", s.HeaderDigest)
	fmt.Fprintf(w, "transactions\t%d ordered, %d waiting\n", s.TxsOrdered, s.BookSize)
	fmt.Fprintf(w, "replicas\t%d of %d answer, %d peers connected\n", s.Answering, s.Replicas, s.ConnectedPeer)
	fmt.Fprintf(w, "oldest work\t%s\n", waitingText(s.WaitingMS))
	fmt.Fprintf(w, "process\tup %s, %.1f CPU s, %d disk syncs, version %s\n",
		time.Duration(s.UptimeSeconds*float64(time.Second)).Round(time.Second), s.CPUSeconds, s.Syncs, s.Version)
}
