// Package relay carries what shards tell each other: it publishes this shard's certified LDs, takes in those of
// others, pulls what gossip lost, and passes client calls on to the shards they concern.
//
// Gossip is a hint. Of each LD f+1 replicas of the source publish at once, chosen by its number, so one honest among
// them; all look a while later whether the destination has it, by asking a replica there, and give it what it lacks. A
// destination replica that sees a gap pulls the missing numbers from any replica of the source. No replica is
// indispensable, and once everything has arrived nothing is sent.
package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
)

var logger = golog.Logger("bdt/relay")

// Delays and bounds.
const (
	lookEvery  = 250 * time.Millisecond // for what is not shown to have arrived
	stepIn     = 1 * time.Second        // then a replica that did not publish looks whether it has to
	maxPause   = 15 * time.Second       // between two looks of one replica
	gapGrace   = 150 * time.Millisecond // a gap in a channel may close by itself
	askTimeout = 3 * time.Second
	maxAgain   = 64      // LDs a look gives a replica
	maxServed  = 4 << 20 // bytes of LDs in one answer
)

// Network is what the relay needs of the network.
type Network interface {
	Publish(shard uint16, data []byte)
	Request(ctx context.Context, shard uint16, to protocols.Index, request []byte, each func(frame []byte) error) error
}

// Engine is what the relay needs of the replica.
type Engine interface {
	Offer(ld *settlement.LD) error
	NextLD(source uint16) uint64
	CertifiedHeight() uint64
}

// Config is what a relay is made of.
type Config struct {
	Shard   uint16
	Self    protocols.Index
	Network *settlement.Network
	State   *ledger.State
	Store   kv.Reader // consensus store, for certificates
	// Answer answers a client call that another replica passed on.
	Answer func(ctx context.Context, call []byte) []byte
}

// Relay is one replica's part in what shards tell each other.
type Relay struct {
	cfg    Config
	engine Engine
	net    Network
	kick   chan struct{}
	mu     sync.Mutex
	out    []outbound      // by destination shard
	in     []atomic.Uint64 // highest number seen of each source
	gaps   chan uint16
	turn   atomic.Uint64
}

// outbound is one channel to another shard.
type outbound struct {
	known   uint64 // LDs up to here were looked at, and published if it was this replica's turn
	arrived uint64 // a replica of the destination said that it has all up to here
	next    time.Time
	pause   time.Duration
}

// New makes a relay and starts nothing.
func New(cfg Config, engine Engine) *Relay {
	n := cfg.Network.Shards()
	return &Relay{
		cfg: cfg, engine: engine, kick: make(chan struct{}, 1),
		out: make([]outbound, n), in: make([]atomic.Uint64, n), gaps: make(chan uint16, n),
	}
}

// Outbox says that LDs may have become certified. It does not block.
func (r *Relay) Outbox() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Join gives the relay its network. It is called once, before Run, Call, Gossip or Serve.
func (r *Relay) Join(net Network) { r.net = net }

// Run publishes and pulls until ctx ends, or until the store fails.
func (r *Relay) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.pulls(ctx) })
	looks := make(chan error, 1)
	wg.Go(func() { looks <- r.looks(ctx) })
	r.Outbox()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-looks:
			return err
		case <-r.kick:
			if err := r.publishNew(); err != nil {
				return err
			}
		}
	}
}

