package sim

import (
	"fmt"
	"runtime/debug"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
)

// cluster is one shard of a run: its replicas, the network between them, and its clients.
type cluster struct {
	*world
	cfg         *Shard
	shard       uint16
	trace       trace
	network     *network
	nodes       []*node
	clients     *clients
	check       *checks
	committee   *protocols.Committee
	coin        toss.Scheme
	shares      []toss.Holder // of the coin, by replica
	signers     []sig.Signer  // of the replicas, then of the accounts
	ledger      ledger.Config
	kinds       ledger.Kinds // of entries of batches
	syncMean    time.Duration
	execMean    time.Duration
	crashPoints *Crashes // nil if replicas do not crash at chosen places
}

// heal ends all faults.
func (s *cluster) heal() {
	s.trace.add(s.now, "heal", -1, -1, nil, nil)
	s.network.heal()
	s.syncMean, s.execMean = 300*time.Microsecond, 500*time.Microsecond
	for i, n := range s.nodes {
		if !n.alive {
			s.guard(n, n.start)
		}
		s.network.up(i)
	}
}

// guard runs code of a replica. A panic in an honest replica is a violation: a broken invariant. The machines of a
// Byzantine replica may panic because of its adversary's messages; it is down then.
func (s *cluster) guard(n *node, what func()) {
	defer func() {
		if r := recover(); r != nil {
			if !n.guards() {
				n.alive = false
				s.trace.add(s.now, "broken", n.place, -1, nil, r)
				return
			}
			s.fail("invariant", "replica %d: %v\n%s", n.id, r, debug.Stack())
		}
	}()
	what()
}

// leading is the leader of the newest epoch that a replica is in.
func (s *cluster) leading() *node {
	var epoch uint64
	leader := protocols.Index(0)
	for _, n := range s.nodes {
		if n.alive && n.adversary == nil {
			if st := n.core.Status(); st.Epoch > epoch {
				epoch, leader = st.Epoch, st.Leader
			}
		}
	}
	return s.nodes[leader]
}

// honest lists the replicas that are neither Byzantine nor down for good.
func (s *cluster) honest() []*node {
	var out []*node
	for _, n := range s.nodes {
		if n.adversary == nil && !n.dead {
			out = append(out, n)
		}
	}
	return out
}

// fail records the first violation and ends the run.
func (s *cluster) fail(check, format string, args ...any) {
	detail := fmt.Sprintf(format, args...)
	if len(s.shards) > 1 {
		detail = fmt.Sprintf("shard %d: %s", s.shard, detail)
	}
	s.failed(check, detail)
}
