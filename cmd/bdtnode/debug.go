package main

import "github.com/spf13/cobra"

const debugHelp = `Shows the inner state of a replica that runs on this machine. The commands ask the replica through a socket in its home,
which only the owner of the home may open; they need no running API and no quorum, and answer within 2 seconds.

The replica is the one of --home, else the first of the newest network running on this machine; --replica selects
another one of the network. If a part of the state does not answer in time, the rest is shown and the exit code is 7.
With -o json the answer has the schema of docs/debug.md.`

func newDebug(a *app) *cobra.Command {
	var f reach
	c := group(&cobra.Command{Use: "debug", Short: "Show the inner state of a replica on this machine", Long: debugHelp})
	f.add(c)
	c.AddCommand(newDebugConsensus(a, &f), newDebugLanes(a, &f), newDebugSettlement(a, &f), newDebugEvidence(a, &f),
		newDebugProfile(a, &f), newDebugBundle(a, &f), newDebugRecord(a, &f), newDebugWhy(a, &f))
	return c
}
