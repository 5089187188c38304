package bench

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"bdtnode/cmd/bdtnode/load"
	"bdtnode/internal/wan"
)

// Format is the version of the form of a [Result].
const Format = 1

// Result is one measurement of a network, with all that is needed to repeat it. Its own fields of [Run] are those of the
// run with the median rate.
type Result struct {
	Format     int               `json:"format"`  // of this object, 1
	Command    string            `json:"command"` // repeats the measurement
	Time       string            `json:"time"`    // of its begin, RFC 3339
	Shards     int               `json:"shards"`
	Nodes      int               `json:"nodes"` // in each shard
	Parameters Parameters        `json:"parameters"`
	Version    Version           `json:"version"`
	Build      map[string]string `json:"build"` // settings of the compiler
	Machine    Machine           `json:"machine"`
	WAN        *WAN              `json:"wan,omitempty"`   // delays between replicas; missing without --wan
	Swept      *Swept            `json:"swept,omitempty"` // the point of a sweep; missing in other measurements
	Run
	Runs []Run `json:"runs"` // all runs, in their order
}

// Swept is the value of the parameter that a sweep changes.
type Swept struct {
	Over  string  `json:"over"` // rate, closed, nodes, shards, size, cross or gap
	Value float64 `json:"value"`
}

// Parameters are the settings of a measurement.
type Parameters struct {
	Ledger        string  `json:"ledger"`         // payments or log
	External      bool    `json:"external"`       // the network was running before
	Rate          float64 `json:"rate"`           // arrivals a second; 0 in a closed loop
	Closed        int     `json:"closed"`         // transfers without an answer in a closed loop; 0 with a rate
	Size          int     `json:"size"`           // bytes of a payload; 0 for payments
	Inputs        int     `json:"inputs"`         // of a transfer inside a shard
	Outputs       int     `json:"outputs"`        // likewise; 0: 1, or 2 while a shard has few
	Cross         float64 `json:"cross"`          // share across shards
	Invalid       float64 `json:"invalid"`        // share that is invalid
	WarmupSeconds float64 `json:"warmup_s"`       // load before the measured time
	ForSeconds    float64 `json:"for_s"`          // measured time
	Repeat        int     `json:"repeat"`         // number of runs
	Seed          uint64  `json:"seed"`           // of the first run; each further run has the next one
	Consensus     string  `json:"consensus"`      // bdt or dumbo
	Signatures    string  `json:"signatures"`     // replicas that verify them, all or vouched; empty for a network that was running before
	GapMS         uint64  `json:"gap_ms"`         // between proposals under lasting load; 0 for a network that was running before
	LeastFee      uint64  `json:"least_fee"`      // of the network, for each byte
	HorizonMS     uint64  `json:"horizon_ms"`     // of the network
	DrainSeconds  float64 `json:"drain_s"`        // longest wait for answers after the load
	MaxInFlight   int     `json:"max_in_flight"`  // bound of the transfers without an answer
	Observed      int     `json:"observed"`       // followers of events; 0: neither events nor metrics were read
	GOMAXPROCS    int     `json:"gomaxprocs"`     // of this program
	ReplicaProcs  int     `json:"replica_procs"`  // GOMAXPROCS of each replica; 0: Go's own choice, the environment's, or a network that was running before
	GOGC          string  `json:"gogc,omitempty"` // variable of the environment, also of replicas
}

// Run is one run.
type Run struct {
	Outcome
	Partial        bool                `json:"partial"` // the run was interrupted, or failed
	Seconds        float64             `json:"seconds"` // measured time
	Seed           uint64              `json:"seed"`
	Offered        float64             `json:"offered"`  // arrivals a second
	Sent           float64             `json:"sent"`     // submitted a second
	Accepted       uint64              `json:"accepted"` // submitted transfers that a replica accepted
	Kinds          []load.Distribution `json:"kinds"`    // latencies by outcome
	NodeCPUSeconds float64             `json:"node_cpu_seconds"`
	CPU            CPU                 `json:"cpu"`
	SyncsPerTx     float64             `json:"syncs_per_tx"`
	Wire           Wire                `json:"wire"`
	Replicas       []Replica           `json:"replicas"`
	HeadersAgree   *bool               `json:"headers_agree,omitempty"` // missing for a network that was running before
	ValueConserved *bool               `json:"value_conserved,omitempty"`
	ReplicasLost   int                 `json:"replicas_lost"`
	Observed       *Observed           `json:"observed,omitempty"` // readers of events and metrics; missing without --observed
}

// CPU is the processor time in the measured time, in seconds for 1,000 transfers that settled in it.
type CPU struct {
	Replicas float64 `json:"replicas_per_1000"` // all replicas
	Load     float64 `json:"load_per_1000"`     // this program
	Readers  float64 `json:"readers_per_1000"`  // the process that reads events and metrics; 0 without --observed
	Other    float64 `json:"other_share"`       // share of the machine's processors that other programs used
	Why      string  `json:"other_missing,omitempty"`
}

// Wire is the traffic between replicas in the measured time.
type Wire struct {
	SentBytes    uint64  `json:"sent_bytes"`       // frames and gossip of all replicas, without the headers of libp2p, TLS and TCP
	PayloadBytes uint64  `json:"payload_bytes"`    // encodings of the transfers that settled
	PerByte      float64 `json:"per_payload_byte"` // the quotient
}

