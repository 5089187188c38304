// Package machine has the simulated replicas: each is the driver that the process runs, with stores in memory, a virtual
// clock and a model of its disk and its executor.
//
// A step is carried out as in the node: its records are written, then synced if needed, then its messages are sent, then
// its outputs are acted on. A crash keeps all synced records and a random prefix of the others in the consensus store, and a
// random prefix of the effects in the ledger's store. The records of blocks whose effects survive survive too. Every message is encoded, decoded and checked as on the wire.
package machine

import (
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
)

// Config is the machines of a run.
type Config struct {
	Seed     uint64
	Ed25519  bool          // production signatures and coin, in place of ideal ones
	Dumbo    bool          // there is no fast lane
	Log      bool          // the shard orders opaque payloads
	Accounts int           // whose home is each shard
	Apart    time.Duration // mean one-way delay between shards
	Shards   []ShardConfig
}

// ShardConfig is the machines of a shard.
type ShardConfig struct {
	Replicas  int
	Delay     time.Duration     // as in [network.Config]
	Links     [][]time.Duration // as in [network.Config]
	Slots     uint64            // of an epoch; 0 is the usual number
	Vouched   int               // entries of a batch from which on replicas vouch for its signatures; 0: they vouch for none
	Limits    admission.Limits
	Byzantine []Byzantine
	Hostile   adversary.Hostile // nil if at most f replicas are Byzantine
	Mutation  Mutation
}

// Byzantine is a Byzantine replica.
type Byzantine struct {
	Replica   protocols.Index
	Behaviour adversary.Behaviour
}

// Mutation makes machines carry out steps wrongly, for tests that show that the checks can fail.
type Mutation struct {
	Persist     func([]protocols.Record) []protocols.Record
	SendEarly   bool // messages leave before their records are on disk
	LedgerFirst bool // effects of blocks become durable before the records of the blocks
}

// Twins is a behaviour of a replica that is two nodes.
type Twins interface{ Twins() }

// Processes is a behaviour of a replica that is two processes, each as honest as the process of the node.
type Processes interface {
	// Reaches reports whether a message of a peer reaches a process.
	Reaches(peer, to *Machine, m protocols.Message) bool
	// Greeted is called when a peer takes a message of one of the processes.
	Greeted(peer, from *Machine, m protocols.Message)
}

// Twinned reports whether a replica with this behaviour is two nodes.
func Twinned(b adversary.Behaviour) bool {
	for _, part := range adversary.Parts(b) {
		if _, is := part.(Twins); is {
			return true
		}
	}
	return false
}

// Places is the number of nodes: twins are two.
func (x *ShardConfig) Places() int {
	n := x.Replicas
	for _, b := range x.Byzantine {
		if Twinned(b.Behaviour) {
			n++
		}
	}
	return n
}

// Faulty is the number of replicas that may be Byzantine or fail for good.
func (x *ShardConfig) Faulty() int { return (x.Replicas - 1) / 3 }

// Checks has the checks of a run that machines report to. They also know which LDs the shards made.
type Checks interface {
	observe.Network
	// MadeLD is the digest of the LD that a shard made for another one under a number; ok is false if it made none.
	MadeLD(source, destination uint16, number uint64) (d digest.Digest, ok bool)
	// HostileDelivery is the delivery that a hostile shard gives to a replica of another one under a number.
	HostileDelivery(source, destination uint16, number uint64, to protocols.Index) *ledger.Delivery
}

// System is all machines of a run, and the network between the shards.
type System struct {
	*clock.Clock
	Shards     []*Shard
	CrossShard *network.CrossShard
	Peers      *settlement.Network
	ID         digest.Digest // of the network
	Scheme     sig.Scheme
	// Gossiped is called with each packet of gossip that a machine takes. It may be nil.
	Gossiped func(from, to *Machine, p network.Packet)
	Muted    bool // Pings are not carried: half an hour of them would cost more processor time than the rest of a run

	cfg    Config
	checks Checks
}

// New makes the keys of all shards. Their machines are made by [Shard.Build].
func New(c *clock.Clock, log *trace.Log, cfg Config) (*System, error) {
	w := &System{
		Clock: c, cfg: cfg, Scheme: sig.NewIdeal(cfg.Seed),
		ID: digest.Of("bdt/simulated-network/1", []byte{byte(cfg.Seed), byte(cfg.Seed >> 8)}),
	}
	if cfg.Ed25519 {
		w.Scheme = sig.NewEd25519()
	}
	var committees []*protocols.Committee
	for k := range cfg.Shards {
		s := &Shard{System: w, Config: &cfg.Shards[k], Number: uint16(k), Trace: trace.Shard{Log: log, Number: k}, SyncMean: syncMean, ExecMean: execMean}
		s.keys()
		if err := s.deal(); err != nil {
			return nil, err
		}
		keys := make([]sig.PublicKey, s.Config.Replicas)
		for i := range keys {
			keys[i] = s.Signers[i].Public()
		}
		c, err := protocols.NewCommittee(w.ID, s.Number, keys)
		if err != nil {
			return nil, err
		}
		s.Committee, committees = c, append(committees, c)
		w.Shards = append(w.Shards, s)
	}
	w.Peers = settlement.NetworkOf(committees)
	w.CrossShard = network.NewCrossShard(w.Clock, len(w.Shards), cfg.Apart)
	return w, nil
}

// SetChecks sets the checks to which all machines report.
func (w *System) SetChecks(c Checks) { w.checks = c }

// signer is the signer of a number.
func (w *System) signer(i uint64) sig.Signer {
	if ideal, ok := w.Scheme.(*sig.Ideal); ok {
		return ideal.Signer(i)
	}
	seed := digest.Of("bdt/simulated-key/1", w.ID[:], []byte{byte(i), byte(i >> 8)})
	k, err := sig.Ed25519FromSeed(seed[:])
	if err != nil {
		panic(err) // a digest has the length of a seed
	}
	return k
}
