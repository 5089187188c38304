package mvba

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// The simulator runs one instance among n replicas on a virtual clock, from a seed. Links lose only messages of broken
// connections and crashes, and the sender sends these again after the reconnect. The invariants are checked after every
// step; at the end, every honest replica must have decided.

// plan has the parameters of one run. All of them follow from n and the seed, unless a test sets them.
type plan struct {
	n         int
	seed      uint64
	byzantine int
	strategy  string  // name of the adversary
	schedule  string  // distribution of message delays
	duplicate float64 // probability for each message
	breaks    float64 // probability of a broken connection at each delivery
	crashes   int     // largest number of crashes
	real      bool    // Ed25519 and the Diffie-Hellman coin
	encode    bool    // encode and decode every message
}

var (
	strategies = []string{"silent", "selective", "twins", "arbitrary", "arbitrary", "garbage"}
	schedules  = []string{"even", "wild", "starved", "adversarial", "adversarial"}
)

// planOf draws the plan of a seed.
func planOf(n int, seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	p := plan{n: n, seed: seed}
	p.byzantine = (n - 1) / 3
	if r.IntN(8) == 0 {
		p.byzantine = r.IntN(p.byzantine + 1)
	}
	p.strategy = strategies[r.IntN(len(strategies))]
	p.schedule = schedules[r.IntN(len(schedules))]
	if r.IntN(3) == 0 {
		p.duplicate = 0.1
	}
	if r.IntN(3) == 0 {
		p.breaks = 0.004
	}
	if r.IntN(3) == 0 {
		p.crashes = 1 + r.IntN(n)
	}
	p.encode = seed%10 == 3
	return p
}

// maxDeliveries bounds a run. An instance of 30 rounds needs far fewer.
const maxDeliveries = 500_000

// replica is an honest replica.
type replica struct {
	cfg     Config
	machine *Machine
	store   map[string][]byte
	up      bool
	input   []byte
	decided *Decided

	reached  uint32        // highest round in which it signed a message
	preVoted bool          // whether it pre-voted in that round
	accepts  protocols.Set // broadcasters that it accepted in that round
}

type world struct {
	plan
	rng       *rand.Rand
	committee *protocols.Committee
	scheme    sig.Scheme
	coin      coin.Scheme
	holders   []coin.Holder
	signers   []sig.Signer
	replicas  []*replica // nil for Byzantine replicas
	adversary adversary
	queue     queue
	now       float64
	order     uint64
	delivered int
	crashed   int
	checked   map[checkKey]error
	signed    map[string]string           // statements of honest replicas, by replica and place
	links     map[[2]protocols.Index]bool // broken connections
	victims   protocols.Set               // replicas that the schedule slows down
	value     []byte                      // decided value
	err       error
	faults    int // faults reported by honest replicas
	rounds    uint32
	know      *knowledge
	shown     map[Phase]int                                     // own signatures that certificates showed to honest replicas
	tap       func(from protocols.Index, msg protocols.Message) // called for every message of honest replicas
}

// adversary acts for all Byzantine replicas and sees every message.
type adversary interface {
	// start is called once, at time 0.
	start(w *world)
	// receive is called for every message to a Byzantine replica, when it arrives.
	receive(w *world, from, to protocols.Index, msg protocols.Message)
	// act is called after each delivery of a message of an honest replica.
	act(w *world)
}

var theInstance = Instance{Epoch: 7, Kind: 1, Index: 2}

// validity is the external validity of the simulations.
func validity(value []byte) error {
	if !bytes.HasPrefix(value, []byte("ok:")) {
		return errors.New("does not begin with ok")
	}
	return nil
}

func newWorld(p plan) (*world, error) {
	w := &world{
		plan: p, rng: rand.New(rand.NewPCG(p.seed, 1<<32|uint64(p.n))),
		checked: make(map[checkKey]error), signed: make(map[string]string),
		links: make(map[[2]protocols.Index]bool),
	}
	f := (p.n - 1) / 3
	keys := make([]sig.PublicKey, p.n)
	if p.real {
		w.scheme = sig.NewEd25519()
		for i := range keys {
			var seed [32]byte
			seed[0], seed[1], seed[2] = byte(i), byte(p.seed), 1
			k, err := sig.Ed25519FromSeed(seed[:])
			if err != nil {
				return nil, err
			}
			w.signers = append(w.signers, k)
			keys[i] = k.Public()
		}
		var key [32]byte
		key[0] = byte(p.seed)
		public, secrets, err := coin.Deal(rand.NewChaCha8(key), p.n, f+1)
		if err != nil {
			return nil, err
		}
		for _, s := range secrets {
			w.holders = append(w.holders, s)
		}
		dh, err := coin.NewDH(public, f+1)
		if err != nil {
			return nil, err
		}
		if w.coin, err = coin.NewCached(dh, 1000); err != nil {
			return nil, err
		}
	} else {
		ideal, toss := sig.NewIdeal(p.seed), coin.NewIdeal(p.seed, f+1)
		w.scheme, w.coin = ideal, toss
		for i := range keys {
			w.signers = append(w.signers, ideal.Signer(uint64(i)))
			keys[i] = w.signers[i].Public()
			w.holders = append(w.holders, toss.Holder(protocols.Index(i)))
		}
	}
	var err error
	if w.committee, err = protocols.NewCommittee(digest.Of("test", []byte("network")), 3, keys); err != nil {
		return nil, err
	}
	w.replicas = make([]*replica, p.n)
	bad := w.rng.Perm(p.n)[:p.byzantine]
	for i := range w.replicas {
		if !slices.Contains(bad, i) {
			cfg := w.config(protocols.Index(i))
			w.replicas[i] = &replica{cfg: cfg, store: make(map[string][]byte), input: fmt.Appendf(nil, "ok:%d", i)}
		}
	}
	for i := range protocols.Index(p.n) {
		if w.rng.IntN(p.n) < f {
			w.victims.Add(i)
		}
	}
	w.know = newKnowledge(w)
	w.adversary = adversaries[p.strategy](w)
	return w, nil
}

