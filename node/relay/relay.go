// Package relay carries what shards tell each other: it publishes this shard's certified LDs, takes in those of
// others, gives and fetches what gossip lost, and passes client calls on to the shards they concern.
//
// What is published, given and fetched when is decided by [courier.Machine]; this is its reading of the stores, its
// clock and its network.
package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/loglimit"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/shard/courier"
	"bdtnode/shard/settlement"
)

var logger = golog.Logger("bdt/relay")

// outside writes the lines that others than this replica cause.
var outside = loglimit.New(logger)

const (
	askTimeout = 3 * time.Second
	maxServed  = 4 << 20   // bytes of LDs in one answer, beyond which no further one is added
	maxFetched = 8 << 20   // bytes of LDs taken of one answer
	maxCall    = 256 << 10 // bytes of a client call
)

// Network is what the relay needs of the network.
type Network interface {
	Publish(shard uint16, data []byte)
	Request(ctx context.Context, shard uint16, to protocols.Index, request []byte, most int64, each func(frame []byte) error) error
}

// Engine is what the relay needs of the replica.
type Engine interface {
	Offer(ld *settlement.LD) error
	NextLD(source uint16) uint64
	CertifiedHeight() uint64
}

// Peer is a replica of any shard.
type Peer struct {
	Shard   uint16
	Replica protocols.Index
}

// Config is what a relay is made of.
type Config struct {
	Shard   uint16
	Self    protocols.Index
	Network *settlement.Network
	State   *ledger.State
	Store   kv.Reader // consensus store, for certificates
	// Answer answers a client call of at most 256 KiB that a replica of another shard passed on. ctx ends when that
	// replica has given the call up.
	Answer func(ctx context.Context, from Peer, call []byte) []byte
}

// Relay is one replica's part in what shards tell each other.
type Relay struct {
	cfg    Config
	engine Engine
	net    Network
	kick   chan struct{} // LDs may have become certified
	wake   chan struct{} // the machine may want something sooner
	born   time.Time

	mu      sync.Mutex
	machine *courier.Machine
	serving map[service]int // requests of the kinds in places
}

// New makes a relay and starts nothing.
func New(cfg Config, engine Engine) *Relay {
	r := &Relay{cfg: cfg, engine: engine, born: time.Now(), kick: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	r.serving = make(map[service]int)
	committees := make([]*protocols.Committee, cfg.Network.Shards())
	for s := range committees {
		committees[s] = cfg.Network.Committee(uint16(s))
	}
	r.machine = courier.New(courier.Config{Shard: cfg.Shard, Self: cfg.Self, Committees: committees, Next: engine.NextLD}, r.now())
	return r
}

// now goes on evenly also when the clock of the machine is set.
func (r *Relay) now() protocols.Time { return protocols.Time(1 + time.Since(r.born)) }

// Outbox says that LDs may have become certified. It does not block.
func (r *Relay) Outbox() { signal(r.kick) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Join gives the relay its network. It is called once, before Run, Call, Gossip or Serve.
func (r *Relay) Join(net Network) { r.net = net }

// Run publishes, gives and fetches until ctx ends, or until the store fails.
func (r *Relay) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var asks sync.WaitGroup
	defer asks.Wait()
	defer cancel(nil)
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := r.publishNew(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		case <-r.kick:
			if err := r.publishNew(); err != nil {
				return err
			}
		case <-r.wake:
		case <-timer.C:
		}
		r.mu.Lock()
		asked := r.machine.Tick(r.now()).Asks
		next := r.machine.Wake()
		r.mu.Unlock()
		for _, a := range asked {
			asks.Go(func() { r.carryOut(ctx, cancel, a) })
		}
		if next == 0 {
			timer.Stop()
		} else {
			timer.Reset(max(0, next.Sub(r.now())))
		}
	}
}

// publishNew publishes the LDs that have become certified, if it is this replica's turn.
func (r *Relay) publishNew() error {
	certified := r.engine.CertifiedHeight()
	channels, err := r.cfg.State.Channels()
	if err != nil {
		return err
	}
	for _, c := range channels {
		r.mu.Lock()
		from := max(r.machine.Known(c.Peer), c.Acked)
		r.mu.Unlock()
		fresh := make(map[uint64]*settlement.LD)
		number := from
		for ; number < c.Sent; number++ {
			ld, err := r.ld(c.Peer, number+1, certified)
			if err != nil {
				return err
			}
			if ld == nil {
				break
			}
			fresh[number+1] = ld
		}
		r.mu.Lock()
		st := r.machine.Certified(r.now(), c.Peer, c.Acked, number)
		r.mu.Unlock()
		for _, p := range st.Publish {
			if ld := fresh[p.Number]; ld != nil {
				r.net.Publish(p.Destination, ld.Encode())
			}
		}
	}
	return nil
}

