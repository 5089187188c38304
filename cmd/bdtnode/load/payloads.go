package load

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

const (
	// MaxPayload is the length of the longest payload of a load.
	MaxPayload = ledger.MaxOpaqueBytes

	maxBody    = 4 << 20 // bytes of a request that a replica takes
	perRequest = 2000    // payloads of a request at most
)

// poolBytes is the number of random bytes from which payloads are taken, besides the length of one. Batches of them hardly
// compress, as the distance of two payloads with common bytes is larger than the window of a fast compression.
const poolBytes = 1 << 20

// payloads makes the opaque payloads of a load on a log. Each begins with a number of its own, and goes on with random bytes.
type payloads struct {
	content []byte
	pool    []byte
	number  uint64
	shard   int       // of the next request
	bodies  sync.Pool // of requests that have their answer: *client.Payloads
}

func newPayloads(size int) *payloads {
	p := &payloads{
		content: make([]byte, size), pool: make([]byte, poolBytes+size),
		bodies: sync.Pool{New: func() any { return new(client.Payloads) }},
	}
	_, _ = rand.NewChaCha8([32]byte{}).Read(p.pool) // never fails
	return p
}

// next is the next payload, valid until the next call.
func (p *payloads) next() []byte {
	p.number++
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], p.number)
	copy(p.content, p.pool[p.number*uint64(len(p.content))%poolBytes:])
	copy(p.content, number[:])
	return p.content
}

// most is the number of payloads of a request.
func (p *payloads) most() int {
	return max(1, min(perRequest, api.MaxPayloadsPerRequest, maxBody/(len(p.content)+ledger.MaxOpaqueOverhead)))
}

// appending is a request of payloads.
type appending struct {
	due   []time.Duration // of each payload
	body  *client.Payloads
	first int // index of the replica that it is sent to first
}

// equal is the number of payloads, from the first one on, that have the same due time.
func equal(due []time.Duration) int {
	n := 1
	for n < len(due) && due[n] == due[0] {
		n++
	}
	return n
}

// sendPayloads submits a payload for each arrival to the replicas of the shards in turn, and returns the arrivals left.
func (r *run) sendPayloads(ctx context.Context, waiting []time.Duration) []time.Duration {
	rest := waiting
	for len(rest) > 0 {
		n := min(len(rest), r.payloads.most(), r.cfg.MaxInFlight-int(r.inFlight.Load()))
		if n <= 0 {
			break
		}
		body := r.payloads.bodies.Get().(*client.Payloads)
		a := &appending{due: slices.Clone(rest[:n]), body: body, first: r.to.next(uint16(r.payloads.shard))}
		r.payloads.shard = (r.payloads.shard + 1) % len(r.cfg.Shards)
		for range n {
			if err := a.body.Add(r.payloads.next()); err != nil {
				r.fail(err) // the size was checked before
				return nil
			}
		}
		rest = rest[n:]
		r.inFlight.Add(int64(n))
		r.tally.sentPayloads(a)
		r.work.Go(func() {
			r.appendTo(ctx, a)
			r.answered(len(a.due))
			body.Reset()
			r.payloads.bodies.Put(body)
		})
	}
	return waiting[:copy(waiting, rest)]
}

// appendTo appends the payloads of a request, and counts them if all are ordered. If a replica has no room, the next one
// gets the request. Payloads whose outcome is not known stay pending: to append them again could append them twice.
func (r *run) appendTo(ctx context.Context, a *appending) {
	for replica := a.first; ctx.Err() == nil && r.left() > 0; replica = r.to.after(replica) {
		wait := max(time.Millisecond, min(maxPostWait, r.left()-answerMargin))
		answer, err := r.to.clients[replica].Append(ctx, a.body, api.WaitOrdered, wait)
		now := time.Since(r.start)
		if err == nil {
			r.tally.appended(a, &answer, len(r.payloads.content), now)
			return
		}
		var problem *client.ProblemError
		full := errors.As(err, &problem) && (problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusServiceUnavailable)
		if !full {
			if r.retryAfter(err) < 0 && ctx.Err() == nil {
				r.fail(err)
			}
			return
		}
		pause(ctx, max(problem.RetryAfter, tick))
	}
}

// sentPayloads counts payloads that are about to be submitted.
func (t *tally) sentPayloads(a *appending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Submitted += uint64(len(a.due))
	t.appends[a] = struct{}{}
	for _, due := range a.due {
		if t.measured(due) {
			t.res.Submitted++
		}
	}
}

// appended counts the answer to a request of payloads of a size.
func (t *tally) appended(a *appending, answer *api.AppendAnswer, size int, now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ordered := answer.State == api.StateOrdered || answer.State == api.StateCertified
	accepted := answer.Accepted
	if ordered {
		accepted = len(a.due)
	}
	for i := 0; i < len(a.due); {
		n, took, measured := equal(a.due[i:]), now-a.due[i], t.measured(a.due[i])
		if measured {
			t.res.Accepted += uint64(max(0, min(n, accepted-i)))
		}
		if ordered {
			t.recent.addSame(took, n)
		}
		if ordered && measured {
			t.res.Settled += uint64(n)
			t.inside.addSame(took, n)
			t.at[a.first].addSame(took, n)
		}
		i += n
	}
	if !ordered {
		return
	}
	delete(t.appends, a)
	t.all.Settled += uint64(len(a.due))
	t.last = max(t.last, now)
	if now >= t.from && now < t.until {
		t.res.Within += uint64(len(a.due))
		t.res.WithinBytes += uint64(len(a.due) * size)
	}
}

// openPayloads adds the waiting times of payloads without a final answer.
func (t *tally) openPayloads(now time.Duration) {
	for a := range t.appends {
		for _, due := range a.due {
			if t.measured(due) {
				t.inside.add(now - due)
				t.at[a.first].add(now - due)
			}
		}
	}
}
