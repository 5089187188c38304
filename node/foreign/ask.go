package foreign

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	golog "github.com/ipfs/go-log/v2"

	"bdtnode/node/api"
	"bdtnode/node/loglimit"
	"bdtnode/node/quorum"
	"bdtnode/protocols"
)

var outside = loglimit.New(golog.Logger("bdt/foreign"))

// Times of questions.
const (
	readTime  = 4 * time.Second        // a question that waits for nothing lasts at most
	silence   = 300 * time.Millisecond // without an answer, before a further replica is asked
	patience  = 3 * time.Second        // the same for a question that waits, before its first answer
	pause     = 150 * time.Millisecond // before replicas are asked again
	longPause = time.Second            // the same for a question that waits
	rounds    = 3                      // in which a question that waits for nothing asks each of them at most
	margin    = 200 * time.Millisecond // between the answer to a wait and the wait's end, for the way back
)

// Bytes of answers. The largest page of an account has some 300 kB.
const (
	mostAnswer = 1 << 20
	mostBlock  = 4 << 20
)

// Caller passes a call on to one replica of a shard and returns its answer, of at most so many bytes.
type Caller interface {
	Call(ctx context.Context, shard uint16, to protocols.Index, call []byte, most int64) ([]byte, error)
}

// Reader asks other shards on behalf of one replica. It is safe for concurrent use.
type Reader struct {
	self       protocols.Index
	committees []*protocols.Committee // by shard
	caller     Caller
	turn       atomic.Uint64 // of questions: each begins with another replica
}

// NewReader makes one for a replica, whose index only spreads the load. The committees are those of all shards.
func NewReader(self protocols.Index, committees []*protocols.Committee, caller Caller) *Reader {
	return &Reader{self: self, committees: committees, caller: caller}
}

// question is what is asked of the replicas of a shard.
type question[T any] struct {
	quorum.Config
	shard uint16
	call  func(left time.Duration) []byte // left is the time until the question ends
	most  int64                           // bytes of an answer
	// read checks an answer and gives its keys; an error means that it is none. It is not called concurrently.
	read func(from protocols.Index, answer *T, err error) ([]quorum.Key, error)
}

// heard is what came of a question.
type heard struct {
	*quorum.Machine
	last error // the latest failure
}

// said keeps what answers with a key say of an item, the first of them with the further ones merged into it.
type said[A any] struct {
	merge func(first, further *A)
	by    map[itemKey]*A
}

type itemKey struct {
	item int
	key  quorum.Key
}

func newSaid[A any](merge func(first, further *A)) *said[A] {
	return &said[A]{merge, make(map[itemKey]*A)}
}

func (s *said[A]) note(i int, key quorum.Key, a *A) {
	if first := s.by[itemKey{i, key}]; first != nil {
		s.merge(first, a)
		return
	}
	s.by[itemKey{i, key}] = a
}

// reading is a question that waits for nothing, of one item.
func (r *Reader) reading(shard uint16) quorum.Config {
	c := r.committees[shard]
	return quorum.Config{
		Committee: c, Need: c.WeakQuorum(), Items: 1, First: r.first(c),
		Patience: silence, Silence: silence, Pause: pause, Rounds: rounds,
	}
}

// waiting is a question that is answered once something has happened.
func (r *Reader) waiting(shard uint16, items int) quorum.Config {
	q := r.reading(shard)
	q.Items, q.Patience, q.Pause, q.Rounds = items, patience, longPause, 0
	return q
}

func (r *Reader) first(c *protocols.Committee) protocols.Index {
	return protocols.Index((r.turn.Add(1) + uint64(r.self)) % uint64(c.N()))
}

// put puts a question and returns when it has ended, or when ctx does.
func put[T any](ctx context.Context, r *Reader, q question[T], most time.Duration) heard {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel() // requests that are still open are given up, and so is their service
	began := time.Now()
	now := func() protocols.Time { return protocols.Time(1 + time.Since(began)) }
	end, _ := ctx.Deadline()
	q.Deadline = protocols.Time(1 + max(0, end.Sub(began)))
	machine, asks := quorum.New(q.Config, now())
	h := heard{Machine: machine}
	type result struct {
		ask quorum.Ask
		raw []byte
		err error
	}
	results := make(chan result, q.Committee.N()) // as many as may be open, so nobody waits to report
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for _, a := range asks {
			go func() {
				raw, err := r.caller.Call(ctx, q.shard, a.To, q.call(time.Until(end)), q.most)
				results <- result{a, raw, err}
			}()
		}
		if h.Done() || ctx.Err() != nil {
			return h
		}
		timer.Reset(max(0, h.Wake().Sub(now())))
		select {
		case x := <-results:
			asks = take(&h, &q, now(), x.ask, x.raw, x.err)
		case <-timer.C:
			asks = h.Tick(now())
		case <-ctx.Done():
			asks = nil
		}
	}
}

// take takes a replica's answer in.
func take[T any](h *heard, q *question[T], now protocols.Time, a quorum.Ask, raw []byte, err error) []quorum.Ask {
	answer := new(T)
	var keys []quorum.Key
	if err == nil {
		keys, err = q.read(a.To, answer, decodeReply(raw, answer))
	}
	if err == nil && len(keys) != q.Items {
		err = fmt.Errorf("answers to %d of %d items", len(keys), q.Items)
	}
	if err != nil {
		h.last = fmt.Errorf("shard %d replica %d: %w", q.shard, a.To, err)
		outside.Debugw("no answer", [2]uint16{q.shard, uint16(a.To)}, "shard", q.shard, "replica", a.To, "error", err)
		return h.Failed(now, a)
	}
	return h.Answered(now, a, keys)
}

// Keys of answers that every replica gives in the same case.
const (
	keyNotFound  quorum.Key = "not found"
	keyBadCursor quorum.Key = "bad cursor"
)

// keyOf is the key of an answer: the digest of all in it that replicas must agree on.
func keyOf(v any) quorum.Key {
	d := sha256.Sum256(encode(v))
	return quorum.Key(d[:])
}

// refused gives an error that is the same at every replica its key.
func refused(err error) ([]quorum.Key, error) {
	switch {
	case errors.Is(err, api.ErrNotFound):
		return []quorum.Key{keyNotFound}, nil
	case errors.Is(err, api.ErrBadCursor):
		return []quorum.Key{keyBadCursor}, nil
	}
	return nil, err
}

// result is what a question of one item came to. ok is false if too few agree; then the answer is that of most, and an
// error if there is none.
func result[A any](h *heard, shard uint16, s *said[A]) (answer *A, ok bool, err error) {
	key, _, ok := h.Decided(0)
	if !ok {
		key, _ = h.Most(0)
	}
	switch {
	case ok && key == keyNotFound:
		return nil, true, fmt.Errorf("shard %d: %w", shard, api.ErrNotFound)
	case ok && key == keyBadCursor:
		return nil, true, fmt.Errorf("shard %d: %w", shard, api.ErrBadCursor)
	case key == "" || key == keyNotFound || key == keyBadCursor:
		return nil, false, h.unavailable(shard)
	}
	return s.by[itemKey{0, key}], ok, nil
}

func (h *heard) unavailable(shard uint16) error {
	err := fmt.Errorf("shard %d: %d replicas answer, too few agree: %w", shard, h.Heard(), api.ErrUnavailable)
	if h.Heard() == 0 {
		err = fmt.Errorf("shard %d does not answer: %w", shard, api.ErrUnavailable)
	}
	if h.last != nil {
		err = fmt.Errorf("%w (%w)", err, h.last)
	}
	return err
}
