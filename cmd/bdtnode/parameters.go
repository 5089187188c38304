package main

import (
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
)

// parameters are the settings of a run, with which it can be repeated. Shards, nodes, rate and seed are separate fields
// of a report.
type parameters struct {
	ForSeconds        float64 `json:"for_s"` // 0: until interrupted
	Cross             float64 `json:"cross"`
	Invalid           float64 `json:"invalid"`
	Fault             string  `json:"fault"` // empty: none
	FaultEverySeconds float64 `json:"fault_every_s"`
	Consensus         string  `json:"consensus"`
	Signatures        string  `json:"signatures"`
	GapMS             uint64  `json:"gap_ms"`
	LogLevel          string  `json:"log_level"`
	LeastFee          uint64  `json:"least_fee"`
	HorizonMS         uint64  `json:"horizon_ms"`
	Resumed           bool    `json:"resumed"` // the network had run before
	DrainSeconds      float64 `json:"drain_s"` // how long a run waits for answers after the load
	MaxInFlight       int     `json:"max_in_flight"`
}

// parameters returns the settings of a run with these flags.
func (f *netFlags) parameters(c *netup.Cluster) parameters {
	p := parameters{
		ForSeconds: f.duration.Seconds(), Cross: f.cross, Invalid: f.invalid, Fault: f.fault, Consensus: f.consensus,
		Signatures: c.Genesis.Parameters.Signatures, GapMS: c.Genesis.Parameters.GapMS,
		LogLevel: f.logLevel, LeastFee: c.Genesis.Parameters.LeastFee, HorizonMS: c.Genesis.HorizonMS, Resumed: f.resumed,
		DrainSeconds: load.DefaultDrain.Seconds(), MaxInFlight: load.DefaultMaxInFlight,
	}
	if f.fault != "" {
		p.FaultEverySeconds = f.faultEvery.Seconds()
	}
	return p
}
