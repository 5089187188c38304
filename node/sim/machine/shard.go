package machine

import (
	"runtime/debug"
	"time"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	toss "bdtnode/protocols/coin"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

// Mean times of a sync and of the execution of a block, without disturbances.
const (
	syncMean = 300 * time.Microsecond
	execMean = 500 * time.Microsecond
)

// Shard is one shard of a run: its machines, and the network between them.
type Shard struct {
	*System
	Config    *ShardConfig
	Number    uint16
	Trace     trace.Shard
	Network   *network.Network
	Machines  []*Machine // by place
	Committee *protocols.Committee
	Coin      toss.Scheme
	Signers   []sig.Signer // of the replicas, then of the accounts
	Ledger    ledger.Config
	SyncMean  time.Duration
	ExecMean  time.Duration
	// CrashPoint is called at places where a crash is seldom at a random moment. It reports whether it crashed the
	// machine. It may be nil.
	CrashPoint func(n *Machine) bool
	// Junk makes a well-formed transaction that can never settle.
	Junk func() *ledger.Tx

	check  observe.Shard
	shares []toss.Holder // of the coin, by replica
	kinds  ledger.Kinds  // of entries of batches
	nonce  uint64        // of the last start of a machine
}

// keys makes a signer for each replica and account of the shard. The home shard of the accounts is this one.
func (s *Shard) keys() {
	replicas := s.Config.Replicas
	for i := uint64(0); len(s.Signers) < replicas+s.cfg.Accounts; i++ {
		k := s.signer(uint64(s.Number)<<12 + i)
		if len(s.Signers) < replicas || shard.Home(ledger.AddressOf(k.Public()), len(s.cfg.Shards)) == s.Number {
			s.Signers = append(s.Signers, k)
		}
	}
}

// Build makes the machines and their network. The allocations are those of all shards.
func (s *Shard) Build(allocations []ledger.Allocation, checks observe.Shard) {
	s.check = checks
	s.kinds = s.Peers.Kinds(s.Number)
	s.Ledger = ledger.Config{
		Network: s.ID, Shard: s.Number, Home: s.Peers.Home, GenesisTimeMS: clock.Begin.Millis(),
		HorizonMS: uint64(time.Hour / time.Millisecond), Allocations: allocations,
	}
	if len(s.Shards) > 1 {
		s.Ledger.Rules = settlement.Standard()
	}
	s.Network = network.New(s.Clock, s.Trace, network.Config{
		Places: s.Config.Places(), Delay: s.Config.Delay, Links: s.Config.Links, Carried: checks.Carried,
	})
	for i := range s.Config.Replicas {
		s.Machines = append(s.Machines, newMachine(s, protocols.Index(i), i))
	}
	for _, b := range s.Config.Byzantine {
		s.Machines[b.Replica].corrupt(b.Behaviour)
		if Twinned(b.Behaviour) {
			n := newMachine(s, b.Replica, len(s.Machines))
			n.corrupt(b.Behaviour)
			s.Machines = append(s.Machines, n)
		}
	}
	for _, n := range s.Machines {
		s.Network.Join(n)
	}
}

// Heal ends all disturbances.
func (s *Shard) Heal() {
	s.Trace.Add(s.Now(), "heal", -1, -1, nil, nil)
	s.Network.Heal()
	s.SyncMean, s.ExecMean = syncMean, execMean
	for i, n := range s.Machines {
		if !n.alive {
			n.Start()
		}
		s.Network.Up(i)
	}
}

// guard runs code of a machine. A panic in an honest replica is a violation: a broken invariant. The code of a Byzantine
// replica may panic because of its adversary's messages; it is down then.
func (s *Shard) guard(n *Machine, action func()) {
	defer func() {
		if r := recover(); r != nil {
			if !n.Guarded() {
				n.alive = false
				s.Trace.Add(s.Now(), "broken", n.place, -1, nil, r)
				return
			}
			s.Fail("invariant", "replica %d: %v\n%s", n.id, r, debug.Stack())
		}
	}()
	action()
}

// Holder is a replica's holder of its share of the coin.
func (s *Shard) Holder(i int) toss.Holder { return s.shares[i] }

// crashPoint calls CrashPoint if it is set.
func (s *Shard) crashPoint(n *Machine) bool { return s.CrashPoint != nil && s.CrashPoint(n) }

// Leading is the leader of the newest epoch that a replica is in.
func (s *Shard) Leading() *Machine {
	var epoch uint64
	leader := protocols.Index(0)
	for _, n := range s.Machines {
		if n.alive && n.adversary == nil {
			if st := n.core.Status(); st.Epoch > epoch {
				epoch, leader = st.Epoch, st.Leader
			}
		}
	}
	return s.Machines[leader]
}

// Honest lists the replicas that are neither Byzantine nor down for good.
func (s *Shard) Honest() []*Machine {
	var out []*Machine
	for _, n := range s.Machines {
		if n.adversary == nil && !n.dead {
			out = append(out, n)
		}
	}
	return out
}

// reach is the node that a connection from outside the shard reaches: one of the two if the replica is twins.
func (s *Shard) reach(id protocols.Index) *Machine {
	to := s.Machines[id]
	for _, n := range s.Machines[s.Config.Replicas:] {
		if n.id == id && s.Rand.IntN(2) == 0 {
			to = n
		}
	}
	return to
}

// Newer returns a function that reports whether all running replicas have received newer signatures of a machine since.
// With votes it must be a vote, and no newer header.
func (s *Shard) Newer(n *Machine) func(votes bool) bool { return s.check.Newer(n) }

// Fail records a violation. The first one ends the run.
func (s *Shard) Fail(check, format string, args ...any) { s.check.Fail(check, format, args...) }
