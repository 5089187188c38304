// Package appends has the requests to append opaque payloads to the log of a shard, from their arrival until the client has
// its answer. It is the counterpart of package admission, which does the same for transactions, and is deterministic.
//
// A request is held as a whole: its payloads stay in their encoding, and its memory and work do not grow with their number.
// There is no mempool. Payloads wait in the order of their requests until a batch of the own lane takes them, possibly some
// of a request at a time. Then the queue keeps only the number of payloads of each request in each batch.
//
// Nothing is persisted: a payload is accepted once the batch that has it is on disk, and the lane keeps the batch. A crash
// ends the requests with their connections.
package appends

import (
	"bdtnode/internal/fairshare"
	"bdtnode/ledger"
	"bdtnode/node/admission"
)

// DefaultBytes is the number of bytes of payloads that may wait for a batch at a replica.
const DefaultBytes = 32 << 20

// minShare is the number of bytes that one party may have waiting while there are as many: a payload of the greatest size.
const minShare = ledger.MaxOpaqueBytes + ledger.MaxOpaqueOverhead

// Request is a request of one client to append payloads. It waits until all have reached a stage: [admission.Logged],
// [admission.Ordered] or [admission.Certified].
type Request struct {
	party admission.Party
	stage admission.Stage
	done  func() // called once, when all payloads have reached the stage
	rest  ledger.Opaque
	over  bool // the stage is reached, or the client has left

	taken   int // payloads in batches
	logged  int // payloads in batches on disk
	ordered int // payloads in executed blocks
	held    int // bytes of the share of the party
	result  Result
}

// Result is the progress of a request.
type Result struct {
	Count     int
	Accepted  int  // payloads on disk: the first ones of the request
	Dropped   int  // payloads that will not be ordered, since the client left before a batch took them: the last ones
	Certified bool // all are in blocks whose headers are certified
	Placed    []Placed
	Repeated  []Repeated
}

// Placed are consecutive payloads of a request that follow one another in a batch, those that are repeated included.
type Placed struct {
	Index int // of the first in the request
	Count int
	At    ledger.LogPlace // of the first
}

// Repeated is a payload of a request whose id the log had already.
type Repeated struct {
	Index int // in the request
	Of    ledger.LogPlace
}

// Ordered is the number of payloads in executed blocks: the first ones of the request.
func (r *Result) Ordered() (n int) {
	for i := range r.Placed {
		n += r.Placed[i].Count
	}
	return n
}

// NewRequest returns a request. The entries must not change until the request is closed. done must not block and must not
// call into this package.
func NewRequest(from admission.Party, entries ledger.Opaque, stage admission.Stage, done func()) *Request {
	return &Request{party: from, stage: stage, done: done, rest: entries, result: Result{Count: entries.Len()}}
}

// Queue has the requests of one replica. It has no lock: the caller calls one method at a time.
type Queue struct {
	lane      uint16 // of this replica
	share     fairshare.Pool[admission.Party]
	waiting   []*Request // with payloads that no batch has
	bytes     int        // of these payloads
	count     int        // of these payloads
	taken     []batch    // not on disk yet, in the order of their numbers
	sent      map[uint64]batch
	atHeight  map[uint64][]*Request // that wait for the certified header
	certified uint64
}

// batch are the parts of requests in a batch of the own lane.
type batch []part

type part struct {
	r     *Request
	index int // of the first payload in the request
	count int
}

// New returns a queue of a lane without requests. certified is the height up to which headers are certified.
func New(lane uint16, bytes int, certified uint64) *Queue {
	return &Queue{
		lane: lane, share: fairshare.NewPool[admission.Party](int64(bytes), minShare), sent: make(map[uint64]batch),
		atHeight: make(map[uint64][]*Request), certified: certified,
	}
}

// Add queues the payloads of a request. It returns false, and the request has ended, if the party has as many bytes waiting
// as it may have.
func (q *Queue) Add(r *Request) bool {
	size := len(r.rest.Raw())
	if !q.share.Take(r.party, int64(size)) {
		r.over = true
		return false
	}
	r.held = size
	q.bytes, q.count = q.bytes+size, q.count+r.rest.Len()
	q.waiting = append(q.waiting, r)
	return true
}

