package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"bdtnode/node/api"
	"bdtnode/node/foreign"
	"bdtnode/protocols"
)

const (
	// maxReported is the number of replicas of each shard that are asked for their reports.
	maxReported = 16
	// reportTime is the time for the reports of all replicas.
	reportTime = 500 * time.Millisecond
	// reportAge is the age up to which the reports of other replicas serve all calls.
	reportAge = time.Second
	// maxReport is the largest report, in bytes: one line of some 120 bytes for each of 100 replicas.
	maxReport = 32 << 10
	// rateOver is the time over which a rate is measured.
	rateOver = 10
)

// rate measures ordered transactions a second.
type rate struct {
	mu   sync.Mutex
	at   [rateOver + 1]time.Time // a ring of readings, one a second
	txs  [rateOver + 1]uint64
	next int
}

// note notes a reading if a second has passed since the last one.
func (r *rate) note(now time.Time, txs uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.at)
	if last := r.at[(r.next+n-1)%n]; !last.IsZero() && now.Sub(last) < time.Second {
		return
	}
	r.at[r.next], r.txs[r.next] = now, txs
	r.next = (r.next + 1) % n
}

// read is the rate since the oldest reading, nil in the first second.
func (r *rate) read(now time.Time, txs uint64) *float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.at {
		k := (r.next + i) % len(r.at) // the oldest reading first
		if d := now.Sub(r.at[k]); !r.at[k].IsZero() && d >= time.Second {
			x := float64(txs-r.txs[k]) / d.Seconds()
			return &x
		}
	}
	return nil
}

// report is the report of this replica.
func (n *Node) report() api.Report {
	h, seen := n.health(), n.engine.Presence()
	tip, _, _ := n.chain.Tip()
	r := api.Report{
		Shard: n.home.Shard, Replica: uint16(n.home.Replica), Epoch: h.epoch, Leader: h.leader, Height: tip.Height,
		NotReady: h.notReady(), Degraded: h.degraded(), Answering: h.answering, WaitingMS: h.waited.Milliseconds(),
		Rate: n.rate.read(time.Now(), tip.Txs), Peers: []api.PeerReport{},
	}
	r.Ready = r.NotReady == ""
	if ms := n.engine.Latency().Seconds() * 1000; ms > 0 {
		r.LatencyMS = &ms
	}
	for i := range n.committee.N() {
		i := protocols.Index(i)
		if i == n.home.Replica {
			continue
		}
		p := api.PeerReport{Replica: uint16(i), Answers: seen.Answers(i, seen.Now), Height: n.engine.PeerHeight(i)}
		if c := seen.Peers[i]; c.Answered != 0 {
			silent, trip := max(seen.Now.Sub(c.Answered), 0).Milliseconds(), c.RoundTrip.Microseconds()
			p.SilentMS, p.RoundTripUS = &silent, &trip
		}
		r.Peers = append(r.Peers, p)
	}
	return r
}

// otherReports are the newest reports of other replicas. Concurrent calls share them, so clients cause at most one round of
// questions in reportAge.
type otherReports struct {
	mu      sync.Mutex
	at      time.Time
	reports []api.Report
	failed  []api.Unreported
}

// Network implements [api.Backend].
func (b backend) Network(ctx context.Context, others bool) api.NetworkReports {
	out := api.NetworkReports{
		Network: b.committee.Network().String(), Name: b.home.Genesis.Name,
		Reports: []api.Report{b.report()}, Failed: []api.Unreported{},
	}
	for s := range b.home.Genesis.Shards {
		c := b.network.Committee(uint16(s))
		out.Shards = append(out.Shards, api.ShardSize{Replicas: c.N(), Needed: c.Quorum()})
	}
	if !others {
		return out
	}
	reports, failed, age := b.others.get(ctx, b.askReports)
	out.Reports, out.Failed, out.AgeMS = append(out.Reports, reports...), append(out.Failed, failed...), age.Milliseconds()
	return out
}

// get returns the reports and their age. It asks for new ones if they are older than [reportAge]; concurrent calls wait for
// the same answers. It returns none if ctx has ended before.
func (o *otherReports) get(ctx context.Context, ask func() ([]api.Report, []api.Unreported)) ([]api.Report, []api.Unreported, time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ctx.Err() != nil {
		return nil, nil, 0
	}
	if time.Since(o.at) > reportAge {
		// Not bounded by ctx: the answers serve the concurrent calls too.
		o.reports, o.failed = ask()
		o.at = time.Now()
	}
	return o.reports, o.failed, time.Since(o.at)
}

// askReports asks up to maxReported replicas of each shard for their reports, all at once.
func (n *Node) askReports() (reports []api.Report, failed []api.Unreported) {
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for s := range n.home.Genesis.Shards {
		for k, i := range n.net.Reachable(uint16(s)) {
			if k == maxReported {
				break
			}
			wg.Go(func() {
				r, err := n.askReport(ctx, uint16(s), i)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					reports = append(reports, r)
					return
				}
				if errors.Is(err, context.DeadlineExceeded) {
					err = fmt.Errorf("no report within %v", reportTime)
				}
				failed = append(failed, api.Unreported{Shard: uint16(s), Replica: uint16(i), Reason: err.Error()})
			})
		}
	}
	wg.Wait()
	return reports, failed
}

func (n *Node) askReport(ctx context.Context, s uint16, i protocols.Index) (r api.Report, err error) {
	call, err := json.Marshal(foreign.Call{Report: &foreign.Report{}})
	if err != nil {
		return r, err
	}
	raw, err := n.peers.Call(ctx, s, i, call, maxReport)
	if err != nil {
		return r, err
	}
	return readReport(raw, s, i)
}

// readReport reads the answer of a replica, which must be a report of itself. Its texts are shown on terminals, so they may
// have no control characters.
func readReport(raw []byte, s uint16, i protocols.Index) (r api.Report, err error) {
	if err := foreign.DecodeReply(raw, &r); err != nil {
		return api.Report{}, err
	}
	if r.Shard != s || r.Replica != uint16(i) {
		return api.Report{}, fmt.Errorf("it reports as replica %d of shard %d", r.Replica, r.Shard)
	}
	if strings.ContainsFunc(r.NotReady+r.Degraded, unicode.IsControl) {
		return api.Report{}, errors.New("its report has control characters")
	}
	return r, nil
}
