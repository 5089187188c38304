package mvba

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// The simulator runs one instance among n replicas on a virtual clock, from a seed. Links lose nothing but what a
// broken connection or a crash loses, and give it again after the reconnect. After every step it checks what must
// hold then; at the end, that everyone decided.

// plan is what one run is made of. All of it follows from n and the seed, unless a test sets it.
type plan struct {
	n         int
	seed      uint64
	byzantine int
	strategy  string  // of the Byzantine replicas
	schedule  string  // of the messages
	duplicate float64 // chance of each message
	breaks    float64 // chance of a broken connection at each delivery
	crashes   int     // at most
	real      bool    // Ed25519 and the Diffie-Hellman coin
	encode    bool    // every message goes through its encoding
}

var (
	strategies = []string{"silent", "selective", "twins", "puppeteer", "puppeteer", "garbage"}
	schedules  = []string{"even", "wild", "starved", "adversarial", "adversarial"}
)

// planOf draws a plan.
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

// maxDeliveries bounds a run: an instance of 30 rounds takes far fewer.
const maxDeliveries = 500_000

// envelope is a message on its way.
type envelope struct {
	at       float64
	order    uint64
	from, to protocols.Index
	msg      protocols.Message // nil: an event
	event    func()
	copy     bool // a duplicate is not duplicated
	held     bool // the adversary held it back already
}

type queue []*envelope

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*envelope)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

// replica is an honest one.
type replica struct {
	cfg     Config
	machine *Machine
	store   map[string][]byte
	up      bool
	input   []byte
	decided *Decided

	reached  uint32        // the highest round it signed in,
	preVoted bool          // whether it pre-voted there,
	accepts  protocols.Set // and the broadcasters it accepted there
}

type world struct {
	plan
	rng       *rand.Rand
	committee *protocols.Committee
	scheme    sig.Scheme
	coin      coin.Scheme
	holders   []coin.Holder
	signers   []sig.Signer
	replicas  []*replica // nil where Byzantine
	enemy     enemy
	queue     queue
	now       float64
	order     uint64
	delivered int
	crashed   int
	checked   map[checkKey]error
	signed    map[string]string // what an honest replica signed for one place
	links     map[[2]protocols.Index]bool
	victims   protocols.Set // of the schedule
	value     []byte        // decided
	err       error
	blames    int
	rounds    uint32
	know      *knowledge
	tap       func(from protocols.Index, msg protocols.Message) // sees what honest replicas send
}

type checkKey struct {
	msg  protocols.Message
	from protocols.Index
}

// enemy is the Byzantine replicas together. It hears everything that anyone sends.
type enemy interface {
	// start is called once, at time 0.
	start(w *world)
	// hear is called for every message that is sent to a Byzantine replica, when it arrives.
	hear(w *world, from, to protocols.Index, msg protocols.Message)
	// act is called after each delivery of an honest replica's message.
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
	w.enemy = enemies[p.strategy](w)
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

// fail keeps the first violation.
func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// run plays the instance to its end and returns the first violation.
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
	w.enemy.start(w)
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
		if w.replicas[e.from] != nil { // else it would feed on itself
			w.enemy.act(w)
		}
		w.fate(e)
	}
	for i, r := range w.replicas {
		if r != nil && r.decided == nil {
			w.fail("replica %d never decided; it is in round %d", i, r.machine.Round())
		}
	}
	return w.err
}