// Close ends a request, whether it has reached its stage or not, and returns its result. Payloads that no batch has are
// dropped. Those in a batch stay in it.
func (q *Queue) Close(r *Request) Result {
	r.over = true
	if r.rest.Len() > 0 {
		for i, x := range q.waiting {
			if x == r {
				q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
				q.bytes, q.count = q.bytes-len(r.rest.Raw()), q.count-r.rest.Len()
				r.result.Dropped = r.rest.Len()
				break
			}
		}
		r.rest = ledger.Opaque{}
	}
	q.release(r, r.held)
	r.result.Accepted = r.logged
	return r.result
}

func (q *Queue) release(r *Request, bytes int) {
	if bytes > 0 {
		q.share.Give(r.party, int64(bytes))
		r.held -= bytes
	}
}

// Waiting is the number of payloads that no batch has, and their bytes in a batch.
func (q *Queue) Waiting() (count, bytes int) { return q.count, q.bytes }

// Requests is the number of requests with payloads that no batch has, and of parts of requests in batches that are not
// executed.
func (q *Queue) Requests() (waiting, inBatches int) {
	for _, b := range q.taken {
		inBatches += len(b)
	}
	for _, b := range q.sent {
		inBatches += len(b)
	}
	return len(q.waiting), inBatches
}

// Take hands out payloads for the next batch, in the order of their requests, as parts of encoded entries of at most so many
// bytes and so many entries together. The parts are valid until the next call. A payload that alone is longer is handed out
// alone.
func (q *Queue) Take(bytes, most int) (parts [][]byte) {
	var b batch
	used, count, whole := 0, 0, 0
	for _, r := range q.waiting {
		raw, n := r.rest.Part(bytes-used, most-count)
		if n == 0 || len(b) > 0 && used+len(raw) > bytes {
			break
		}
		parts = append(parts, raw)
		b = append(b, part{r, r.taken, n})
		r.rest = r.rest.After(raw, n)
		r.taken += n
		q.release(r, len(raw))
		used, count = used+len(raw), count+n
		if r.rest.Len() > 0 {
			break
		}
		whole++
	}
	q.waiting = append(q.waiting[:0], q.waiting[whole:]...)
	q.bytes, q.count = q.bytes-used, q.count-count
	if len(b) > 0 {
		q.taken = append(q.taken, b)
	}
	return parts
}

// Logged is called when the oldest batch that Take made up is on disk, with the number that the lane has given it.
func (q *Queue) Logged(number uint64) {
	b := q.taken[0]
	q.taken = append(q.taken[:0], q.taken[1:]...)
	q.sent[number] = b
	for _, p := range b {
		p.r.logged += p.count
		if p.r.stage == admission.Logged && p.r.logged == p.r.result.Count {
			p.r.finish()
		}
	}
}

// Executed is called with the batches of each executed block.
func (q *Queue) Executed(height uint64, log []ledger.LogBatch) {
	for i := range log {
		x := &log[i]
		if x.Lane != q.lane {
			continue
		}
		b := q.sent[x.Seq]
		delete(q.sent, x.Seq)
		at := ledger.LogPlace{Height: height, Batch: uint32(i)}
		repeated := x.Repeated
		for _, p := range b {
			q.place(p, at, &repeated)
			at.Position += uint32(p.count)
		}
	}
}

// place notes the place of a part of a request. repeated are the repeated entries of the batch from that place on.
func (q *Queue) place(p part, at ledger.LogPlace, repeated *[]ledger.LogRepeat) {
	r := p.r
	for len(*repeated) > 0 && (*repeated)[0].Position < at.Position+uint32(p.count) {
		x := (*repeated)[0]
		*repeated = (*repeated)[1:]
		if !r.over {
			r.result.Repeated = append(r.result.Repeated, Repeated{Index: p.index + int(x.Position-at.Position), Of: x.Of})
		}
	}
	if r.over {
		return
	}
	r.result.Placed = append(r.result.Placed, Placed{Index: p.index, Count: p.count, At: at})
	if r.ordered += p.count; r.ordered < r.result.Count {
		return
	}
	switch {
	case r.stage != admission.Certified:
		r.finish()
	case q.certified >= at.Height:
		r.certify()
	default:
		q.atHeight[at.Height] = append(q.atHeight[at.Height], r)
	}
}

// Certified is called when the header of a height has its f+1 VOTEs. Headers below may be certified later.
func (q *Queue) Certified(height uint64) {
	q.certified = max(q.certified, height)
	for _, r := range q.atHeight[height] {
		r.certify()
	}
	delete(q.atHeight, height)
}

func (r *Request) certify() {
	r.result.Certified = true
	r.finish()
}

func (r *Request) finish() {
	if !r.over {
		r.over = true
		r.done()
	}
}
