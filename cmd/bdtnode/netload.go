package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/internal/sig"
	"bdtnode/node/client"
)

// Funding of a load: its accounts and their outputs in genesis.
const (
	loadAccounts   = 8       // at least; two for each shard if that is more
	loadAmount     = 1_000   // value of each output
	minLoadOutputs = 4_000   // in total: enough for a load when the network is resumed
	maxLoadOutputs = 200_000 // in total: a load spends the outputs of settled transfers again, so a long load needs no more
)

// endless is the planned duration of a load without --for.
const endless = 24 * time.Hour

// loadFunding sizes the genesis outputs for the load of f: one for each transfer of ten seconds, so each output has
// time to settle before it is spent again. A transfer across shards spends up to three outputs.
func loadFunding(f *netFlags) netup.Funding {
	accounts := max(loadAccounts, 2*f.shards)
	total := min(max(math.Ceil(10*f.load*(1+f.cross)), minLoadOutputs), maxLoadOutputs)
	funds := netup.Funding{Dir: netup.LoadDir, Outputs: uint32(math.Ceil(total / float64(accounts))), Amount: loadAmount}
	for i := range accounts {
		funds.Names = append(funds.Names, fmt.Sprintf("load-%d", i))
	}
	return funds
}

// runLoad runs the load of f on a network. When it is interrupted, it waits up to load.StopDrain for answers, and the
// result covers the transfers submitted until then.
func (a *app) runLoad(ctx context.Context, interrupted <-chan struct{}, c *netup.Cluster, dir string, f *netFlags, line *liveLine) (load.Result, error) {
	funds, err := loadSigners(filepath.Join(dir, netup.LoadDir))
	if err != nil {
		return load.Result{}, err
	}
	cfg := load.Config{
		Network: c.Genesis.ID(), Horizon: time.Duration(c.Genesis.HorizonMS) * time.Millisecond, Funds: funds,
		Shards: make([][]*client.Client, len(c.Genesis.Shards)),
		Rate:   f.load, For: f.duration, Cross: f.cross, Invalid: f.invalid, Seed: f.seed,
		Stop: interrupted,
		Each: func(s load.Sample) { line.sample(ctx, s) },
	}
	if cfg.For == 0 {
		cfg.For = endless
	}
	for _, r := range c.Replicas {
		cl, err := r.Connect(client.Options{})
		if err != nil {
			return load.Result{}, err
		}
		defer cl.Close()
		cfg.Shards[r.Shard] = append(cfg.Shards[r.Shard], cl)
	}
	a.print.Note("Submitting %g transfers a second%s", f.load, acrossText(f.cross))
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-interrupted:
			line.note("The load ends: waiting up to %v for answers", load.StopDrain)
		case <-ended:
		}
	}()
	return load.Run(ctx, cfg)
}

func acrossText(share float64) string {
	if share == 0 {
		return ""
	}
	return fmt.Sprintf(", %g %% of them across shards", 100*share)
}

func loadSigners(dir string) ([]sig.Signer, error) {
	accounts, err := keystore.Open(dir).List()
	if err != nil {
		return nil, err
	}
	if len(accounts) == 0 {
		return nil, fmt.Errorf("%s has no accounts for a load: this network was not created by net up", dir)
	}
	signers := make([]sig.Signer, len(accounts))
	for i, acc := range accounts {
		key, err := acc.Unlock(func() (string, error) { return "", errors.New("accounts of a load are not encrypted") })
		if err != nil {
			return nil, err
		}
		signers[i] = key
	}
	return signers, nil
}

// reasonCounts lists reasons with their counts.
func reasonCounts(counts map[string]uint64) string {
	var reasons []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		reasons = append(reasons, fmt.Sprintf("%s %d", why, counts[why]))
	}
	return strings.Join(reasons, ", ")
}

// printRejections prints counts that a report does not contain: wrongly rejected transfers, reasons of rejections, and
// refunded outputs.
func (a *app) printRejections(r load.Result) {
	if r.WronglyRejected > 0 {
		a.print.Note("%d valid transfers were rejected", r.WronglyRejected)
	}
	if len(r.Reasons) > 0 {
		a.print.Note("rejected, by reason: %s", reasonCounts(r.Reasons))
	}
	if r.Recovered > 0 {
		a.print.Note("%d outputs were refunded from rejected transfers across shards", r.Recovered)
	}
}
