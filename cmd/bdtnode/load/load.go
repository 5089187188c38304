// Package load puts an open-loop load of signed transfers on the replicas of a network, and measures what becomes of it.
//
// Open loop means that arrivals are scheduled beforehand and no slow answer delays one. Arrival i of n is due at a
// random place, drawn from the seed, in the i-th of n equal intervals: exactly the rate asked for, but in no step with
// anybody's timers. Latency runs from when an arrival was due to when the API's answer was here, so whatever a
// transfer waits for in this program counts too. Arrivals due within one tick share a request, and requests go to the
// replicas of the shard concerned in turn.
//
// Transfers spend outputs of the accounts given, and the outputs of those that settled are spent again, so a run of
// any length needs only as many outputs as are on their way at a time. Most stay inside a shard. A share, if asked for,
// goes across: such a transfer spends outputs of one to three shards, signed by the owner of each, and creates some in
// one to three, two or three shards in all. And a share spends an output that a settled transfer spent already: the
// ledger must reject these, and what else they spend comes back.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/node/api"
	"bdtnode/node/api/client"
	"bdtnode/shard"
)

// Defaults of [Config].
const (
	DefaultDrain       = 30 * time.Second
	StopDrain          = 5 * time.Second
	DefaultMaxInFlight = 100_000
)

const (
	tick         = 4 * time.Millisecond // arrivals at most so far apart share a request
	maxPostWait  = 15 * time.Second     // what the API is asked to wait; then it is asked by GET
	maxArrivals  = 1 << 40
	maxAccounts  = 10_000
	signAhead    = 250 * time.Millisecond // how much of the load is signed ahead of when it is due
	signWorkers  = 2
	sampleEvery  = time.Second
	minSignAhead = 16
	maxSignAhead = 16_384
)

// Config describes a load.
type Config struct {
	Shards  [][]*client.Client // by shard, one of each replica
	Network digest.Digest      // genesis id
	Horizon time.Duration      // of the genesis: how far ahead of block time a transaction may expire
	Funds   []sig.Signer       // keys of the accounts that pay, and are paid
	Rate    float64            // arrivals a second
	For     time.Duration      // how long arrivals come
	Cross   float64            // share of them, 0 to 1, that involves two or three shards
	Invalid float64            // share of them, 0 to 1, that spends an output already spent
	Seed    uint64             // of arrival times and of who pays whom

	Drain       time.Duration   // how long answers are waited for after the last arrival; 0 means DefaultDrain
	MaxInFlight int             // most transactions without an answer; arrivals beyond are not sent; 0 means DefaultMaxInFlight
	Stop        <-chan struct{} // closed to end the load early: no more arrivals, and answers are waited for at most StopDrain; may be nil
	Each        func(Sample)    // called every second from a goroutine of its own, if not nil; Run waits for it to return
}

// Sample is how a load stands.
type Sample struct {
	Elapsed                      time.Duration // since the first arrival was due
	Submitted, Settled, Rejected uint64        // so far
	Unsent                       uint64        // arrivals that were not submitted
	Open                         uint64        // submitted, and no final answer yet
	Rate                         float64       // settled in the last second
	P50                          time.Duration // latency of those settled inside a shard in the last second
	CrossP50                     time.Duration // and of those across shards
}

// Percentiles are latencies in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Result is what became of a load. Submitted = Settled + Rejected + Pending, and arrivals are Submitted + Unsent.
type Result struct {
	Submitted uint64 // sent to a replica
	Unsent    uint64 // arrivals beyond MaxInFlight, or without an output to spend, that were never sent
	Settled   uint64
	Rejected  uint64
	Pending   uint64      // no final answer when the drain ended
	Partial   bool        // ended before all arrivals were due
	Latency   Percentiles // inside a shard: of those settled, and of those pending with the time they have waited so far
	TPS       float64     // settled, over the time from the first arrival due to the last answer

	CrossSettled uint64      // of those settled: across shards
	CrossLatency Percentiles // across shards, likewise
	Recovered    uint64      // outputs had back from transfers across shards that were rejected

	WronglySettled  uint64            // of those settled: spent an output that was spent already
	WronglyRejected uint64            // of those rejected: nothing was wrong with them
	Reasons         map[string]uint64 // of those rejected
}

func (c *Config) check() error {
	for s := range c.Shards {
		if len(c.Shards[s]) == 0 {
			return fmt.Errorf("a load needs at least one replica of shard %d to send to", s)
		}
	}
	switch n := c.Rate * c.For.Seconds(); {
	case len(c.Shards) == 0 || len(c.Shards) > shard.MaxShards:
		return fmt.Errorf("a load on %d shards, want 1 to %d", len(c.Shards), shard.MaxShards)
	case len(c.Funds) == 0 || len(c.Funds) > maxAccounts:
		return fmt.Errorf("a load of %d accounts, want 1 to %d", len(c.Funds), maxAccounts)
	case !(c.Rate > 0) || c.For <= 0 || !(n < maxArrivals):
		return fmt.Errorf("a load of %g transactions a second for %v, want both above 0 and at most %d arrivals", c.Rate, c.For, maxArrivals)
	case !(c.Invalid >= 0 && c.Invalid <= 1):
		return fmt.Errorf("an invalid share of %g, want 0 to 1", c.Invalid)
	case !(c.Cross >= 0 && c.Cross <= 1):
		return fmt.Errorf("a share across shards of %g, want 0 to 1", c.Cross)
	case c.Horizon < time.Second:
		return fmt.Errorf("an expiry horizon of %v leaves no time to settle", c.Horizon)
	}
	return nil
}

// Run puts the load on the replicas and returns when each transaction has its answer or the drain is over. If the
// context ends before, it returns what is known with the context's error. It fails if the accounts have nothing to
// spend, if they are all at home in one shard and some transfers are to go across, or if a replica answers with an
// error that trying again does not mend.
func Run(ctx context.Context, c Config) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	if c.Drain == 0 {
		c.Drain = DefaultDrain
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultMaxInFlight
	}
	b := newBank(&c)
	if c.Cross > 0 && len(b.homes) < 2 {
		return Result{}, errors.New("a load across shards needs accounts at home in at least two")
	}
	to := newReplicas(c.Shards)
	arrivals := max(1, int(math.Round(c.Rate*c.For.Seconds())))
	p, err := fetchPurse(ctx, b, to, arrivals+int(c.Cross*float64(arrivals)))
	if err != nil {
		return Result{}, err
	}
	ready := int(min(max(c.Rate*signAhead.Seconds(), minSignAhead), maxSignAhead))
	s := newSchedule(arrivals, c.For, c.Seed)
	r := &run{cfg: &c, to: to, tally: newTally(c.Seed, s.due), mint: newMint(&c, b, p, arrivals, ready)}
	return r.run(ctx, s)
}

// maxBatch is the most transactions of one request.
const maxBatch = api.MaxTxsPerRequest
