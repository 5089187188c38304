package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/node/api"
)

func newStatus(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of a replica; exit code 7 if it is not ready",
		Example: `  bdtnode status
  bdtnode status --all
  bdtnode status --node http://127.0.0.1:26700 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			net, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if all {
				return a.statusOfAll(cmd.Context(), net)
			}
			st := net.status
			if err := a.print.Data(st, func(w io.Writer) { printStatus(w, st) }); err != nil {
				return err
			}
			if !st.Ready {
				return output.Unhealthy("replica %d of shard %d is not ready: %s", st.Replica, st.Shard, st.NotReady)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&all, "all", false, "show every replica of the network running on this machine (default false)")
	a.nodeFlag(c)
	return c
}

// replicaStatus is the answer of one replica, or the error of asking it.
type replicaStatus struct {
	URL    string      `json:"url"`
	Status *api.Status `json:"status,omitempty"`
	Error  string      `json:"error,omitempty"`
}

func (a *app) statusOfAll(ctx context.Context, net *replicas) error {
	list := make([]replicaStatus, len(net.clients))
	unwell := 0
	for i, c := range net.clients {
		asked, cancel := context.WithTimeout(ctx, probeTimeout)
		st, err := c.Status(asked)
		cancel()
		list[i] = replicaStatus{URL: c.URL(), Status: &st}
		if err != nil {
			list[i] = replicaStatus{URL: c.URL(), Error: err.Error()}
		}
		if err != nil || !st.Ready {
			unwell++
		}
	}
	err := a.print.Data(map[string]any{"replicas": list}, func(w io.Writer) {
		fmt.Fprintln(w, "REPLICA\tHEIGHT\tCERTIFIED\tEPOCH\tTXS\tANSWER\tWAITING\tREADY\tURL")
		for _, r := range list {
			if r.Status == nil {
				fmt.Fprintf(w, "-\t-\t-\t-\t-\t-\t-\t%s\t%s\n", r.Error, r.URL)
				continue
			}
			s := r.Status
			ready := "yes"
			switch {
			case !s.Ready:
				ready = s.NotReady
			case s.Degraded != "":
				ready += ", but " + s.Degraded
			}
			fmt.Fprintf(w, "%d/%d\t%d\t%d\t%d\t%d\t%d/%d\t%s\t%s\t%s\n", s.Shard, s.Replica, s.Height, s.Certified, s.Epoch, s.TxsOrdered,
				s.Answering, s.Replicas, waitingText(s.WaitingMS), ready, r.URL)
		}
	})
	if err == nil && unwell > 0 {
		return output.Unhealthy("%d of %d replicas are not ready", unwell, len(list))
	}
	return err
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
