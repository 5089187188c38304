package api

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Report is a replica's report about itself, and about the other replicas of its shard as far as its Pings show them.
type Report struct {
	Shard     uint16       `json:"shard"`
	Replica   uint16       `json:"replica"`
	Epoch     uint64       `json:"epoch"`
	Leader    uint16       `json:"leader" doc:"leader of the epoch"`
	Height    uint64       `json:"height,string" doc:"height of the last executed block"`
	Ready     bool         `json:"ready"`
	NotReady  string       `json:"not_ready,omitempty" doc:"reason why it is not ready"`
	Degraded  string       `json:"degraded,omitempty" doc:"faults of the replica, which may exist while it is ready"`
	Answering int          `json:"answering" doc:"replicas of its shard, including this one, whose engines answered in the last 3 s"`
	WaitingMS int64        `json:"waiting_ms" doc:"milliseconds for which work has waited without a commit; 0 if no work waits"`
	Rate      *float64     `json:"rate,omitempty" doc:"ordered transactions a second over up to 10 s; missing in the first second"`
	LatencyMS *float64     `json:"latency_ms,omitempty" doc:"median time from submission to the final receipt of transactions submitted here in the last 5 s; missing if there were none"`
	Peers     []PeerReport `json:"peers" nullable:"false" doc:"other replicas of the shard"`
}

// PeerReport is the result of a replica's Pings to another one of its shard.
type PeerReport struct {
	Replica     uint16 `json:"replica"`
	Answers     bool   `json:"answers" doc:"it answered in the last 3 s"`
	SilentMS    *int64 `json:"silent_ms,omitempty" doc:"milliseconds since the newest answered Ping; missing if none was ever answered"`
	RoundTripUS *int64 `json:"rtt_us,omitempty" doc:"newest round trip in microseconds; missing if no Ping was ever answered"`
	Height      uint64 `json:"height,string" doc:"greatest height that it has shown, 0 if none"`
}

// ShardSize is the number of a shard's replicas, and of those that must answer.
type ShardSize struct {
	Replicas int `json:"replicas" doc:"n"`
	Needed   int `json:"needed" doc:"n-f"`
}

// Unreported is a replica that was asked for its report and did not give it.
type Unreported struct {
	Shard   uint16 `json:"shard"`
	Replica uint16 `json:"replica"`
	Reason  string `json:"reason"`
}

// NetworkReports is the body of a successful answer to GET /v1/network.
type NetworkReports struct {
	Network string       `json:"network" doc:"genesis id"`
	Name    string       `json:"name"`
	Shards  []ShardSize  `json:"shards" nullable:"false" doc:"by shard"`
	Reports []Report     `json:"reports" nullable:"false" doc:"that of the answering replica first"`
	Failed  []Unreported `json:"failed" nullable:"false" doc:"replicas that were asked and gave no report"`
	AgeMS   int64        `json:"age_ms" doc:"age of the reports of other replicas in milliseconds"`
}

// Health is the state of a replica as far as it is known.
type Health string

// The states of a replica. Ready and NotReady are the replica's own report.
const (
	HealthReady    Health = "ready"
	HealthNotReady Health = "not ready"
	HealthAnswers  Health = "answers" // Pings of another replica; it was not asked for a report, or gave none
	HealthSilent   Health = "silent"  // it answers no Pings of the replicas that report
	HealthUnknown  Health = "unknown" // no replica of its shard reports
)

