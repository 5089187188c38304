package sim

import (
	"context"
	"math/rand/v2"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

// epoch is the begin of virtual time.
const epoch protocols.Time = 1_700_000_000_000_000_000

// world is the common state of a run's shards: time, random numbers, events, and the first violation.
type world struct {
	ctx         context.Context // a run lasts seconds; the context can end it earlier
	cfg         *Config
	rng         *rand.Rand
	now         protocols.Time
	queue       queue
	log         *happenings
	active      bool // there are load and faults
	muted       bool // Pings are not carried: half an hour of them would cost more processor time than the rest of a run
	scheme      sig.Scheme
	id          digest.Digest // of the network
	peers       *settlement.Network
	shards      []*cluster
	crossing    *crossing
	settling    *settling
	payers      *payers
	submissions *submissions
	violation   *Violation
}

func newWorld(ctx context.Context, cfg Config) *world {
	w := &world{
		ctx: ctx, cfg: &cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0xb017d0b0)), now: epoch, log: newHappenings(), active: true,
		scheme: sig.NewIdeal(cfg.Seed), id: digest.Of("bdt/simulated-network/1", []byte{byte(cfg.Seed), byte(cfg.Seed >> 8)}),
	}
	if cfg.Ed25519 {
		w.scheme = sig.NewEd25519()
	}
	return w
}

// found makes the shards.
func (w *world) found() error {
	var committees []*protocols.Committee
	for k := range w.cfg.Shards {
		s := &cluster{
			world: w, cfg: &w.cfg.Shards[k], shard: uint16(k), trace: trace{w.log, k},
			syncMean: 300 * time.Microsecond, execMean: 500 * time.Microsecond,
		}
		s.keys(len(w.cfg.Shards))
		if err := s.deal(); err != nil {
			return err
		}
		keys := make([]sig.PublicKey, s.cfg.Nodes)
		for i := range keys {
			keys[i] = s.signers[i].Public()
		}
		c, err := protocols.NewCommittee(w.id, s.shard, keys)
		if err != nil {
			return err
		}
		s.committee, committees = c, append(committees, c)
		s.clients = newClients(s)
		w.shards = append(w.shards, s)
	}
	w.peers = settlement.NetworkOf(committees)
	w.crossing, w.settling, w.payers, w.submissions = newCrossing(w), newSettling(w), newPayers(w), newSubmissions(w)
	var allocations []ledger.Allocation
	for _, s := range w.shards {
		allocations = append(allocations, s.clients.allocations()...)
	}
	for _, s := range w.shards {
		s.kinds = w.peers.Kinds(s.shard)
		s.ledger = ledger.Config{
			Network: w.id, Shard: s.shard, Home: w.peers.Home, GenesisTimeMS: epoch.Millis(),
			HorizonMS: uint64(time.Hour / time.Millisecond), Allocations: allocations,
		}
		if len(w.shards) > 1 {
			s.ledger.Rules = settlement.Standard()
		}
		s.check = newChecks(s)
		s.network = newNetwork(s)
		for i := range s.cfg.Nodes {
			s.nodes = append(s.nodes, newNode(s, protocols.Index(i), i))
		}
		for _, l := range s.cfg.Liars {
			s.nodes[l.Replica].adversary = l.Adversary
			if twinned(l.Adversary) {
				n := newNode(s, l.Replica, len(s.nodes))
				n.adversary = l.Adversary
				s.nodes = append(s.nodes, n)
			}
		}
	}
	return nil
}

// keys makes a signer for each replica and account of the shard. The home shard of the accounts is this one.
func (s *cluster) keys(shards int) {
	for i := uint64(0); len(s.signers) < s.cfg.Nodes+accounts; i++ {
		k := s.signer(uint64(s.shard)<<12 + i)
		if len(s.signers) < s.cfg.Nodes || shard.Home(ledger.AddressOf(k.Public()), shards) == s.shard {
			s.signers = append(s.signers, k)
		}
	}
}

// signer is the signer of a number.
func (w *world) signer(i uint64) sig.Signer {
	if ideal, ok := w.scheme.(*sig.Ideal); ok {
		return ideal.Signer(i)
	}
	seed := digest.Of("bdt/simulated-key/1", w.id[:], []byte{byte(i), byte(i >> 8)})
	k, err := sig.Ed25519FromSeed(seed[:])
	if err != nil {
		panic(err) // a digest has the length of a seed
	}
	return k
}

// play carries out events until a time, or until the run is over.
func (w *world) play(until protocols.Time) {
	for k := 1; w.queue.Len() > 0 && w.queue.events[0].at <= until; k++ {
		if w.violation != nil || k%4096 == 0 && w.ctx.Err() != nil {
			return
		}
		e := w.queue.next()
		w.now = e.at
		e.what()
	}
	if w.violation == nil {
		w.now = max(w.now, until)
	}
}

// over reports whether the run has to end.
func (w *world) over() bool { return w.violation != nil || w.ctx.Err() != nil }

// failed records the first violation and ends the run.
func (w *world) failed(check, detail string) {
	if w.violation == nil {
		w.violation = &Violation{Config: w.cfg, Step: w.log.steps, At: w.now.Sub(epoch), Check: check, Detail: detail, Events: w.log.last()}
	}
}

func (w *world) at(t protocols.Time, what func()) { w.queue.add(max(t, w.now), what) }

func (w *world) after(d time.Duration, what func()) { w.queue.add(w.now.Add(d), what) }

// between is a random time in a range.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// around is a random time of an exponential distribution with a mean, and at most ten times the mean.
func (w *world) around(mean time.Duration) time.Duration {
	return min(time.Duration(w.rng.ExpFloat64()*float64(mean)), 10*mean)
}

// repeat runs an action at random intervals of a mean, while the run is active.
func (w *world) repeat(mean time.Duration, what func()) {
	w.after(w.around(mean)+time.Millisecond, func() {
		if w.active {
			what()
			w.repeat(mean, what)
		}
	})
}
