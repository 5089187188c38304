package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

const (
	// networkTime bounds the whole question of net status, replicas that do not answer included.
	networkTime = 900 * time.Millisecond
	// maxAskAll is the number of replicas that are asked for the reports of all others too. The further ones give their
	// own report only.
	maxAskAll = 4
)

func newNetStatus(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status [URL...]",
		Short: "Show every replica and every shard of a network; exit code 7 if one is not ready",
		Long: `Shows a line for each shard and for each replica of a network. It asks the replicas at the given URLs, or at --node, or
those of the newest network running on this machine, all at once. One of them is enough: a replica asks the others, of
its shard and of other shards, for their reports. The answer takes less than a second, also if replicas are dead.

A replica's own report decides its health: ready, or not ready. Of a replica without a report the Pings of the others
are shown: answers, or silent. Unknown means that no replica of its shard reports. A dash stands for a value that is not
known. LAG is the number of blocks below the greatest height known of the shard, RTT the shortest round trip that a
replica of the shard measured, SILENT the time since a replica of the shard last heard it. RATE is ordered transactions a
second over 10 seconds, P50 the median latency of recent submissions at the slowest replica.`,
		Example: `  bdtnode net status
  bdtnode net status http://127.0.0.1:26700 http://127.0.0.1:26701
  bdtnode net status --watch
  bdtnode net status -o json`,
		RunE: func(cmd *cobra.Command, urls []string) error {
			return a.again(cmd.Context(), watch, func(ctx context.Context) (show func() error, bad, err error) {
				state, err := a.askNetwork(ctx, urls)
				if err != nil {
					return nil, nil, err
				}
				return func() error { return a.print.Data(state, func(w io.Writer) { printNetwork(w, state) }) }, unhealthyNetwork(state), nil
			})
		},
	}
	addWatch(c, &watch)
	a.nodeFlag(c)
	return c
}

// statusURLs are the replicas to ask.
func (a *app) statusURLs(urls []string) ([]string, error) {
	if len(urls) > 0 {
		return urls, nil
	}
	if a.node != "" {
		return []string{a.node}, nil
	}
	if url := os.Getenv(nodeEnv); url != "" {
		return []string{url}, nil
	}
	running, err := registry.List(registry.Dir())
	if err != nil {
		return nil, err
	}
	if len(running) == 0 {
		return nil, output.Unreachable("no network is running on this machine").WithHint("start one with bdtnode net up, or give the URL of a replica")
	}
	for _, r := range running[0].Replicas {
		urls = append(urls, r.API)
	}
	return urls, nil
}

// unhealthyNetwork is the failure of a network in which not all replicas are ready.
func unhealthyNetwork(n *networkStatus) error {
	unwell, none := 0, 0
	for _, r := range n.Replicas {
		if r.Health != api.HealthReady {
			unwell++
		}
	}
	for _, s := range n.Shards {
		if s.Quorum != api.QuorumYes {
			none++
		}
	}
	switch {
	case none > 0:
		return output.Unhealthy("%d of %d shards have no known quorum; %d of %d replicas are not known to be ready", none, len(n.Shards), unwell, len(n.Replicas))
	case unwell > 0:
		return output.Unhealthy("%d of %d replicas are not known to be ready", unwell, len(n.Replicas))
	}
	return nil
}

// networkStatus is the output of net status.
type networkStatus struct {
	api.NetworkState
	Unreachable []unreachable `json:"unreachable"` // URLs that gave no answer
	TookMS      float64       `json:"took_ms"`     // time of the questions
}

// unreachable is a URL that gave no answer.
type unreachable struct {
	URL   string `json:"url"`
	Error string `json:"error"`
}

