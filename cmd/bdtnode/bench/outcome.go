// Package bench has the results of measurements of a network: their content, their comparison, and their forms as a page
// and as a table. It measures the processes and the machine during a load of package load.
package bench

import (
	"bdtnode/cmd/bdtnode/load"
)

// Outcome are the counts and latencies of a load, in every report of one.
type Outcome struct {
	Submitted    uint64 `json:"submitted"` // = settled + rejected + pending
	Unsent       uint64 `json:"unsent"`    // transfers due and not submitted
	Settled      uint64 `json:"settled"`
	Rejected     uint64 `json:"rejected"`
	Pending      uint64 `json:"pending"` // submitted transfers without an answer at the end
	CrossSettled uint64 `json:"cross_settled"`

	Cancelled         uint64 `json:"cancelled"`           // rejected transfers across shards that a CL kept out of every block
	ReturnedByCL      uint64 `json:"returned_by_cl"`      // of those in escrow in a shard, by a CL
	ReturnedByVerdict uint64 `json:"returned_by_verdict"` // of those in escrow in a shard, only by verdicts

	Invalid      []load.KindResult `json:"invalid"` // counts of the invalid transfers, by kind
	TPS          float64           `json:"tps"`
	Latency      load.Percentiles  `json:"latency_ms"`
	CrossLatency load.Percentiles  `json:"cross_latency_ms"`
}

// OutcomeOf is the outcome of a load.
func OutcomeOf(r *load.Result) Outcome {
	o := Outcome{
		Submitted: r.Submitted, Unsent: r.Unsent, Settled: r.Settled, Rejected: r.Rejected, Pending: r.Pending,
		CrossSettled: r.CrossSettled, Cancelled: r.Cancelled, ReturnedByCL: r.ReturnedByCL, ReturnedByVerdict: r.ReturnedByVerdict, Invalid: r.Invalid, TPS: r.TPS, Latency: r.Latency, CrossLatency: r.CrossLatency,
	}
	if o.Invalid == nil {
		o.Invalid = []load.KindResult{}
	}
	return o
}
