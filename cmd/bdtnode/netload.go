package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"bdtnode/cmd/bdtnode/netup"
)

// Accounts that a load pays between, and what genesis gives them.
const (
	loadAccounts   = 8
	loadAmount     = 1_000   // of each output
	minLoadOutputs = 4_000   // in all: enough for a load given when the network is resumed
	maxLoadOutputs = 200_000 // in all: outputs of what settled are spent again, so a long load needs no more
)

// loadFunding splits outputs for the load of f. As many as it submits in ten seconds leave each of them time to settle
// before it is spent again.
func loadFunding(f *netFlags) netup.Funding {
	total := min(max(math.Ceil(10*f.load), minLoadOutputs), maxLoadOutputs)
	load := netup.Funding{Dir: netup.LoadDir, Outputs: uint32(math.Ceil(total / loadAccounts)), Amount: loadAmount}
	for i := range loadAccounts {
		load.Names = append(load.Names, fmt.Sprintf("load-%d", i))
	}
	return load
}

// loadResult is what became of a load; the zero loadResult is that of none.
type loadResult struct {
	Submitted, Settled, Rejected, Pending int
	TPS                                   float64
	Latency                               percentiles
}

func (a *app) runLoad(ctx context.Context, c *netup.Cluster, dir string, f *netFlags, line *liveLine) (loadResult, error) {
	return loadResult{}, errors.New("temp")
}
