package driver

import (
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// View is a snapshot of the loop's state, for operators.
type View struct {
	At     protocols.Time // of the snapshot, by the clock that deadlines are measured by
	WallMS uint64         // Unix milliseconds
	Core   replica.View
	Notice bool // the next batch has a notice, so it is made without transactions
	// Batch is the reason why the own lane makes no batch now although data waits for one, empty if there is none.
	Batch BatchWait
}

// BatchWait is the reason why the own lane makes no batch.
type BatchWait string

// The reasons why the own lane makes no batch.
const (
	BatchSigns      BatchWait = "signs"      // too few peers have answered this start
	BatchLane       BatchWait = "lane"       // the window of the lane is full, or the lane is frozen
	BatchUnanswered BatchWait = "unanswered" // too many own batches have neither a certificate nor a commit
	BatchGap        BatchWait = "gap"        // the time between two batches has not passed
)

// Inspect takes a snapshot. It is a call of the loop.
func (d *Driver) Inspect() *View {
	at := d.clock()
	now := at.Now
	v := &View{At: now, WallMS: at.Instant().WallMS, Core: replica.Inspect(d.core, now), Notice: d.core.Notices() > 0}
	waiting := d.entries.Waiting() + d.core.Notices()
	if waiting == 0 {
		return v
	}
	if ok, at := d.core.WantsBatch(now, waiting); !ok {
		switch {
		case !v.Core.Start.Signs:
			v.Batch = BatchSigns
		case at != 0:
			v.Batch = BatchGap
		case v.Core.Consensus.Lanes[d.cfg.Self].Full != "":
			v.Batch = BatchLane
		default:
			v.Batch = BatchUnanswered
		}
	}
	return v
}
