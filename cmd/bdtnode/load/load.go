// Package load generates a load of signed transfers for the replicas of a network, and measures the outcomes. The load
// is an open loop with a rate, or a closed loop with a number of transfers without an answer.
//
// Open loop means that arrivals are scheduled beforehand and a slow answer delays none of them. Arrival i of n is due
// at a random time, drawn from the seed, in the i-th of n equal intervals. So the rate is exact, and arrivals do not
// synchronize with any timer. Latency is the time from the moment at which an arrival is due to the receipt of the
// API's answer, so all waiting inside this program counts. Arrivals due within one tick share a request, and requests
// go to the replicas of the shard in turn. A closed loop sends a transfer whenever one has its answer; its latency
// counts from that moment, so it hides waiting that an open loop would show.
//
// A load may begin with a warm-up, whose transfers do not count. Transfers may be signed before the load, so that it
// measures the network and not the signing.
//
// A load on a log appends opaque payloads of one length, in requests of up to 2,000, and waits until they are ordered.
//
// Transfers spend outputs of the given accounts. The outputs of settled transfers are spent again, so a run of any
// length needs only as many outputs as are pending at a time. Most transfers stay inside a shard. A configurable share
// goes across shards: such a transfer spends outputs of one to three shards, signed by the owner of each, and creates
// outputs in one to three, in two or three shards in total. Another share is invalid, each for one of the [Kinds]: the
// ledger must reject these transfers, and their other inputs are refunded.
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
	"bdtnode/node/client"
	"bdtnode/shard"
)

// Defaults of [Config].
const (
	DefaultDrain       = 30 * time.Second
	StopDrain          = 5 * time.Second
	DefaultMaxInFlight = 100_000
)

const (
	tick         = 4 * time.Millisecond // arrivals within this time share a request
	maxPostWait  = 15 * time.Second     // longest wait that the API is asked for; after it the state is queried by GET
	maxArrivals  = 1 << 40
	maxAccounts  = 10_000
	signAhead    = 250 * time.Millisecond // part of the load that is signed before it is due
	signWorkers  = 2
	sampleEvery  = time.Second
	minSignAhead = 16
	maxSignAhead = 16_384
	chainFor     = 4       // seconds of the load for which there must be outputs, for transfers to be signed in a chain
	maxParts     = 64      // inputs or outputs of a transfer
	MaxClosed    = 100_000 // largest number of transfers without an answer in a closed loop
	MaxAhead     = 400_000 // largest number of transfers signed before the load; they take about 1 KB of memory each
)

// guessedRate is the rate for which a closed loop signs transfers before the load.
const guessedRate = 25_000

// Config describes a load.
type Config struct {
	Shards  [][]*client.Client // one client for each replica, by shard
	Network digest.Digest      // genesis id
	Horizon time.Duration      // of the genesis: how far after block time a transaction may expire
	Funds   []sig.Signer       // keys of the accounts that pay and are paid
	Rate    float64            // arrivals a second
	Closed  int                // in place of Rate: number of transfers without an answer
	Warmup  time.Duration      // time before For, with the same arrivals, that does not count
	For     time.Duration      // duration of the arrivals that count
	Payload int                // length of an opaque payload, for a log in place of payments; 0: transfers
	Inputs  int                // of a transfer inside a shard; 0 means 1
	Outputs int                // of a transfer inside a shard; 0 means 1, or 2 while a shard has few outputs
	Presign bool               // sign up to MaxAhead transfers before the load; without Invalid only, whose transfers depend on outcomes
	Cross   float64            // share of the arrivals, 0 to 1, that involves two or three shards
	Invalid float64            // share of the arrivals, 0 to 1, that is invalid
	Seed    uint64             // of arrival times, payers and payees

	Drain       time.Duration        // wait for answers after the last arrival; 0 means DefaultDrain
	MaxInFlight int                  // largest number of transactions without an answer; arrivals beyond it are not sent; 0 means DefaultMaxInFlight
	Stop        <-chan struct{}      // closed to end the load early: no further arrivals, and a wait for answers of at most StopDrain; may be nil
	Each        func(Sample)         // called every second from a goroutine of its own, if not nil; Run waits for it to return
	Signing     func(signed, of int) // called every second while transfers are signed before the load, if not nil
	Window      func(begins bool)    // called at the begin and at the end of the measured time, also if it ends early; may be nil
}