func (w *world) config(i protocols.Index) Config {
	return Config{Instance: theInstance, Committee: w.committee, Self: i, Signer: w.signers[i], Coin: w.coin,
		Shares: w.holders[i], Valid: validity}
}

// byz lists the Byzantine replicas.
func (w *world) byz() []protocols.Index {
	var out []protocols.Index
	for i, r := range w.replicas {
		if r == nil {
			out = append(out, protocols.Index(i))
		}
	}
	return out
}

// run simulates the instance to its end and returns the first violation.
func (w *world) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	for i, r := range w.replicas {
		if r == nil {
			continue
		}
		w.boot(protocols.Index(i))
		late := w.rng.Float64() * 5
		if w.schedule == "unit" {
			late = 0
		}
		w.after(late, func() { w.input(protocols.Index(i)) })
	}
	w.adversary.start(w)
	for len(w.queue) > 0 && w.err == nil && !w.over() {
		if w.delivered++; w.delivered > maxDeliveries {
			w.fail("no end after %d deliveries, in round %d", w.delivered, w.rounds)
			break
		}
		e := heap.Pop(&w.queue).(*envelope)
		w.now = e.at
		if e.event != nil {
			e.event()
			continue
		}
		w.deliver(e)
		if w.replicas[e.from] != nil { // else the adversary would react to its own messages without end
			w.adversary.act(w)
		}
		w.disturb(e)
	}
	for i, r := range w.replicas {
		if r != nil && r.decided == nil {
			w.fail("replica %d has not decided; it is in round %d", i, r.machine.Round())
		}
	}
	return w.err
}

func (w *world) after(d float64, event func()) { w.push(&envelope{at: w.now + d, event: event}) }

func (w *world) push(e *envelope) {
	w.order++
	e.order = w.order
	heap.Push(&w.queue, e)
}

// boot starts replica i from its store.
func (w *world) boot(i protocols.Index) {
	r := w.replicas[i]
	m, err := Restore(r.cfg, stored(r.store))
	if err != nil {
		w.fail("restore %d: %v", i, err)
		return
	}
	r.machine, r.up = m, true
	w.apply(i, m.Start(0))
}

// stored gives access to a map as to a store.
func stored(store map[string][]byte) protocols.Stored {
	return func(from, to []byte) iter.Seq2[[]byte, []byte] {
		return func(yield func([]byte, []byte) bool) {
			keys := make([]string, 0, len(store))
			for k := range store {
				if k >= string(from) && k < string(to) {
					keys = append(keys, k)
				}
			}
			slices.Sort(keys)
			for _, k := range keys {
				if !yield([]byte(k), store[k]) {
					return
				}
			}
		}
	}
}

func (w *world) input(i protocols.Index) {
	r := w.replicas[i]
	if !r.up {
		return
	}
	step, err := r.machine.Propose(0, r.input)
	if err != nil {
		w.fail("propose %d: %v", i, err)
	}
	w.apply(i, step)
}

// apply carries out a step of an honest replica. The replica may crash before or after the records are on disk.
func (w *world) apply(i protocols.Index, s Step) {
	r := w.replicas[i]
	if !r.up {
		return
	}
	w.rounds = max(w.rounds, r.machine.Round())
	for _, f := range s.Faults {
		if w.faults++; w.replicas[f.Peer] != nil {
			w.fail("replica %d reports a fault of an honest replica: %v", i, f)
		}
	}
	crashPoint := 0
	if w.crashed < w.crashes && len(s.Sends)+len(s.Persist) > 0 && w.rng.IntN(60) == 0 {
		crashPoint = 1 + w.rng.IntN(2)
	}
	if crashPoint == 1 {
		w.crash(i)
		return
	}
	for _, rec := range s.Persist {
		if rec.Value == nil {
			delete(r.store, string(rec.Key))
		} else {
			r.store[string(rec.Key)] = bytes.Clone(rec.Value)
		}
	}
	for _, send := range s.Sends {
		if x := SignedBySender(send.Message); x != nil {
			w.checkHolds(i, x)
		}
	}
	for _, send := range s.Sends { // also before a crash: some messages may have reached the adversary
		w.checkSigned(i, send.Message)
	}
	if crashPoint == 2 {
		w.crash(i)
		return
	}
	for _, send := range s.Sends {
		if send.To == protocols.Everyone {
			for to := range protocols.Index(w.n) {
				if to != i {
					w.send(i, to, send.Message)
				}
			}
		} else {
			w.send(i, protocols.Index(send.To), send.Message)
		}
	}
	for _, out := range s.Out {
		w.decide(i, out)
	}
}
