package foreign

import (
	"context"
	"sync"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/quorum"
)

const (
	// gatherTime is the time for which further waits are added to a call before it is sent. The transactions of one block that
	// are settled here, or whose spending is certified, begin to wait at the same moment. The other shard needs longer than
	// this for its block, so the answer does not come later.
	gatherTime = 2 * time.Millisecond
	// turnTime is the longest time until the answer to a call for several waits: the transactions that are final by then do not
	// wait for the others.
	turnTime = 2 * time.Second
	// maxAwaiting is the number of calls to one shard that wait at a time. Waits that begin meanwhile are added to the next.
	maxAwaiting = 16
	// maxHints is the number of calls to one shard with small hints that are under way. Those that come meanwhile are sent
	// together, in calls of at most a piece. A hint of more than smallHint bytes has a call of its own at once.
	maxHints  = 2
	smallHint = 8 << 10
)

// awaits are the waits of all requests for transactions of one shard. Those that begin at about the same time share a call to
// each replica: a call has a stream of its own, which costs more than the ids in it.
type awaits struct {
	r     *Reader
	shard uint16
	slots chan struct{} // a token for each call that waits

	mu   sync.Mutex
	next *awaitCall // the call that is not sent yet, nil if there is none
}

// awaitCall is a question about the transactions of several waits. The fields are behind the lock of its awaits.
type awaitCall struct {
	ids    []ledger.TxID
	index  map[ledger.TxID]int
	states []quorum.Key   // decided state of each transaction, empty before
	by     [][]*awaitWait // waits for each transaction
	waits  []*awaitWait
	left   int       // waits that have not ended
	end    time.Time // latest end of a wait
	cancel context.CancelFunc
}

// awaitWait is the wait of one request.
type awaitWait struct {
	at   []int // indexes of its transactions in the call
	open int   // of which so many are not decided
	done chan struct{}
	over bool // done is closed
}

// wait waits until f+1 replicas report each transaction as final, or until ctx ends. It returns true for those that they
// report as settled.
func (a *awaits) wait(ctx context.Context, ids []ledger.TxID) []bool {
	c, w := a.join(ctx, ids)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	settled := make([]bool, len(ids))
	for k, i := range w.at {
		settled[k] = c.states[i] == quorum.Key(api.StateSettled)
	}
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return settled
}

// join adds a wait to the next call, and begins that call if there is none.
func (a *awaits) join(ctx context.Context, ids []ledger.TxID) (*awaitCall, *awaitWait) {
	end, ok := ctx.Deadline()
	if latest := time.Now().Add(api.MaxWait); !ok || end.After(latest) {
		end = latest
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.next
	if c == nil || len(c.ids)+len(ids) > api.MaxTxsPerRequest {
		run, cancel := context.WithCancel(context.Background())
		c = &awaitCall{index: make(map[ledger.TxID]int), cancel: cancel}
		a.next = c
		go a.run(run, c)
	}
	w := &awaitWait{at: make([]int, len(ids)), open: len(ids), done: make(chan struct{})}
	for k, id := range ids {
		i, known := c.index[id]
		if !known {
			i = len(c.ids)
			c.index[id] = i
			c.ids, c.states, c.by = append(c.ids, id), append(c.states, ""), append(c.by, nil)
		}
		w.at[k] = i
		c.by[i] = append(c.by[i], w)
	}
	c.waits = append(c.waits, w)
	c.left++
	if end.After(c.end) {
		c.end = end
	}
	return c, w
}

// run sends a call after gatherTime, once there are fewer than maxAwaiting others, and ends its waits. It ends early if they
// have all ended.
func (a *awaits) run(ctx context.Context, c *awaitCall) {
	gather := time.NewTimer(gatherTime)
	defer gather.Stop()
	select {
	case <-gather.C:
	case <-ctx.Done():
	}
	sent := false
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
		sent = true
	case <-ctx.Done():
	}
	a.mu.Lock()
	if a.next == c {
		a.next = nil
	}
	most, shared := time.Until(c.end), len(c.waits) > 1
	a.mu.Unlock()
	if sent && most > 0 {
		a.r.await(ctx, a.shard, c.ids, most, shared, func(i int, state quorum.Key) { a.decided(c, i, state) })
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range c.waits {
		w.finish()
	}
	c.cancel()
}

// decided notes the state of a transaction, and ends the waits for which it was the last.
func (a *awaits) decided(c *awaitCall, i int, state quorum.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.states[i] = state
	for _, w := range c.by[i] {
		if w.open--; w.open == 0 {
			w.finish()
		}
	}
}

func (w *awaitWait) finish() {
	if !w.over {
		w.over = true
		close(w.done)
	}
}

// hints are the transactions that are sent to one other shard as hints. While maxHints calls are under way, further
// transactions wait for the end of one, and are then sent together.
type hints struct {
	r     *Reader
	shard uint16

	mu      sync.Mutex
	open    int     // calls under way
	waiting []*hint // in order of arrival
}

// hint is the transactions of one request.
type hint struct {
	ctx  context.Context // of the request: a hint whose request has ended is not sent
	raws [][]byte
	done chan struct{}
}

// send sends transactions, and returns when their call has ended or ctx ends.
func (h *hints) send(ctx context.Context, raws [][]byte) {
	if bytesOf(raws) > smallHint {
		h.r.hand(ctx, h.shard, raws)
		return
	}
	h.mu.Lock()
	if h.open < maxHints {
		h.open++
		h.mu.Unlock()
		h.r.hand(ctx, h.shard, raws)
		h.next()
		return
	}
	x := &hint{ctx: ctx, raws: raws, done: make(chan struct{})}
	h.waiting = append(h.waiting, x)
	h.mu.Unlock()
	select {
	case <-x.done:
	case <-ctx.Done():
	}
}

func bytesOf(raws [][]byte) (size int) {
	for _, raw := range raws {
		size += len(raw)
	}
	return size
}

// next ends a call, and sends the transactions that have waited longest.
func (h *hints) next() {
	h.mu.Lock()
	n, size := 0, 0
	for n < len(h.waiting) && size+bytesOf(h.waiting[n].raws) <= piece {
		size += bytesOf(h.waiting[n].raws)
		n++
	}
	some := h.waiting[:n:n]
	if h.waiting = h.waiting[n:]; n == 0 {
		h.waiting = nil
		h.open--
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	go func() {
		if raws := distinct(some); len(raws) > 0 {
			h.r.hand(context.Background(), h.shard, raws) // which takes readTime at most
		}
		for _, x := range some {
			close(x.done)
		}
		h.next()
	}()
}

// distinct lists the transactions of several hints whose requests have not ended, each once: a call with a copy is refused.
func distinct(some []*hint) (raws [][]byte) {
	seen := make(map[string]bool)
	for _, x := range some {
		if x.ctx.Err() != nil {
			continue
		}
		for _, raw := range x.raws {
			if !seen[string(raw)] {
				seen[string(raw)] = true
				raws = append(raws, raw)
			}
		}
	}
	return raws
}