func (r *Relay) looks(ctx context.Context) error {
	for sleep(ctx, lookEvery) {
		for d := range r.out {
			if err := r.look(ctx, uint16(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// publishNew publishes the LDs that have become certified, if it is this replica's turn.
func (r *Relay) publishNew() error {
	certified := r.engine.CertifiedHeight()
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.out {
		o := &r.out[d]
		c, err := r.cfg.State.Channel(uint16(d))
		if err != nil {
			return err
		}
		if o.known == 0 {
			o.known, o.arrived = c.Acked, c.Acked
		}
		for o.known < c.Sent {
			ld, err := r.ld(c.Peer, o.known+1, certified)
			if err != nil {
				return err
			}
			if ld == nil {
				break
			}
			o.known++
			if r.first(o.known) {
				r.net.Publish(c.Peer, ld.Encode())
			}
			if o.next.IsZero() {
				o.next, o.pause = time.Now().Add(stepIn), stepIn
			}
		}
	}
	return nil
}

// first reports whether this replica is one of the f+1 that publish an LD at once.
func (r *Relay) first(number uint64) bool {
	c := r.cfg.Network.Committee(r.cfg.Shard)
	rank := (uint64(r.cfg.Self) + uint64(c.N()) - number%uint64(c.N())) % uint64(c.N())
	return rank < uint64(c.WeakQuorum())
}

// ld reads an LD, or nil if it is not certified yet or was shown applied.
func (r *Relay) ld(destination uint16, number, certified uint64) (*settlement.LD, error) {
	out, ok, err := r.cfg.State.Outgoing(destination, number)
	if err != nil || !ok || out.Height > certified {
		return nil, err
	}
	header, ok, err := r.cfg.State.Header(out.Height)
	if err != nil || !ok {
		return nil, err
	}
	cert, err := replica.Certificate(r.cfg.Store, out.Height)
	if err != nil || cert == nil {
		return nil, err
	}
	return settlement.NewLD(out, header, cert.Certificate), nil
}

// look asks a destination for which something is outstanding how far it is, and gives it what it lacks.
func (r *Relay) look(ctx context.Context, destination uint16) error {
	r.mu.Lock()
	o := r.out[destination]
	r.mu.Unlock()
	now := time.Now()
	if o.next.IsZero() || now.Before(o.next) {
		return nil
	}
	if o.arrived < o.known {
		arrived, err := r.push(ctx, destination, o.arrived, o.known)
		if err != nil {
			return err
		}
		o.arrived = max(o.arrived, arrived)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	x := &r.out[destination]
	x.arrived = max(x.arrived, o.arrived)
	if x.arrived >= x.known {
		x.next = time.Time{}
		return nil
	}
	x.pause = min(2*o.pause, maxPause)
	x.next = now.Add(x.pause + rand.N(x.pause/2))
	return nil
}

// Gossip takes in a message of the own shard's topic. An error means that it is garbage. It is called concurrently.
func (r *Relay) Gossip(data []byte) error {
	ld, err := settlement.DecodeLD(data)
	if err != nil {
		return err
	}
	return r.take(ld)
}

// take offers an LD to the replica, and notices gaps.
func (r *Relay) take(ld *settlement.LD) error {
	d := ld.Delivery
	if int(d.Source) >= len(r.in) {
		return fmt.Errorf("an LD of shard %d, the network has %d", d.Source, len(r.in))
	}
	if err := r.engine.Offer(ld); err != nil {
		return err
	}
	for seen := r.in[d.Source].Load(); d.Number > seen; seen = r.in[d.Source].Load() {
		if r.in[d.Source].CompareAndSwap(seen, d.Number) {
			break
		}
	}
	if d.Number > r.engine.NextLD(d.Source) {
		select {
		case r.gaps <- d.Source:
		default:
		}
	}
	return nil
}

// pulls closes gaps: it fetches by number what gossip did not bring.
func (r *Relay) pulls(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case source := <-r.gaps:
			if !sleep(ctx, gapGrace) {
				return
			}
			for try := 0; try < 8 && r.in[source].Load() >= r.engine.NextLD(source); try++ {
				if err := r.pull(ctx, source); err != nil {
					logger.Debugw("pull failed", "shard", source, "error", err)
				}
				if !sleep(ctx, gapGrace) {
					return
				}
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *Relay) pull(ctx context.Context, source uint16) error {
	request := wire.AppendU64([]byte{askLDs}, r.engine.NextLD(source))
	return r.ask(ctx, source, r.someone(source), request, func(frame []byte) error {
		ld, err := settlement.DecodeLD(frame)
		if err != nil {
			return err
		}
		if ld.Delivery.Source != source {
			return fmt.Errorf("shard %d answered with an LD of shard %d", source, ld.Delivery.Source)
		}
		return r.take(ld)
	})
}

// push gives a replica of a destination, another one each time, what it lacks of a channel above known numbers, and
// answers how far it then is. Gossip would not carry the same LD a second time.
func (r *Relay) push(ctx context.Context, destination uint16, arrived, known uint64) (uint64, error) {
	to := r.someone(destination)
	next, err := r.askNumber(ctx, destination, to, []byte{askNext})
	certified := r.engine.CertifiedHeight()
	for k := 0; err == nil && k < maxAgain && next > 0 && next <= known; k++ {
		ld, broken := r.ld(destination, next, certified)
		if broken != nil {
			return arrived, broken
		}
		if ld == nil {
			break // shown applied in the meantime
		}
		last := next
		if next, err = r.askNumber(ctx, destination, to, ld.Append([]byte{askTake})); next <= last {
			break
		}
	}
	if err != nil {
		logger.Debugw("a replica does not take LDs", "shard", destination, "replica", to, "error", err)
		return arrived, nil
	}
	return max(arrived, min(next-min(next, 1), known)), nil
}

func (r *Relay) askNumber(ctx context.Context, shard uint16, to protocols.Index, request []byte) (uint64, error) {
	var number uint64
	err := r.ask(ctx, shard, to, request, func(frame []byte) error {
		rd := wire.NewReader(frame)
		number = rd.U64()
		return rd.Done()
	})
	return number, err
}

func (r *Relay) ask(ctx context.Context, shard uint16, to protocols.Index, request []byte, each func(frame []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.net.Request(ctx, shard, to, request, each)
}

// someone is a replica of a shard, another one each time.
func (r *Relay) someone(shard uint16) protocols.Index {
	n := uint64(r.cfg.Network.Committee(shard).N())
	return protocols.Index((r.turn.Add(1) + uint64(r.cfg.Self)) % n)
}

// Call passes a client call on to a shard and returns its answer: the first replica that gives one, of at most all.
func (r *Relay) Call(ctx context.Context, shard uint16, call []byte) ([]byte, error) {
	c := r.cfg.Network.Committee(shard)
	if c == nil {
		return nil, fmt.Errorf("shard %d does not exist", shard)
	}
	start := r.turn.Add(1) + uint64(r.cfg.Self)
	var errs []error
	for k := range uint64(c.N()) {
		answer, err := r.CallOne(ctx, shard, protocols.Index((start+k)%uint64(c.N())), call)
		if err == nil {
			return answer, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("no replica of shard %d answers: %w", shard, errors.Join(errs...))
}

// CallOne passes a client call on to one replica and returns its answer.
func (r *Relay) CallOne(ctx context.Context, shard uint16, to protocols.Index, call []byte) ([]byte, error) {
	var answer []byte
	err := r.net.Request(ctx, shard, to, append([]byte{askCall}, call...), func(frame []byte) error {
		answer = append(answer, frame...)
		return nil
	})
	if err == nil && len(answer) == 0 {
		err = errors.New("an empty answer")
	}
	if err != nil {
		return nil, fmt.Errorf("replica %d of shard %d: %w", to, shard, err)
	}
	return answer, nil
}

// Kinds of requests, their first byte.
const (
	askLDs  = 1 // number from which on: LDs for the asking replica's shard
	askNext = 2 // the number of the first LD of the asking replica's shard that is lacking here
	askCall = 3 // a client call
	askTake = 4 // an LD for this shard; answered like askNext, once it was taken
)

// Serve answers a request of a replica of any shard.
func (r *Relay) Serve(ctx context.Context, from uint16, request []byte, w func(frame []byte) error) error {
	if len(request) == 0 {
		return errors.New("an empty request")
	}
	body := request[1:]
	switch request[0] {
	case askLDs:
		rd := wire.NewReader(body)
		number := rd.U64()
		if err := rd.Done(); err != nil {
			return err
		}
		return r.serveLDs(from, number, w)
	case askNext:
		return w(wire.AppendU64(nil, r.engine.NextLD(from)))
	case askTake:
		ld, err := settlement.DecodeLD(body)
		if err == nil && ld.Delivery.Source != from {
			err = fmt.Errorf("shard %d gives an LD of shard %d", from, ld.Delivery.Source)
		}
		if err == nil {
			err = r.take(ld)
		}
		if err != nil {
			return err
		}
		return w(wire.AppendU64(nil, max(r.engine.NextLD(from), ld.Delivery.Number+1)))
	case askCall:
		return w(r.cfg.Answer(ctx, body))
	}
	return fmt.Errorf("request kind %d is unknown", request[0])
}

func (r *Relay) serveLDs(to uint16, number uint64, w func(frame []byte) error) error {
	certified := r.engine.CertifiedHeight()
	for size := 0; size < maxServed; number++ {
		ld, err := r.ld(to, number, certified)
		if err != nil || ld == nil {
			return err
		}
		frame := ld.Encode()
		size += len(frame)
		if err := w(frame); err != nil {
			return err
		}
	}
	return nil
}