// ld reads an LD, or nil if it is not certified yet or was shown applied.
func (r *Relay) ld(destination uint16, number, certified uint64) (*settlement.LD, error) {
	return replica.OutgoingLD(r.cfg.Store, r.cfg.State, destination, number, certified)
}

// carryOut asks what the machine wants asked, and what follows from the answer. A store that fails ends the run.
func (r *Relay) carryOut(ctx context.Context, fail context.CancelCauseFunc, a courier.Ask) {
	defer signal(r.wake)
	if a.What == courier.Fetch {
		count, err := r.fetch(ctx, a)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.machine.Fetched(r.now(), a, count, err == nil)
		return
	}
	for {
		next, ok, err := r.position(ctx, a)
		if err != nil {
			fail(err)
			return
		}
		r.mu.Lock()
		more := r.machine.Position(r.now(), a, next, ok).Asks
		r.mu.Unlock()
		if len(more) == 0 {
			return
		}
		a = more[0]
	}
}

// position asks a replica of a destination what it lacks, giving it an LD if that is the question. The error is the
// store's.
func (r *Relay) position(ctx context.Context, a courier.Ask) (next uint64, ok bool, err error) {
	request := []byte{askNext}
	if a.What == courier.Take {
		ld, err := r.ld(a.Shard, a.Number, r.engine.CertifiedHeight())
		if err != nil || ld == nil { // it was shown applied in the meantime
			return 0, false, err
		}
		request = ld.Append([]byte{askTake})
	}
	err = r.ask(ctx, a.Shard, a.To, request, 8, func(frame []byte) error {
		rd := wire.NewReader(frame)
		next = rd.U64()
		return rd.Done()
	})
	if err != nil {
		outside.Debugw("a replica does not take LDs", a.To, "shard", a.Shard, "replica", a.To, "error", err)
	}
	return next, err == nil, nil
}

// fetch gets LDs by number and takes them in, and answers how many there were.
func (r *Relay) fetch(ctx context.Context, a courier.Ask) (count int, err error) {
	err = r.ask(ctx, a.Shard, a.To, wire.AppendU64([]byte{askLDs}, a.Number), maxFetched, func(frame []byte) error {
		ld, err := settlement.DecodeLD(frame)
		if err != nil {
			return err
		}
		if ld.Delivery.Source != a.Shard {
			return fmt.Errorf("shard %d answered with an LD of shard %d", a.Shard, ld.Delivery.Source)
		}
		count++
		return r.take(ld)
	})
	if err != nil {
		outside.Debugw("a fetch of LDs failed", a.To, "shard", a.Shard, "replica", a.To, "error", err)
	}
	return count, err
}

func (r *Relay) ask(ctx context.Context, shard uint16, to protocols.Index, request []byte, most int64, each func(frame []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.net.Request(ctx, shard, to, request, most, each)
}

// Gossip takes in a message of the own shard's topic. An error means that it is garbage. It is called concurrently.
func (r *Relay) Gossip(data []byte) error {
	ld, err := settlement.DecodeLD(data)
	if err != nil {
		return err
	}
	return r.take(ld)
}

// take offers an LD to the replica.
func (r *Relay) take(ld *settlement.LD) error {
	d := ld.Delivery
	if int(d.Source) >= r.cfg.Network.Shards() {
		return fmt.Errorf("an LD of shard %d, the network has %d", d.Source, r.cfg.Network.Shards())
	}
	if err := r.engine.Offer(ld); err != nil {
		return err
	}
	r.mu.Lock()
	r.machine.Seen(r.now(), d.Source, d.Number)
	r.mu.Unlock()
	signal(r.wake)
	return nil
}

// Call passes a client call of at most 256 KiB on to one replica of a shard and returns its answer, of at most so many
// bytes.
func (r *Relay) Call(ctx context.Context, shard uint16, to protocols.Index, call []byte, most int64) ([]byte, error) {
	if len(call) > maxCall {
		return nil, fmt.Errorf("a call of %d bytes, want at most %d", len(call), maxCall)
	}
	var answer []byte
	err := r.net.Request(ctx, shard, to, append([]byte{askCall}, call...), most, func(frame []byte) error {
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
