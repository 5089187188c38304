package relay

import (
	"context"
	"errors"
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/shard/settlement"
)

// Kinds of requests, their first byte.
const (
	askLDs  = 1 // number from which on: LDs for the asking replica's shard
	askNext = 2 // the number of the first LD of the asking replica's shard that is lacking here
	askCall = 3 // a client call
	askTake = 4 // an LD for this shard; answered like askNext, once it was taken
)

// Requests of each kind that one replica may have in service. An honest one has at most one fetch open, and one question
// for the position to each shard; a second place is for a request that was given up and has not ended yet.
var places = map[byte]int{askLDs: 2, askNext: 8, askTake: 8}

type service struct {
	peer Peer
	kind byte
}

// enter takes a place for a request, or reports that the peer has as many in service as it may.
func (r *Relay) enter(s service) bool {
	most, bounded := places[s.kind]
	if !bounded {
		return true // calls are bounded by the network's own places
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.serving[s] >= most {
		return false
	}
	r.serving[s]++
	return true
}

func (r *Relay) leave(s service) {
	if _, bounded := places[s.kind]; !bounded {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.serving[s]--; r.serving[s] == 0 {
		delete(r.serving, s)
	}
}

// Serve answers a request of a replica of any shard.
func (r *Relay) Serve(ctx context.Context, peer Peer, request []byte, w func(frame []byte) error) error {
	from := peer.Shard
	if len(request) == 0 {
		return errors.New("an empty request")
	}
	s := service{peer, request[0]}
	if !r.enter(s) {
		return fmt.Errorf("too many requests of kind %d are in service", s.kind)
	}
	defer r.leave(s)
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
		if len(body) > maxCall {
			return fmt.Errorf("a call of %d bytes, at most %d are answered", len(body), maxCall)
		}
		return w(r.cfg.Answer(ctx, peer, body))
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
