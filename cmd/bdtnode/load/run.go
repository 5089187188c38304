package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// run is the state of a running load.
type run struct {
	cfg       *Config
	to        *replicas
	tally     *tally
	generator *generator
	payloads  *payloads // in place of generator: for a log
	refunds   refunds
	held      *transfer // of arrive: ready, and waits for a second arrival

	start    time.Time     // origin of arrival times
	deadline atomic.Int64  // end of the drain, in Unix nanoseconds
	inFlight atomic.Int64  // number of transfers submitted and not answered
	freed    chan struct{} // holds a token after an answer
	asking   chan struct{} // bounds the number of concurrent queries for single transactions
	work     sync.WaitGroup
	fail     context.CancelCauseFunc
}

func (r *run) run(parent context.Context, s *schedule) (Result, error) {
	base, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	r.fail = cancel
	r.asking = make(chan struct{}, maxAsking)
	if r.generator != nil {
		r.generate(base)
	}
	r.start = time.Now()
	r.deadline.Store(r.start.Add(r.cfg.total() + r.cfg.Drain).UnixNano())
	arriving, stop := context.WithCancel(base)
	defer stop()
	r.work.Go(func() {
		select {
		case <-r.cfg.Stop:
			r.deadline.Store(time.Now().Add(min(StopDrain, r.cfg.Drain)).UnixNano())
			stop()
		case <-arriving.Done():
		}
	})
	stopSamples := r.sample()
	var window sync.WaitGroup
	window.Go(func() { r.window(arriving) })
	if s == nil {
		r.refill(base, arriving)
	} else {
		r.arrive(base, arriving, s)
	}
	partial := arriving.Err() != nil
	if partial {
		r.tally.ends(time.Since(r.start))
	} else {
		window.Wait() // the last arrival may be due before the end of the measured time
	}
	stop()
	window.Wait()
	r.drain(base)
	r.queryEndings(base, partial)
	err := context.Cause(base) // read before base is cancelled below
	cancel(nil)
	r.work.Wait()
	stopSamples()
	return r.tally.result(time.Since(r.start), partial), err
}

// generate begins to sign transfers, and returns when enough are ready.
func (r *run) generate(ctx context.Context) {
	for range signWorkers {
		r.work.Go(func() {
			if err := r.generator.work(ctx); err != nil {
				r.fail(fmt.Errorf("generate a transfer: %w", err))
			}
		})
	}
	r.work.Go(func() { r.queryRefunds(ctx) })
	r.awaitReady(ctx)
	r.generator.loading.Store(true)
}

// left is the time until the drain is over.
func (r *run) left() time.Duration { return time.Until(time.Unix(0, r.deadline.Load())) }

// awaitReady waits until as many transfers are signed as can be ahead of time, so that the first arrivals find some.
func (r *run) awaitReady(ctx context.Context) {
	enough := min(r.generator.ahead, r.generator.total)
	last := time.Now()
	for ctx.Err() == nil && int(r.generator.signed.Load()) < enough && r.generator.starved.Load() == 0 {
		select {
		case <-r.cfg.Stop:
			return
		default:
		}
		if r.cfg.Signing != nil && time.Since(last) >= sampleEvery {
			last = time.Now()
			r.cfg.Signing(int(r.generator.signed.Load()), enough)
		}
		pause(ctx, time.Millisecond)
	}
}

// window calls the function of the configuration at the begin and at the end of the measured time.
func (r *run) window(arriving context.Context) {
	pause(arriving, r.cfg.Warmup-time.Since(r.start))
	if arriving.Err() != nil || r.cfg.Window == nil {
		pause(arriving, r.cfg.total()-time.Since(r.start))
		return
	}
	r.cfg.Window(true)
	pause(arriving, r.cfg.total()-time.Since(r.start))
	r.cfg.Window(false)
}

// refill sends transfers so that a number of them have no answer, until the duration is over or arriving ends. Answers
// that come within a tick share a request, unless they are a good part of all.
func (r *run) refill(ctx, arriving context.Context) {
	var last time.Duration
	for arriving.Err() == nil && time.Since(r.start) < r.cfg.total() {
		room := r.cfg.Closed - int(r.inFlight.Load())
		now := time.Since(r.start)
		if room <= 0 || room < r.cfg.Closed/refillPart && now-last < tick {
			select {
			case <-r.freed:
			case <-time.After(tick):
			case <-arriving.Done():
			}
			continue
		}
		last = now
		if left := r.send(ctx, slices.Repeat([]time.Duration{now}, room)); len(left) == room {
			pause(arriving, time.Millisecond) // no transfer is ready
		}
	}
}

