// Package xshardnet carries the messages between shards. [Service] publishes this shard's certified LDs, takes in those of
// others, and gives and fetches LDs that gossip lost. [Client] passes client calls on to the shards that they concern, and
// [Server] answers the requests of replicas of any shard.
//
// The decisions are those of [driver.Exchange]; this is its wire format, its clock and its network.
package xshardnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/internal/wire"
	"bdtnode/node/driver"
	"bdtnode/node/loglimit"
	"bdtnode/protocols"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

var logger = golog.Logger("bdt/xshard")

// outside writes the lines that others than this replica cause.
var outside = loglimit.New(logger)

const (
	askTimeout = 3 * time.Second
	maxCall    = 256 << 10 // bytes of a client call
)

// Network is the network as the service uses it.
type Network interface {
	Publish(shard uint16, data []byte)
	Request(ctx context.Context, shard uint16, to protocols.Index, request []byte, most int64, each func(frame []byte) error) error
}

// Engine is the replica as the service uses it.
type Engine interface {
	Exchange() *driver.Exchange
	Publish() <-chan struct{} // LDs may have become certified
}

// Peer is a replica of any shard.
type Peer = driver.Peer

// Service is one replica's part in the exchange of LDs.
type Service struct {
	exchange *driver.Exchange
	publish  <-chan struct{}
	net      Network
	wake     chan struct{} // the exchange may want its next tick sooner
}

// New makes a service and starts nothing.
func New(engine Engine, net Network) *Service {
	return &Service{exchange: engine.Exchange(), publish: engine.Publish(), net: net, wake: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run publishes, gives and fetches LDs until ctx ends, or until the store fails.
func (r *Service) Run(ctx context.Context) error {
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
		case <-r.publish:
			if err := r.publishNew(); err != nil {
				return err
			}
		case <-r.wake:
		case <-timer.C:
		}
		asked, wait := r.exchange.Tick()
		for _, a := range asked {
			asks.Go(func() { r.carryOut(ctx, cancel, a) })
		}
		if wait == driver.Never {
			timer.Stop()
		} else {
			timer.Reset(wait)
		}
	}
}

// publishNew publishes the LDs that have become certified, and new CLs of this shard, if it is this replica's turn.
func (r *Service) publishNew() error {
	list, err := r.exchange.Publish()
	for _, p := range list {
		r.net.Publish(p.Destination, p.LD.Encode())
	}
	for _, p := range r.exchange.Cancellations() {
		data := p.CL.Encode()
		for _, shard := range p.Destinations {
			r.net.Publish(shard, data)
		}
	}
	return err
}

// carryOut sends a request, and those that follow from its answer. A store that fails ends the run.
func (r *Service) carryOut(ctx context.Context, fail context.CancelCauseFunc, a xshard.Request) {
	defer signal(r.wake)
	if a.Kind == xshard.Pull {
		r.pull(ctx, a)
		r.exchange.Answered(a, 0, true)
		return
	}
	if a.Kind == xshard.Fetch {
		count, err := r.fetch(ctx, a)
		r.exchange.Fetched(a, count, err == nil)
		return
	}
	for {
		next, ok, err := r.position(ctx, a)
		if err != nil {
			fail(err)
			return
		}
		more := r.exchange.Answered(a, next, ok)
		if len(more) == 0 {
			return
		}
		a = more[0]
	}
}

// position asks a replica of a destination for the number of the first LD it lacks, giving it an LD if the request is of
// that kind. The error is the store's.
func (r *Service) position(ctx context.Context, a xshard.Request) (next uint64, ok bool, err error) {
	request := []byte{askNext}
	if a.Kind == xshard.Give {
		ld, err := r.exchange.Given(a)
		if err != nil || ld == nil { // it was shown applied in the meantime
			return 0, false, err
		}
		request = ld.Append([]byte{giveLD})
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

// fetch gets LDs by number and takes them in. It returns how many were taken.
func (r *Service) fetch(ctx context.Context, a xshard.Request) (count int, err error) {
	err = r.ask(ctx, a.Shard, a.To, wire.AppendU64([]byte{askLDs}, a.Number), driver.MaxFetched, func(frame []byte) error {
		ld, err := settlement.DecodeLD(frame)
		if err != nil {
			return err
		}
		if ld.Delivery.Source != a.Shard {
			return fmt.Errorf("shard %d answered with an LD of shard %d", a.Shard, ld.Delivery.Source)
		}
		count++
		defer signal(r.wake)
		return r.exchange.Take(ld)
	})
	if err != nil {
		outside.Debugw("a fetch of LDs failed", a.To, "shard", a.Shard, "replica", a.To, "error", err)
	}
	return count, err
}

// pull asks a replica for CLs of its shard. An answer without one is an answer too, and a failure is not repeated at once.
func (r *Service) pull(ctx context.Context, a xshard.Request) {
	request := []byte{askCLs}
	for _, id := range a.IDs {
		request = append(request, id[:]...)
	}
	err := r.ask(ctx, a.Shard, a.To, request, xshard.MaxPulled*settlement.MaxCLBytes, func(frame []byte) error {
		cl, err := settlement.DecodeCL(r.exchange.Network(), frame)
		if err != nil {
			return err
		}
		if cl.Source != a.Shard {
			return fmt.Errorf("shard %d answered with a CL of shard %d", a.Shard, cl.Source)
		}
		return r.exchange.TakeCL(cl)
	})
	if err != nil {
		outside.Debugw("a request for CLs failed", a.To, "shard", a.Shard, "replica", a.To, "error", err)
	}
}

func (r *Service) ask(ctx context.Context, shard uint16, to protocols.Index, request []byte, most int64, each func(frame []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.net.Request(ctx, shard, to, request, most, each)
}

// Gossip takes in a message of the own shard's topic. The error [driver.ErrHeld] means that the message need not be passed on,
// and any other error that no honest replica sends such a message. It is called concurrently.
func (r *Service) Gossip(data []byte) error {
	if settlement.IsCL(data) {
		cl, err := settlement.DecodeCL(r.exchange.Network(), data)
		if err != nil {
			return err
		}
		return r.exchange.TakeCL(cl)
	}
	ld, err := settlement.DecodeLD(data)
	if err != nil {
		return err
	}
	defer signal(r.wake)
	return r.exchange.TakeGossip(ld)
}

// Client passes client calls on to other shards.
type Client struct{ net Network }

// NewClient returns a client on a network.
func NewClient(net Network) *Client { return &Client{net} }

// Call passes a client call of at most 256 KiB on to one replica of a shard and returns its answer, of at most so many
// bytes.
func (c *Client) Call(ctx context.Context, shard uint16, to protocols.Index, call []byte, most int64) ([]byte, error) {
	if len(call) > maxCall {
		return nil, fmt.Errorf("a call of %d bytes, want at most %d", len(call), maxCall)
	}
	var answer []byte
	err := c.net.Request(ctx, shard, to, append([]byte{askCall}, call...), most, func(frame []byte) error {
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
