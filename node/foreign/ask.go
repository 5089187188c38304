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

// Times of questions. A reading question asks for the current state; a waiting question is answered when an event has
// happened.
const (
	readTime  = 4 * time.Second        // longest time of a reading question
	silence   = 300 * time.Millisecond // time without an answer before one more replica is asked
	patience  = 3 * time.Second        // the same for a waiting question, before its first answer
	pause     = 150 * time.Millisecond // pause before replicas are asked again
	longPause = time.Second            // the same for a waiting question
	rounds    = 3                      // largest number of rounds of a reading question
	margin    = 200 * time.Millisecond // time from the answer to a wait to the end of the wait, for the transport
)

// Largest answers, in bytes. The largest page of an account has about 300 kB.
const (
	mostAnswer = 1 << 20
	mostBlock  = 4 << 20
)

// Caller sends a call to one replica of a shard and returns its answer, of at most most bytes.
type Caller interface {
	Call(ctx context.Context, shard uint16, to protocols.Index, call []byte, most int64) ([]byte, error)
}

// Reader asks other shards on behalf of one replica. It is safe for concurrent use.
type Reader struct {
	self       protocols.Index
	committees []*protocols.Committee // by shard
	caller     Caller
	turn       atomic.Uint64 // number of questions so far: each begins with another replica
	awaits     []*awaits     // by shard
	hints      []*hints      // by shard
}

// NewReader returns a reader for a replica, whose index is used only to spread the load. The committees are those of
// all shards.
func NewReader(self protocols.Index, committees []*protocols.Committee, caller Caller) *Reader {
	r := &Reader{self: self, committees: committees, caller: caller}
	for s := range committees {
		r.awaits = append(r.awaits, &awaits{r: r, shard: uint16(s), slots: make(chan struct{}, maxAwaiting)})
		r.hints = append(r.hints, &hints{r: r, shard: uint16(s)})
	}
	return r
}

// question is a question to the replicas of a shard.
type question[T any] struct {
	quorum.Config
	shard uint16
	call  func(left time.Duration) []byte // left is the time until the question ends
	most  int64                           // largest answer, in bytes
	// read checks an answer and returns its keys. An error means that the answer is invalid. It is not called
	// concurrently.
	read func(from protocols.Index, answer *T, err error) ([]quorum.Key, error)
	// answered, if not nil, is called after each answer.
	answered func(m *quorum.Machine)
}

// outcome is the result of a question.
type outcome struct {
	*quorum.Machine
	last error // the latest failure
}

// answerSet stores, for each item and key, the first answer with that key, merged with the further ones.
type answerSet[A any] struct {
	merge func(first, further *A)
	by    map[itemKey]*A
}

type itemKey struct {
	item int
	key  quorum.Key
}

func newAnswerSet[A any](merge func(first, further *A)) *answerSet[A] {
	return &answerSet[A]{merge, make(map[itemKey]*A)}
}

func (s *answerSet[A]) note(i int, key quorum.Key, a *A) {
	if first := s.by[itemKey{i, key}]; first != nil {
		s.merge(first, a)
		return
	}
	s.by[itemKey{i, key}] = a
}

// reading returns the configuration of a reading question with one item.
func (r *Reader) reading(shard uint16) quorum.Config {
	c := r.committees[shard]
	return quorum.Config{
		Committee: c, Need: c.WeakQuorum(), Items: 1, First: r.first(c),
		Patience: silence, Silence: silence, Pause: pause, Rounds: rounds,
	}
}

// waiting returns the configuration of a waiting question.
func (r *Reader) waiting(shard uint16, items int) quorum.Config {
	q := r.reading(shard)
	q.Items, q.Patience, q.Pause, q.Rounds = items, patience, longPause, 0
	return q
}

func (r *Reader) first(c *protocols.Committee) protocols.Index {
	return protocols.Index((r.turn.Add(1) + uint64(r.self)) % uint64(c.N()))
}

// askShard asks a question and returns when it has ended or ctx ends.
func askShard[T any](ctx context.Context, r *Reader, q question[T], most time.Duration) outcome {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel() // ends open requests and their service
	began := time.Now()
	now := func() protocols.Time { return protocols.Time(1 + time.Since(began)) }
	end, _ := ctx.Deadline()
	q.Deadline = protocols.Time(1 + max(0, end.Sub(began)))
	machine, asks := quorum.New(q.Config, now())
	h := outcome{Machine: machine}
	type result struct {
		ask quorum.Ask
		raw []byte
		err error
	}
	results := make(chan result, q.Committee.N()) // capacity for all open requests, so no goroutine blocks on its result
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
			asks = processAnswer(&h, &q, now(), x.ask, x.raw, x.err)
			if q.answered != nil {
				q.answered(h.Machine)
			}
		case <-timer.C:
			asks = h.Tick(now())
		case <-ctx.Done():
			asks = nil
		}
	}
}

// processAnswer processes the result of one request.
func processAnswer[T any](h *outcome, q *question[T], now protocols.Time, a quorum.Ask, raw []byte, err error) []quorum.Ask {
	answer := new(T)
	var keys []quorum.Key
	if err == nil {
		keys, err = q.read(a.To, answer, decodeReply(raw, answer))
	}
	if err == nil && len(keys) != q.Items {
		err = fmt.Errorf("an answer with %d items, want %d", len(keys), q.Items)
	}
	if err != nil {
		h.last = fmt.Errorf("shard %d replica %d: %w", q.shard, a.To, err)
		outside.Debugw("question not answered", [2]uint16{q.shard, uint16(a.To)}, "shard", q.shard, "replica", a.To, "error", err)
		return h.Failed(now, a)
	}
	return h.Answered(now, a, keys)
}

// Keys of error answers that all honest replicas give in the same case.
const (
	keyNotFound  quorum.Key = "not found"
	keyBadCursor quorum.Key = "bad cursor"
)

// keyOf is the key of an answer: the digest of all values on which replicas must agree.
func keyOf(v any) quorum.Key {
	d := sha256.Sum256(encode(v))
	return quorum.Key(d[:])
}

// refused returns the key of an error that is the same at every replica. Other errors are returned.
func refused(err error) ([]quorum.Key, error) {
	switch {
	case errors.Is(err, api.ErrNotFound):
		return []quorum.Key{keyNotFound}, nil
	case errors.Is(err, api.ErrBadCursor):
		return []quorum.Key{keyBadCursor}, nil
	}
	return nil, err
}

// result returns the answer to a question with one item. ok is false if too few replicas agree. Then the answer is that
// of the most replicas, and err is set if there is none.
func result[A any](h *outcome, shard uint16, s *answerSet[A]) (answer *A, ok bool, err error) {
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

func (h *outcome) unavailable(shard uint16) error {
	err := fmt.Errorf("shard %d: %d replicas answer, but too few agree: %w", shard, h.Heard(), api.ErrUnavailable)
	if h.Heard() == 0 {
		err = fmt.Errorf("shard %d does not answer: %w", shard, api.ErrUnavailable)
	}
	if h.last != nil {
		err = fmt.Errorf("%w (%w)", err, h.last)
	}
	return err
}