// Replica is the use of resources by one replica in the measured time.
type Replica struct {
	Shard         uint16  `json:"shard"`
	Replica       uint16  `json:"replica"`
	CPUPer1000    float64 `json:"cpu_per_1000"` // seconds for 1,000 transfers that settled in all shards
	ResidentBytes uint64  `json:"resident_bytes"`
	HeapBytes     uint64  `json:"heap_bytes"` // of the heap, at the end, garbage included
	DiskBytes     int64   `json:"disk_bytes"` // growth of its stores
	WrittenBytes  uint64  `json:"written_bytes,omitempty"`
	Syncs         uint64  `json:"syncs"`
	SentBytes     uint64  `json:"sent_bytes"`
	Missing       string  `json:"missing,omitempty"` // reason why the other fields are 0
}

// WAN are the delays between replicas.
type WAN struct {
	Spec string `json:"spec"` // as given
	wan.Matrix
	OffBy    float64      `json:"off_by"`   // largest share by which a measured round trip differs from the matrix
	Replicas []WANReplica `json:"replicas"` // sorted by shard, then index
}

// WANReplica is a replica with the latency of the transfers that were submitted to it, inside its shard.
type WANReplica struct {
	Shard   uint16  `json:"shard"`
	Replica int     `json:"replica"`
	Region  string  `json:"region"`
	Leads   bool    `json:"leads"`    // at the end of the run
	LeastMS float64 `json:"least_ms"` // that the matrix permits with this leader, without any other delay
	P50MS   float64 `json:"p50_ms"`   // measured; 0 if nothing was submitted to it
}

// Finish sets the fields of the median run, after all runs.
func (r *Result) Finish() {
	if len(r.Runs) == 0 {
		r.Run = Run{Partial: true, Outcome: OutcomeOf(&load.Result{}), Kinds: []load.Distribution{}, Replicas: []Replica{}}
		r.Runs = []Run{}
		return
	}
	sorted := slices.SortedStableFunc(slices.Values(r.Runs), func(a, b Run) int { return cmp.Compare(a.TPS, b.TPS) })
	r.Run = sorted[(len(sorted)-1)/2]
	for i := range r.Runs {
		r.Partial = r.Partial || r.Runs[i].Partial
	}
}

// Problem is the first reason for which a measurement does not count, nil if there is none.
func (r *Result) Problem() error {
	if len(r.Runs) == 0 {
		return errors.New("no run was measured")
	}
	for i := range r.Runs {
		if err := r.Runs[i].problem(); err != nil {
			return fmt.Errorf("run %d of %d: %w", i+1, len(r.Runs), err)
		}
	}
	return nil
}

// Failure is the first reason for which a measurement of a saturated network does not count, nil if there is none.
func (r *Result) Failure() error {
	for i := range r.Runs {
		if err := r.Runs[i].failure(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) failure() error {
	switch {
	case r.HeadersAgree != nil && !*r.HeadersAgree:
		return errors.New("the replicas have different ledgers, or did not reach the same height")
	case r.ValueConserved != nil && !*r.ValueConserved:
		return errors.New("value was not conserved")
	case r.ReplicasLost > 0:
		return fmt.Errorf("%d replicas were lost", r.ReplicasLost)
	case r.Settled == 0:
		return fmt.Errorf("NOTHING SETTLED: %d submitted, %d rejected, %d pending, %d unsent", r.Submitted, r.Rejected, r.Pending, r.Unsent)
	}
	return nil
}

func (r *Run) problem() error {
	switch err := r.failure(); {
	case err != nil:
		return err
	case r.Pending > 0:
		return fmt.Errorf("%d of %d transfers have no answer", r.Pending, r.Submitted)
	case r.Unsent > 0:
		return fmt.Errorf("%d of %d transfers were due and not sent", r.Unsent, r.Submitted+r.Unsent)
	}
	if o := r.Observed; o != nil && o.Gaps+o.Broken+o.Failed > 0 {
		return fmt.Errorf("readers found %d gaps in the events, and lost %d streams and %d scrapes: %s", o.Gaps, o.Broken, o.Failed, o.Problem)
	}
	return nil
}

// keepsUp is the share of the offered rate that a network which is not saturated settles.
const keepsUp = 0.95

// Saturated reports whether the network settled less than was offered, in a run with a rate.
func (r *Run) Saturated() bool { return r.TPS < keepsUp*r.Offered || r.Unsent > 0 || r.Pending > 0 }

// ReadResults reads results, one JSON object after another.
func ReadResults(from io.Reader) ([]Result, error) {
	var out []Result
	d := json.NewDecoder(from)
	for {
		var r Result
		err := d.Decode(&r)
		switch {
		case errors.Is(err, io.EOF) && len(out) > 0:
			return out, nil
		case errors.Is(err, io.EOF):
			return nil, errors.New("no result")
		case err != nil:
			return nil, fmt.Errorf("result %d: %w", len(out)+1, err)
		case r.Format != Format:
			return nil, fmt.Errorf("result %d has format %d, but this program reads format %d", len(out)+1, r.Format, Format)
		case len(r.Runs) == 0:
			return nil, fmt.Errorf("result %d has no runs", len(out)+1)
		}
		out = append(out, r)
	}
}
