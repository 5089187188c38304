package sim

import (
	"fmt"
	"time"

	"bdtnode/node/sim/machine"
)

// slowChannel delays the messages from one shard to another, and moves all coins around the three shards: one coin of
// each of the two shards pays to the third, which knows both verdicts at once, and pays both back. The inputs in the
// channel's destination stay in escrow until the late verdict arrives.
type slowChannel struct {
	from, to int
	by       time.Duration
}

func (f slowChannel) String() string {
	return fmt.Sprintf("messages of shard %d to shard %d are delayed by %v", f.from, f.to, f.by)
}

func (f slowChannel) Start(w *machine.System) { w.CrossShard.Slow(f.from, f.to, f.by) }

// pay is a hook of the configuration.
func (f slowChannel) pay(w *world) {
	w.Repeat(600*time.Millisecond, func() { w.workload.PayAround(f.from, f.to) })
}