// Sample is the state of a load at one moment.
type Sample struct {
	Elapsed                      time.Duration // since the first arrival was due
	Submitted, Settled, Rejected uint64        // counts so far
	Unsent                       uint64        // arrivals that were not submitted
	Open                         uint64        // submitted, without a final answer
	Rate                         float64       // settled a second, in the last second
	P50                          time.Duration // latency of those settled inside a shard in the last second
	CrossP50                     time.Duration // and of those across shards
}

// Percentiles are latencies in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// KindResult is the outcome of the invalid transfers of one kind.
type KindResult struct {
	Kind      Kind              `json:"kind"`
	Submitted uint64            `json:"submitted"`
	Settled   uint64            `json:"settled"` // at most one of each pair in conflict, and none of another kind
	Rejected  uint64            `json:"rejected"`
	Pending   uint64            `json:"pending"`
	Reasons   map[string]uint64 `json:"reasons"` // number of rejections by reason
}

// Result is the outcome of a load. Submitted = Settled + Rejected + Pending, and the number of arrivals is Submitted +
// Unsent.
type Result struct {
	Submitted uint64 // sent to a replica
	Unsent    uint64 // arrivals that were never sent: beyond MaxInFlight, or without an output to spend
	Accepted  uint64 // accepted by a replica, and settled ones
	Settled   uint64
	Rejected  uint64
	Pending   uint64      // without a final answer when the drain ended
	Partial   bool        // the load ended before all arrivals were due
	Latency   Percentiles // inside a shard: of settled transfers, and of pending ones with their waiting time so far
	TPS       float64     // settled a second: in the measured time after a warm-up, else from the first due arrival to the last answer

	Measured      time.Duration  // length of the measured time
	Within        uint64         // transfers whose answer that they settled came in it, also those of the warm-up
	WithinBytes   uint64         // encodings of these
	Distributions []Distribution // of latencies, by outcome

	CrossSettled uint64      // settled transfers across shards
	CrossLatency Percentiles // latency across shards, likewise
	Recovered    uint64      // refunded outputs of rejected transfers across shards

	Cancelled         uint64 // rejected transfers across shards: a CL kept them out of every block
	ReturnedByCL      uint64 // a CL returned escrow
	ReturnedByVerdict uint64 // only verdicts returned escrow

	Replicas [][]Percentiles // latency inside a shard by the replica to which the transfers were sent first, by shard and index

	Invalid []KindResult // of invalid transfers, by kind; those that were not drawn are left out

	WronglySettled  uint64            // settled invalid transfers; of a pair in conflict, the second one
	WronglyRejected uint64            // rejected transfers that were valid
	Reasons         map[string]uint64 // number of rejections by reason
}