// ReplicaState is one replica in a [NetworkState]. A missing value is not known.
type ReplicaState struct {
	Shard       uint16  `json:"shard"`
	Replica     uint16  `json:"replica"`
	Leader      *bool   `json:"leader,omitempty"`        // it leads the newest epoch that its shard reports
	Height      *uint64 `json:"height,omitempty,string"` // by its report, else the greatest that others saw
	Lag         *uint64 `json:"lag,omitempty"`           // blocks below the greatest height that is known of its shard
	RoundTripUS *int64  `json:"rtt_us,omitempty"`        // shortest round trip that a replica of its shard reports, in microseconds
	SilentMS    *int64  `json:"silent_ms,omitempty"`     // milliseconds since a replica of its shard last heard it
	Health      Health  `json:"health"`                  // ready, not ready, answers, silent or unknown
	Reason      string  `json:"reason"`                  // of the health, and the faults of the replica; empty if it is ready without faults
	URL         string  `json:"url,omitempty"`           // of its API, if it was asked directly
}

// Quorum tells whether n-f replicas of a shard answer.
type Quorum string

// A shard has a quorum if a replica of it reports so.
const (
	QuorumYes     Quorum = "yes"
	QuorumNone    Quorum = "none"
	QuorumUnknown Quorum = "unknown"
)

// ShardState is one shard in a [NetworkState]. A missing value is not known.
type ShardState struct {
	Shard     uint16   `json:"shard"`
	Replicas  int      `json:"replicas"`
	Reports   int      `json:"reports"`                 // replicas whose own report is known
	Needed    int      `json:"needed"`                  // n-f
	Answering *int     `json:"answering,omitempty"`     // greatest number that a replica of it reports
	Quorum    Quorum   `json:"quorum"`                  // yes, none or unknown
	Epoch     *uint64  `json:"epoch,omitempty"`         // newest that is reported
	Leader    *uint16  `json:"leader,omitempty"`        // of that epoch
	Height    *uint64  `json:"height,omitempty,string"` // greatest that is known
	Rate      *float64 `json:"rate,omitempty"`          // ordered transactions a second
	P50MS     *float64 `json:"p50_ms,omitempty"`        // median latency, of the replica with the slowest
	WaitingMS *int64   `json:"waiting_ms,omitempty"`    // for which work has waited without a commit; 0 if none waits
	Reason    string   `json:"reason,omitempty"`        // of a quorum that is none or unknown
}

// NetworkState is the state of all shards as far as reports show it.
type NetworkState struct {
	Network  string         `json:"network"` // genesis id
	Name     string         `json:"name"`
	Shards   []ShardState   `json:"shards"`
	Replicas []ReplicaState `json:"replicas"`
}

func ptr[T any](v T) *T { return &v }

// Combine makes one state of reports. Each replica counts as that which it reports about itself; about the others the
// best observation counts. Of several reports of one replica the first counts. A report names a shard and replica that
// exist, or is ignored.
func Combine(n NetworkReports) NetworkState {
	out := NetworkState{Network: n.Network, Name: n.Name}
	own := make([]map[uint16]*Report, len(n.Shards))
	for i := range n.Reports {
		r := &n.Reports[i]
		if int(r.Shard) >= len(n.Shards) || int(r.Replica) >= n.Shards[r.Shard].Replicas {
			continue
		}
		if own[r.Shard] == nil {
			own[r.Shard] = make(map[uint16]*Report)
		}
		if own[r.Shard][r.Replica] == nil {
			own[r.Shard][r.Replica] = r
		}
	}
	for s, size := range n.Shards {
		shard := shardState(uint16(s), size, own[s])
		replicas := make([]ReplicaState, size.Replicas)
		for i := range replicas {
			replicas[i] = replicaState(uint16(s), uint16(i), own[s], shard.Leader)
			if h := replicas[i].Height; h != nil && (shard.Height == nil || *h > *shard.Height) {
				shard.Height = ptr(*h)
			}
		}
		for i := range replicas {
			if h := replicas[i].Height; h != nil {
				replicas[i].Lag = ptr(*shard.Height - *h)
			}
		}
		for _, f := range n.Failed {
			if int(f.Shard) == s && int(f.Replica) < len(replicas) {
				replicas[f.Replica].fail(f.Reason)
			}
		}
		out.Shards, out.Replicas = append(out.Shards, shard), append(out.Replicas, replicas...)
	}
	return out
}

