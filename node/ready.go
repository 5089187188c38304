package node

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/engine"
	"bdtnode/protocols"
)

// maxUncommitted is the longest time for which work may wait without any commit while a replica counts as ready. It is
// several times the time of a commit between distant regions, including an epoch change.
const maxUncommitted = 5 * time.Second

// reading is the set of values that decide readiness.
type reading struct {
	replicas, quorum int
	answering        int           // engines of the shard that answered lately, including this one
	waited           time.Duration // how long work has been known, since the last commit at the earliest
	work             engine.Work   // kind of that work
	behind           bool          // others have certified blocks that this replica does not have
	height           uint64        // committed height
	clockOffset      time.Duration // offset of the shard's clocks from this replica's clock
	clockOff         bool          // the offset is too large
	unsigned         bool          // too few peers have answered this start, so the replica signs nothing
	answers, needed  int           // answers of peers to this start
	twins            []twin        // peers that run as two processes
	unreached        []string      // bootstrap members without a connection, if no other member of the shard is connected either
	sync             time.Duration // time of a slow sync of the consensus store lately, 0 if there was none
	full             bool          // transactions were refused lately for lack of room in the mempool
	txs, bytes       int           // of the mempool
	frozen           protocols.Set // lanes of which nothing is executed any more
	cut              []uint16      // other shards of which no replica is connected
}

// twin is a second process of a peer.
type twin struct {
	replica      uint16
	fenced, kept uint64 // numbers of the starts
	ago          time.Duration
}

// twinAge is how long a second process of a peer is reported after its last message.
const twinAge = 10 * time.Minute

// obstacle is a kind of reason why a replica is not ready.
type obstacle string

// The obstacles, the first that applies counts.
const (
	noObstacle obstacle = ""
	unsigned   obstacle = "start"       // too few peers have answered this start
	noQuorum   obstacle = "no quorum"   // too few replicas answer
	wrongClock obstacle = "clock"       // the clock is behind the shard's
	behind     obstacle = "catching up" // others have certified blocks that this replica lacks
	stalled    obstacle = "stalled"     // work waits and nothing is committed
)

// obstacles are the kinds of reasons, for metrics.
var obstacles = []obstacle{unsigned, noQuorum, wrongClock, behind, stalled}

// obstacle is the first obstacle to readiness, empty if the replica is ready.
func (r *reading) obstacle() obstacle {
	switch {
	case r.unsigned:
		return unsigned
	case r.answering < r.quorum:
		return noQuorum
	case r.clockOff && r.clockOffset > 0:
		return wrongClock
	case r.behind:
		return behind
	case r.waited >= maxUncommitted:
		return stalled
	}
	return noObstacle
}

// notReady is the reason why the replica is not ready, empty if it is ready.
func (r *reading) notReady() string {
	few := fmt.Sprintf("%d of %d replicas answer, %d needed", r.answering, r.replicas, r.quorum)
	if len(r.unreached) > 0 {
		few += "; not connected to bootstrap replica " + strings.Join(r.unreached, ", ")
	}
	switch r.obstacle() {
	case unsigned:
		return fmt.Sprintf("signs nothing until %d peers have answered this start: %d have; %s", r.needed, r.answers, few)
	case noQuorum:
		if r.waited >= maxUncommitted {
			return r.uncommitted() + "; " + few
		}
		return few
	case wrongClock:
		return r.clock() + ": it votes for no block until the clock is corrected"
	case behind:
		return fmt.Sprintf("catching up: at height %d", r.height)
	case stalled:
		return r.uncommitted() + fmt.Sprintf("; %d of %d replicas answer", r.answering, r.replicas)
	case noObstacle, unlogged:
	}
	return ""
}

func (r *reading) uncommitted() string {
	return fmt.Sprintf("no commit for %d s although %s", int(r.waited.Seconds()), r.work)
}