func (w *world) over() bool {
	for _, r := range w.replicas {
		if r != nil && r.decided == nil {
			return false
		}
	}
	return true
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

// stored is a map as a store.
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

// apply carries out a step of an honest replica; it may crash before or after the records are on disk.
func (w *world) apply(i protocols.Index, s Step) {
	r := w.replicas[i]
	if !r.up {
		return
	}
	w.rounds = max(w.rounds, r.machine.Round())
	for _, f := range s.Faults {
		if w.blames++; w.replicas[f.Peer] != nil {
			w.fail("replica %d blames an honest one: %v", i, f)
		}
	}
	fall := 0
	if w.crashed < w.crashes && len(s.Sends)+len(s.Persist) > 0 && w.rng.IntN(60) == 0 {
		fall = 1 + w.rng.IntN(2)
	}
	if fall == 1 {
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
	for _, send := range s.Sends { // a crash between sends may still have let the adversary see some
		w.notice(i, send.Message)
	}
	if fall == 2 {
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

func (w *world) decide(i protocols.Index, d Decided) {
	r := w.replicas[i]
	w.rounds = max(w.rounds, d.Decision.Round)
	if err := validity(d.Value); err != nil {
		w.fail("replica %d decides the invalid value %q", i, d.Value)
	}
	if DigestOf(d.Value) != d.Decision.Digest {
		w.fail("replica %d decides a value that is not its certificate's", i)
	}
	if w.value == nil {
		w.value = d.Value
	}
	if !bytes.Equal(w.value, d.Value) {
		w.fail("replica %d decides %q where another decided %q", i, d.Value, w.value)
	}
	r.decided = &d
}

// notice checks what an honest replica sends: never two different things signed in one place.
func (w *world) notice(i protocols.Index, msg protocols.Message) {
	if w.tap != nil {
		w.tap(i, msg)
	}
	w.know.learn(i, msg)
	var place, what string
	switch m := msg.(type) {
	case *Proposal:
		place, what = fmt.Sprintf("proposal %d", m.Round), m.Digest.String()
	case *Echo:
		place, what = fmt.Sprintf("echo %d of %d", m.Round, m.Broadcaster), m.Digest.String()
	case *Accept:
		place, what = fmt.Sprintf("accept %d of %d", m.Round, m.Broadcaster), m.Digest.String()
	case *PreVote:
		place, what = fmt.Sprintf("pre-vote %d", m.Round), fmt.Sprint(m.Yes, m.Digest)
	case *Vote:
		place, what = fmt.Sprintf("vote %d", m.Round), fmt.Sprint(m.Yes, m.Digest, m.claim())
	case *coin.Release:
		if done := w.know.complete(m.Name.Round); done < w.committee.Quorum() {
			w.fail("replica %d releases its share of round %d when %d broadcasts are complete", i, m.Name.Round, done)
		}
		return
	default:
		return
	}
	w.inOrder(i, msg)
	place = placeOf(i, place)
	if before, ok := w.signed[place]; ok && before != what {
		w.fail("replica %s: signs %s after %s", place, what, before)
	}
	w.signed[place] = what
}

func placeOf(i protocols.Index, what string) string { return fmt.Sprintf("%d: %s", i, what) }

// inOrder checks the order in which an honest replica signs: nothing in a round it left, nothing in a round's
// broadcasts after its pre-vote, and no against no broadcast that it accepted.
func (w *world) inOrder(i protocols.Index, msg protocols.Message) {
	r := w.replicas[i]
	n := roundOf(msg)
	if n < r.reached {
		w.fail("replica %d signs a %T in round %d after it reached %d", i, msg, n, r.reached)
	}
	if n > r.reached {
		r.reached, r.preVoted, r.accepts = n, false, protocols.Set{}
	}
	switch m := msg.(type) {
	case *Echo:
		if r.preVoted && w.signed[placeOf(i, fmt.Sprintf("echo %d of %d", n, m.Broadcaster))] == "" {
			w.fail("replica %d signs a broadcast in round %d after its pre-vote", i, n)
		}
	case *Accept:
		if r.preVoted && !r.accepts.Has(m.Broadcaster) {
			w.fail("replica %d accepts a broadcast in round %d after its pre-vote", i, n)
		}
		r.accepts.Add(m.Broadcaster)
	case *PreVote:
		r.preVoted = true
		if !m.Yes && r.accepts.Has(m.Leader) {
			w.fail("replica %d pre-votes no on the broadcast of %d in round %d, which it accepted", i, m.Leader, n)
		}
	case *Vote:
		if !m.Yes && r.accepts.Has(m.Leader) {
			w.fail("replica %d votes no on the broadcast of %d in round %d, which it accepted", i, m.Leader, n)
		}
	}
}

// send puts a message on its way, unless the connection is broken: then the reconnect gives it again.
func (w *world) send(from, to protocols.Index, msg protocols.Message) {
	if w.links[link(from, to)] {
		return
	}
	w.push(&envelope{at: w.now + w.delay(from, to, msg), from: from, to: to, msg: msg})
}

func link(a, b protocols.Index) [2]protocols.Index { return [2]protocols.Index{min(a, b), max(a, b)} }

// deliver hands a message over, as a node would: checked first.
func (w *world) deliver(e *envelope) {
	if w.schedule == "adversarial" && !e.held && w.know.holdBack(e) {
		e.held = true
		e.at = w.now + 200*w.rng.Float64()
		w.push(e)
		return
	}
	r := w.replicas[e.to]
	if r == nil {
		w.enemy.hear(w, e.from, e.to, e.msg)
		return
	}
	if !r.up {
		return
	}
	msg := e.msg
	if w.encode {
		again, err := Decode(msg.Kind(), msg.Append(nil))
		if err != nil {
			w.fail("message %T of %d does not decode: %v", msg, e.from, err)
			return
		}
		msg = again
	} else if v, ok := msg.(*Value); ok && v.digest.IsZero() {
		msg = newValue(v.Instance, v.Value)
	}
	if err := w.check(e.from, msg); err != nil {
		if w.replicas[e.from] != nil {
			w.fail("message %T of honest %d is refused: %v", msg, e.from, err)
		}
		return
	}
	w.apply(e.to, r.machine.Handle(0, e.from, msg))
}

// check verifies a message, each only once.
func (w *world) check(from protocols.Index, msg protocols.Message) error {
	key := checkKey{msg, from}
	err, ok := w.checked[key]
	if !ok {
		proof, bad := Check(w.committee, from, msg)
		if err = bad; err == nil {
			err = proof.Verify(w.scheme, w.coin)
		}
		w.checked[key] = err
	}
	return err
}

// fate lets the network do its worst after a delivery.
func (w *world) fate(e *envelope) {
	if w.duplicate > 0 && !e.copy && !e.held && w.rng.Float64() < w.duplicate {
		again := *e
		again.copy, again.at = true, w.now+w.rng.ExpFloat64()*20
		w.push(&again)
	}
	if w.breaks > 0 && w.rng.Float64() < w.breaks {
		a, b := protocols.Index(w.rng.IntN(w.n)), protocols.Index(w.rng.IntN(w.n))
		if a != b {
			w.sever(a, b)
			w.after(w.rng.Float64()*30, func() { w.reconnect(a, b) })
		}
	}
}

// sever breaks a connection: all that is on its way is lost.
func (w *world) sever(a, b protocols.Index) {
	w.links[link(a, b)] = true
	kept := w.queue[:0]
	for _, e := range w.queue {
		if e.event == nil && link(e.from, e.to) == link(a, b) {
			continue
		}
		kept = append(kept, e)
	}
	clear(w.queue[len(kept):])
	w.queue = kept
	heap.Init(&w.queue)
}

// reconnect restores a connection; both ends send again.
func (w *world) reconnect(a, b protocols.Index) {
	for _, i := range []protocols.Index{a, b} {
		if r := w.replicas[i]; r != nil && !r.up {
			return // the restart reconnects
		}
	}
	delete(w.links, link(a, b))
	for _, x := range [][2]protocols.Index{{a, b}, {b, a}} {
		if r := w.replicas[x[0]]; r != nil {
			w.apply(x[0], r.machine.Resend(x[1]))
		}
	}
}

// crash takes a replica down until it restarts from its store.
func (w *world) crash(i protocols.Index) {
	w.crashed++
	r := w.replicas[i]
	r.up = false
	for j := range protocols.Index(w.n) {
		if j != i {
			w.sever(i, j)
		}
	}
	w.after(w.rng.Float64()*60, func() {
		w.boot(i)
		for j := range protocols.Index(w.n) {
			if j != i && r.up {
				w.reconnect(i, j)
			}
		}
		if r.up {
			w.input(i)
		}
	})
}

// delay is how long a message takes.
func (w *world) delay(from, to protocols.Index, msg protocols.Message) float64 {
	switch w.schedule {
	case "unit":
		return 1
	case "even":
		return 1 + 0.1*w.rng.Float64()
	case "wild":
		return math.Exp(3 * w.rng.NormFloat64())
	case "starved": // whatever concerns some replicas is slow
		d := w.rng.ExpFloat64()
		if w.victims.Has(from) || w.victims.Has(to) {
			d *= 50
		}
		return d
	default: // Byzantine messages are fast, decisions and the victims' votes are slow
		d := w.rng.ExpFloat64()
		switch {
		case w.replicas[from] == nil:
			d /= 10
		case msg.Kind() == KindDecision:
			d *= 1000
		case w.victims.Has(from) && (msg.Kind() == KindLock || msg.Kind() == KindPreVote || msg.Kind() == KindVote):
			d *= 30
		}
		return d
	}
}