func shardState(s uint16, size ShardSize, own map[uint16]*Report) ShardState {
	x := ShardState{Shard: s, Replicas: size.Replicas, Needed: size.Needed, Reports: len(own), Quorum: QuorumUnknown}
	if len(own) == 0 {
		x.Reason = "no replica of the shard reports"
		return x
	}
	answering, waiting := 0, int64(0)
	var newest *Report // of the latest epoch, and of the lowest index among these
	for _, r := range own {
		answering, waiting = max(answering, min(r.Answering, size.Replicas)), max(waiting, r.WaitingMS)
		if newest == nil || cmp.Or(cmp.Compare(r.Epoch, newest.Epoch), cmp.Compare(newest.Replica, r.Replica)) > 0 {
			newest = r
		}
		if r.Rate != nil && (x.Rate == nil || *r.Rate > *x.Rate) {
			x.Rate = ptr(*r.Rate)
		}
		if r.LatencyMS != nil && (x.P50MS == nil || *r.LatencyMS > *x.P50MS) {
			x.P50MS = ptr(*r.LatencyMS)
		}
	}
	x.Answering, x.WaitingMS, x.Epoch, x.Leader = &answering, &waiting, ptr(newest.Epoch), ptr(newest.Leader)
	if x.Quorum = QuorumYes; answering < size.Needed {
		x.Quorum, x.Reason = QuorumNone, fmt.Sprintf("%d of %d replicas answer, %d needed", answering, size.Replicas, size.Needed)
	}
	return x
}

func replicaState(s, i uint16, own map[uint16]*Report, leader *uint16) ReplicaState {
	x := ReplicaState{Shard: s, Replica: i, Health: HealthUnknown, Reason: "no replica of the shard reports"}
	if leader != nil {
		x.Leader = ptr(*leader == i)
	}
	observed := x.observe(own)
	switch r := own[i]; {
	case r != nil && r.Ready:
		x.Health, x.Reason = HealthReady, r.Degraded
	case r != nil:
		x.Health, x.Reason = HealthNotReady, r.NotReady
		if r.Degraded != "" {
			x.Reason += "; " + r.Degraded
		}
	case x.Health == HealthAnswers:
		x.Reason = "it answers Pings and gave no report"
	case observed && x.SilentMS != nil:
		x.Health, x.Reason = HealthSilent, fmt.Sprintf("no answer for %v", (time.Duration(*x.SilentMS)*time.Millisecond).Round(time.Second))
	case observed:
		x.Health, x.Reason = HealthSilent, "never heard since the start of the replicas that report"
	}
	if r := own[i]; r != nil {
		x.Height = ptr(r.Height)
	}
	return x
}

// observe adds the results of the Pings of the replicas that report, and returns false if there are none.
func (x *ReplicaState) observe(own map[uint16]*Report) (observed bool) {
	for _, r := range own {
		k := slices.IndexFunc(r.Peers, func(p PeerReport) bool { return p.Replica == x.Replica })
		if r.Replica == x.Replica || k < 0 {
			continue
		}
		observed = true
		p := r.Peers[k]
		if p.Answers {
			x.Health = HealthAnswers
		}
		if p.SilentMS != nil && (x.SilentMS == nil || *p.SilentMS < *x.SilentMS) {
			x.SilentMS = ptr(*p.SilentMS)
		}
		if p.RoundTripUS != nil && (x.RoundTripUS == nil || *p.RoundTripUS < *x.RoundTripUS) {
			x.RoundTripUS = ptr(*p.RoundTripUS)
		}
		if p.Height > 0 && (x.Height == nil || p.Height > *x.Height) {
			x.Height = ptr(p.Height)
		}
	}
	return observed
}

// fail adds the reason why a replica gave no report.
func (x *ReplicaState) fail(reason string) {
	if x.Health == HealthReady || x.Health == HealthNotReady {
		return
	}
	x.Reason += "; " + reason
}