// degraded describes faults of the replica, which may exist while it is ready. It is empty if there are none.
func (r *reading) degraded() string {
	var all []string
	switch {
	case r.clockOff && r.clockOffset > 0:
		all = append(all, r.clock())
	case r.clockOff:
		all = append(all, r.clock()+": the other replicas refuse its blocks while it is the leader")
	}
	for _, t := range r.twins {
		all = append(all, fmt.Sprintf("replica %d runs as two processes: start %d was fenced %s ago, start %d is kept",
			t.replica, t.fenced, t.ago.Round(time.Second), t.kept))
	}
	if r.sync > 0 {
		all = append(all, fmt.Sprintf("the disk is slow: a sync of the consensus store takes %v", r.sync.Round(100*time.Millisecond)))
	}
	if r.full {
		all = append(all, fmt.Sprintf("the mempool is full, or the share of it that one client may have: it has %d transactions of %.1f MiB", r.txs, float64(r.bytes)/(1<<20)))
	}
	for _, i := range r.frozen.Members() {
		all = append(all, fmt.Sprintf("the lane of replica %d is frozen: none of its batches is executed any more", i))
	}
	for _, s := range r.cut {
		all = append(all, fmt.Sprintf("no replica of shard %d is connected", s))
	}
	return strings.Join(all, "; ")
}

func (r *reading) clock() string {
	side, off := "behind", r.clockOffset
	if off < 0 {
		side, off = "ahead of", -off
	}
	return fmt.Sprintf("the clock is %s %s the shard's", off.Round(time.Millisecond), side)
}

// read collects the values that decide readiness.
func (n *Node) read() reading {
	p, s, start := n.engine.Presence(), n.engine.Status(), n.engine.Standing()
	r := reading{
		replicas: n.committee.N(), quorum: n.committee.Quorum(), answering: p.Answering(),
		behind: s.Behind, height: s.Committed, clockOffset: p.ClockOffset, clockOff: p.ClockOff,
	}
	if since, work := n.engine.Waiting(); !since.IsZero() {
		r.waited, r.work = time.Since(since), work
	}
	r.unsigned, r.answers, r.needed = !start.Running, start.Answered, start.Needed
	for _, t := range start.Twins {
		if ago := p.Now.Sub(t.At); ago < twinAge {
			r.twins = append(r.twins, twin{uint16(t.Replica), t.Boot, t.Kept, ago})
		}
	}
	r.sync, r.frozen = n.engine.SlowestSync(), s.Frozen
	pool := n.engine.InspectClients()
	r.full, r.txs, r.bytes = n.fullness.lately(time.Now(), n.engine.Refusals(ledger.ReasonBookFull)), pool.Txs, pool.Bytes
	for shard := range n.home.Genesis.Shards {
		if uint16(shard) != n.home.Shard && len(n.net.Reachable(uint16(shard))) == 0 {
			r.cut = append(r.cut, uint16(shard))
		}
	}
	if n.net.ReadyPeers() == 0 {
		r.unreached = n.unreachedBootstraps()
	}
	return r
}

// fullAge is the time for which a mempool counts as full after it refused a transaction for lack of room.
const fullAge = 10 * time.Second

// fullness notes when a mempool last refused a transaction for lack of room.
type fullness struct {
	mu      sync.Mutex
	refused uint64 // such transactions since the start
	at      time.Time
}

// lately notes the number of such transactions since the start, and reports whether it grew in the last [fullAge].
func (f *fullness) lately(now time.Time, refused uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if refused > f.refused {
		f.refused, f.at = refused, now
	}
	return !f.at.IsZero() && now.Sub(f.at) < fullAge
}

// unreachedBootstraps are the bootstrap members of this replica that are not connected, as SHARD/REPLICA.
func (n *Node) unreachedBootstraps() (out []string) {
	list := n.net.Inspect()
	for i := range list {
		m := &list[i]
		named := slices.ContainsFunc(n.home.Config.P2P.Bootstrap, func(a string) bool { return strings.HasSuffix(a, "/p2p/"+m.ID) })
		if name := fmt.Sprintf("%d/%d", m.Shard, m.Index); named && !m.Connected && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
