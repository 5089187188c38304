package main

import (
	"bdtnode/node"
	"bdtnode/node/config"
)

// openReplica opens the replica of a home.
func openReplica(home *config.Home) (replica, error) { return node.Open(home) }