// refillPart is the part of a closed loop whose answers are replaced at once.
const refillPart = 16

// answered counts transactions that are not in flight any more.
func (r *run) answered(n int) {
	r.inFlight.Add(-int64(n))
	select {
	case r.freed <- struct{}{}:
	default:
	}
}

// arrive submits transfers as arrivals become due, at most once a tick, until all are submitted or arriving ends. An
// arrival for which no transfer is ready, because its inputs have not settled, waits for one until the drain is over.
func (r *run) arrive(ctx, arriving context.Context, s *schedule) {
	var waiting []time.Duration
	var last time.Duration
	for s.more() || len(waiting) > 0 {
		now := time.Since(r.start)
		next := now
		if s.more() {
			next = s.due
		}
		if len(waiting) > 0 {
			next = now
		}
		pause(arriving, max(next, last+tick)-now)
		if arriving.Err() != nil || r.left() <= 0 {
			break
		}
		last = time.Since(r.start)
		waiting = s.take(last, waiting)
		waiting = r.send(ctx, waiting)
		if room := max(0, r.cfg.MaxInFlight-int(r.inFlight.Load())); len(waiting) > room {
			r.tally.unsent(waiting[room:])
			waiting = waiting[:room]
		}
	}
	r.tally.unsent(s.take(time.Since(r.start), waiting)) // including arrivals that became due before the end and were not handled
}

// send assigns ready transfers to arrivals, submits them to the next replicas, and returns the arrivals left.
func (r *run) send(ctx context.Context, waiting []time.Duration) []time.Duration {
	if r.payloads != nil {
		return r.sendPayloads(ctx, waiting)
	}
	rest := waiting
	for len(rest) > 0 {
		batch := make([]*transfer, 0, min(len(rest), maxBatch))
		for room := min(cap(batch), r.cfg.MaxInFlight-int(r.inFlight.Load())); len(batch) < room; {
			t := r.next(room - len(batch))
			if t == nil {
				break
			}
			for _, x := range t.both() {
				x.due = rest[len(batch)]
				batch = append(batch, x)
			}
		}
		if len(batch) == 0 {
			break
		}
		rest = rest[len(batch):]
		r.inFlight.Add(int64(len(batch)))
		r.tally.sent(batch)
		for _, g := range together(batch) {
			to := r.to.next(g[0].to)
			for _, x := range g {
				x.first = to
			}
			r.work.Go(func() { r.deliver(ctx, g, to) })
		}
	}
	return waiting[:copy(waiting, rest)]
}

// next takes the next ready transfer, nil if there is none, or if two are to be submitted together and only one arrival is
// due.
func (r *run) next(arrivals int) *transfer {
	t := r.held
	if r.held = nil; t == nil {
		select {
		case t = <-r.generator.ready:
		default:
			return nil
		}
	}
	if len(t.both()) > arrivals {
		r.held = t
		return nil
	}
	return t
}

// together groups transfers that share a request: those for one shard with a similar latency, because a request is
// answered when its last transfer is. Transfers across shards take longer than those inside a shard, and invalid ones
// across shards take an unpredictable time. Those that are submitted to one shard only, or for another stage, have
// requests of their own.
func together(batch []*transfer) [][]*transfer {
	type class struct {
		to             uint16
		cross, invalid bool
		once, orphan   bool
	}
	place := make(map[class]int)
	var groups [][]*transfer
	for _, t := range batch {
		c := class{t.to, t.cross, t.cross && t.invalid(), t.once, t.orphan()}
		i, ok := place[c]
		if !ok {
			i = len(groups)
			place[c], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// drain waits until no transfer is in flight, the drain is over, or the context ends.
func (r *run) drain(ctx context.Context) {
	for ctx.Err() == nil && r.inFlight.Load() > 0 && r.left() > 0 {
		pause(ctx, tick)
	}
}

// sample reports the state of the load every second until stop is called.
func (r *run) sample() (stop func()) {
	if r.cfg.Each == nil {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(sampleEvery)
		defer t.Stop()
		last := time.Now()
		for {
			select {
			case <-quit:
				return
			case now := <-t.C:
				s := r.tally.sample(now.Sub(last))
				s.Elapsed = now.Sub(r.start)
				last = now
				r.cfg.Each(s)
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
