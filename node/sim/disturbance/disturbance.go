// Package disturbance has the disturbances of a simulated run, each in a file of its own: of the network, and of the
// machines. They have a handle on both, and none on the checks and the clients.
package disturbance

import "bdtnode/node/sim/machine"

// Disturbance disturbs the replicas of a shard while the run is active. Safety must hold under all of them, and liveness
// once they stop.
type Disturbance interface {
	String() string
	Start(s *machine.Shard)
}

// CrossShard disturbs messages between shards while the run is active.
type CrossShard interface {
	String() string
	Start(w *machine.System)
}