func (c *Config) check() error {
	for s := range c.Shards {
		if len(c.Shards[s]) == 0 {
			return fmt.Errorf("a load needs at least one replica of shard %d", s)
		}
	}
	if err := c.checkRate(); err != nil {
		return err
	}
	switch {
	case len(c.Shards) == 0 || len(c.Shards) > shard.MaxShards:
		return fmt.Errorf("a load on %d shards, want 1 to %d", len(c.Shards), shard.MaxShards)
	case c.Payload != 0:
		return c.checkPayload()
	case len(c.Funds) == 0 || len(c.Funds) > maxAccounts:
		return fmt.Errorf("a load of %d accounts, want 1 to %d", len(c.Funds), maxAccounts)
	case c.Inputs < 0 || c.Inputs > maxParts || c.Outputs < 0 || c.Outputs > maxParts:
		return fmt.Errorf("transfers of %d inputs and %d outputs, want up to %d", c.Inputs, c.Outputs, maxParts)
	case !(c.Invalid >= 0 && c.Invalid <= 1):
		return fmt.Errorf("an invalid share of %g, want 0 to 1", c.Invalid)
	case !(c.Cross >= 0 && c.Cross <= 1):
		return fmt.Errorf("a share across shards of %g, want 0 to 1", c.Cross)
	case c.Horizon < time.Second:
		return fmt.Errorf("an expiry horizon of %v leaves no time to settle", c.Horizon)
	}
	return nil
}

// checkPayload checks a load on a log.
func (c *Config) checkPayload() error {
	if c.Payload < 0 || c.Payload > MaxPayload {
		return fmt.Errorf("payloads of %d bytes, want 1 to %d", c.Payload, MaxPayload)
	}
	if c.Cross > 0 || c.Invalid > 0 {
		return errors.New("payloads of a log are valid, and each in one shard")
	}
	return nil
}

// checkRate checks the number of arrivals.
func (c *Config) checkRate() error {
	if c.Closed != 0 && (c.Closed < 0 || c.Closed > MaxClosed || c.Rate != 0) {
		return fmt.Errorf("a closed loop of %d transfers with a rate of %g, want 1 to %d without a rate", c.Closed, c.Rate, MaxClosed)
	}
	rate := c.Rate
	if c.Closed > 0 {
		rate = guessedRate
	}
	if n := rate * c.total().Seconds(); !(rate > 0) || c.For <= 0 || c.Warmup < 0 || !(n < maxArrivals) {
		return fmt.Errorf("a load of %g transactions a second for %v, want both above 0 and at most %d arrivals", c.Rate, c.For, maxArrivals)
	}
	return nil
}

// Run generates the load and returns when each transaction has its answer or the drain is over. If the context ends
// earlier, Run returns the result so far with the context's error. It fails if the accounts have no outputs, if all
// have one home shard and Cross is above 0, or if a replica answers with a permanent error.
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
	to := newReplicas(c.Shards)
	if c.Payload > 0 {
		return (&run{cfg: &c, to: to, payloads: newPayloads(c.Payload), freed: make(chan struct{}, 1)}).begin(ctx)
	}
	b := newAccounts(&c)
	if c.Cross > 0 && len(b.homes) < 2 {
		return Result{}, errors.New("a load across shards needs accounts with at least two home shards")
	}
	arrivals := c.arrivals()
	p, err := fetchCoins(ctx, b, to, max(1, c.Inputs)*arrivals+int(c.Cross*float64(arrivals)))
	if err != nil {
		return Result{}, err
	}
	return (&run{cfg: &c, to: to, generator: newGenerator(&c, b, p, arrivals), freed: make(chan struct{}, 1)}).begin(ctx)
}

// begin runs the load with its schedule, or without one in a closed loop.
func (r *run) begin(ctx context.Context) (Result, error) {
	if r.cfg.Closed > 0 {
		r.tally = newTally(r.cfg, 0, r.to)
		return r.run(ctx, nil)
	}
	s := newSchedule(r.cfg.arrivals(), r.cfg.total(), r.cfg.Seed)
	r.tally = newTally(r.cfg, s.due, r.to)
	return r.run(ctx, s)
}

// total is the duration of all arrivals.
func (c *Config) total() time.Duration { return c.Warmup + c.For }

// arrivals is the number of arrivals. For a closed loop it is a bound.
func (c *Config) arrivals() int {
	if c.Closed > 0 {
		return maxArrivals
	}
	return max(1, int(math.Round(c.Rate*c.total().Seconds())))
}

// maxBatch is the largest number of transactions in one request.
const maxBatch = api.MaxTxsPerRequest
