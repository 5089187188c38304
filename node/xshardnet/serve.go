package xshardnet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/shard/settlement"
	"bdtnode/shard/xshard"
)

// Kinds of requests, their first byte.
const (
	askLDs  = 1 // number from which on: LDs for the asking replica's shard
	askNext = 2 // the number of the first LD of the asking replica's shard that is lacking here
	askCall = 3 // a client call
	giveLD  = 4 // an LD for this shard; answered like askNext, once it was taken
	askCLs  = 5 // ids of transactions: CLs of this shard for them
)

// kinds are the requests of the exchange, as the driver counts them. Client calls are bounded by the network's own places
// and by the budget of each peer.
var kinds = map[byte]xshard.Kind{askLDs: xshard.Fetch, askNext: xshard.Position, giveLD: xshard.Give, askCLs: xshard.Pull}

// Answer answers a client call of at most 256 KiB that a replica of another shard passed on, and returns the number of
// bytes of the call's transactions that this replica did not take. ctx ends when the other replica has given the call up.
type Answer func(ctx context.Context, from Peer, call []byte) (reply []byte, untaken int)

// Server answers the requests of replicas of any shard: those of the exchange, and client calls.
type Server struct {
	exchange *Service
	answer   Answer
	calls    *budgets
}

// NewServer makes a server.
func NewServer(exchange *Service, answer Answer) *Server {
	return &Server{exchange: exchange, answer: answer, calls: newBudgets()}
}

// Serve answers a request of a replica of any shard.
func (x *Server) Serve(ctx context.Context, peer Peer, request []byte, w func(frame []byte) error) error {
	if len(request) == 0 {
		return errors.New("an empty request")
	}
	body := request[1:]
	if request[0] == askCall {
		if len(body) > maxCall {
			return fmt.Errorf("a call of %d bytes, at most %d are answered", len(body), maxCall)
		}
		if err := x.calls.enter(ctx, peer, len(body)); err != nil {
			return err
		}
		reply, untaken := x.answer(ctx, peer, body)
		x.calls.charge(time.Now(), peer, len(reply), untaken)
		return w(reply)
	}
	return x.exchange.serve(peer, request[0], body, w)
}

// serve answers a request of the exchange.
func (r *Service) serve(peer Peer, request byte, body []byte, w func(frame []byte) error) error {
	kind, known := kinds[request]
	if !known {
		return fmt.Errorf("request kind %d is unknown", request)
	}
	if err := r.exchange.Enter(peer, kind); err != nil {
		return err
	}
	defer r.exchange.Leave(peer, kind)
	switch kind {
	case xshard.Fetch:
		rd := wire.NewReader(body)
		number := rd.U64()
		if err := rd.Done(); err != nil {
			return err
		}
		return r.exchange.Serve(peer.Shard, number, func(ld *settlement.LD) (int, error) {
			frame := ld.Encode()
			return len(frame), w(frame)
		})
	case xshard.Give:
		ld, err := settlement.DecodeLD(body)
		if err != nil {
			return err
		}
		next, err := r.exchange.Receive(peer.Shard, ld)
		signal(r.wake)
		if err != nil {
			return err
		}
		return w(wire.AppendU64(nil, next))
	case xshard.Pull:
		ids, err := readIDs(body)
		if err != nil {
			return err
		}
		return r.exchange.ServeCLs(ids, func(cl *settlement.CL) error { return w(cl.Encode()) })
	default:
		return w(wire.AppendU64(nil, r.exchange.Position(peer.Shard)))
	}
}

// readIDs reads the transactions of a request for CLs: 1 to 64 ids of 32 bytes.
func readIDs(body []byte) ([]digest.Digest, error) {
	n := len(body) / digest.Size
	if n*digest.Size != len(body) || n == 0 || n > xshard.MaxPulled {
		return nil, fmt.Errorf("a request for CLs of %d bytes", len(body))
	}
	ids := make([]digest.Digest, n)
	for i := range ids {
		copy(ids[i][:], body[i*digest.Size:])
	}
	return ids, nil
}