// askNetwork asks the replicas at all URLs at once, and combines their reports.
func (a *app) askNetwork(ctx context.Context, given []string) (*networkStatus, error) {
	urls, err := a.statusURLs(given)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, networkTime)
	defer cancel()
	answers, errs := make([]*api.NetworkReports, len(urls)), make([]error, len(urls))
	var wg sync.WaitGroup
	for i, url := range urls {
		c, err := client.New(url, client.Options{Timeout: networkTime, MaxConns: 1})
		if err != nil {
			return nil, output.Usage("%v", err)
		}
		wg.Go(func() {
			defer c.Close()
			n, err := c.Network(ctx, i < maxAskAll)
			if answers[i], errs[i] = &n, err; err != nil {
				answers[i] = nil
			}
		})
	}
	wg.Wait()
	out := &networkStatus{Unreachable: []unreachable{}}
	var all api.NetworkReports
	var first string // URL of the first answer
	at := make(map[[2]uint16]string)
	var further []api.Report // reports that a replica passed on; those that a replica gave itself come first
	for i, n := range answers {
		switch {
		case errs[i] != nil:
			out.Unreachable = append(out.Unreachable, unreachable{urls[i], errs[i].Error()})
			continue
		case len(n.Reports) == 0:
			return nil, output.Unreachable("%s gave no report", urls[i])
		case first == "":
			first, all = urls[i], api.NetworkReports{Network: n.Network, Name: n.Name, Shards: n.Shards}
		case n.Network != all.Network:
			return nil, output.Usage("%s is a replica of network %s, and %s of %s: give replicas of one network", first, all.Network, urls[i], n.Network)
		}
		own := n.Reports[0]
		at[[2]uint16{own.Shard, own.Replica}] = urls[i]
		all.Reports, further = append(all.Reports, own), append(further, n.Reports[1:]...)
		all.Failed = append(all.Failed, n.Failed...)
	}
	if first == "" {
		if err := context.Cause(ctx); err != nil && len(urls) == 0 {
			return nil, err
		}
		return nil, output.Unreachable("none of %d replicas answers: %s", len(urls), out.Unreachable[0].Error).
			WithHint("check that the replicas run, or start a network with: bdtnode net up")
	}
	all.Reports = append(all.Reports, further...)
	all.Failed = firstOfEach(all.Failed)
	out.NetworkState = api.Combine(all)
	for i := range out.Replicas {
		r := &out.Replicas[i]
		r.URL = at[[2]uint16{r.Shard, r.Replica}]
	}
	out.TookMS = float64(time.Since(began).Microseconds()) / 1000
	return out, nil
}

// firstOfEach keeps the first entry of each replica.
func firstOfEach(list []api.Unreported) (out []api.Unreported) {
	seen := make(map[[2]uint16]bool)
	for _, f := range list {
		if at := [2]uint16{f.Shard, f.Replica}; !seen[at] {
			seen[at] = true
			out = append(out, f)
		}
	}
	return out
}

// known is the text of a value that may not be known.
func known[T any](v *T, text func(T) string) string {
	if v == nil {
		return "-"
	}
	return text(*v)
}

func decimalText[T uint64 | uint16 | int](v T) string { return fmt.Sprint(v) }

func printNetwork(w io.Writer, n *networkStatus) {
	fmt.Fprintf(w, "network %s (%s), asked in %.0f ms\n\n", n.Name, n.Network, n.TookMS)
	fmt.Fprintln(w, "SHARD\tQUORUM\tANSWER\tNEEDED\tHEIGHT\tEPOCH\tLEADER\tRATE\tP50\tWAITING")
	for _, s := range n.Shards {
		answer := "-"
		if s.Answering != nil {
			answer = fmt.Sprintf("%d/%d", *s.Answering, s.Replicas)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Shard, s.Quorum, answer, s.Needed,
			known(s.Height, decimalText), known(s.Epoch, decimalText), known(s.Leader, decimalText),
			known(s.Rate, func(v float64) string { return fmt.Sprintf("%.0f tx/s", v) }),
			known(s.P50MS, func(v float64) string { return fmt.Sprintf("%.1f ms", v) }),
			known(s.WaitingMS, func(ms int64) string {
				if ms == 0 {
					return "none"
				}
				return waitingText(ms)
			}))
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "REPLICA\tLEADS\tHEIGHT\tLAG\tRTT\tSILENT\tHEALTH\tREASON")
	for _, r := range n.Replicas {
		reason := r.Reason
		if reason == "" {
			reason = "-"
		}
		fmt.Fprintf(w, "%d/%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Shard, r.Replica,
			known(r.Leader, func(is bool) string {
				if is {
					return "yes"
				}
				return "no"
			}), known(r.Height, decimalText), known(r.Lag, decimalText),
			known(r.RoundTripUS, func(us int64) string { return fmt.Sprintf("%.1f ms", float64(us)/1000) }),
			known(r.SilentMS, func(ms int64) string { return fmt.Sprintf("%.1f s", float64(ms)/1000) }), r.Health, reason)
	}
	for _, u := range n.Unreachable {
		fmt.Fprintf(w, "\nno answer from %s\n", u.Error)
	}
}
