package ledger

import (
	"container/heap"
	"fmt"
	"slices"
	"sync"
)

// Limits of a TX book unless its maker says otherwise.
const (
	DefaultBookTxs   = 100_000
	DefaultBookBytes = 64 << 20
)

// readySlack is how many dead places the queue may have beside as many as twice the book.
const readySlack = 256

// maxBackoff bounds the blocks a transaction left out waits before it is tried again.
const maxBackoff = 64

// Book is the transactions a replica may still propose, each from when it is added until a block decides it or it
// expires. It hands them out first come, first served. Two that spend the same output are both kept: the order of
// blocks decides. Its methods are safe for concurrent use; one mutex guards it all.
type Book struct {
	maxTxs, maxBytes int

	mu      sync.Mutex
	entries map[TxID]*bookEntry
	bytes   int
	height  uint64
	waits   int                   // bytes of what is ready
	ready   []*bookEntry          // to be taken, first come first; may hold some that left the book
	parked  []*bookEntry          // left out, to be ready again at some height; may hold some that left the book
	waiting map[TxID][]*bookEntry // left out for want of an output of that transaction
	expiry  expiryHeap
}

type bookEntry struct {
	tx      *Tx
	state   bookState
	backoff uint64 // blocks to wait the next time it is left out
	retryAt uint64 // height, while parked
	missing TxID   // while waiting
	heapAt  int
}

type bookState uint8

const (
	bookNew bookState = iota
	bookReady
	bookInFlight
	bookParked
	bookWaiting
	bookGone
)

// NewBook makes a book of at most maxTxs transactions and maxBytes of encodings.
func NewBook(maxTxs, maxBytes int) *Book {
	return &Book{maxTxs: maxTxs, maxBytes: maxBytes, entries: make(map[TxID]*bookEntry), waiting: make(map[TxID][]*bookEntry)}
}

// Add puts a checked transaction in. It answers false if it is there already, and a refusal if there is no room.
func (b *Book) Add(tx *Tx) (added bool, full *Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.entries[tx.id]; ok {
		return false, nil
	}
	if len(b.entries) >= b.maxTxs || b.bytes+len(tx.raw) > b.maxBytes {
		return false, refuse(ReasonBookFull, "%d transactions wait, %d bytes", len(b.entries), b.bytes)
	}
	e := &bookEntry{tx: tx, backoff: 2}
	b.entries[tx.id] = e
	b.bytes += len(tx.raw)
	b.again(e)
	heap.Push(&b.expiry, e)
	return true, nil
}

// Has reports whether a transaction is in the book.
func (b *Book) Has(id TxID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.entries[id]
	return ok
}

// Len is the number of transactions in the book, those in flight included.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.entries)
}

// Waiting is the bytes of the transactions that Take would hand out.
func (b *Book) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits
}

// Take hands out the encodings of transactions for one batch of this replica's lane: at most maxCount, whose
// payload ([EncodePayload]) takes at most maxBytes, which must leave room for one of any size. They stay in the
// book, in flight, until a block decides them. The encodings must not be changed.
func (b *Book) Take(maxBytes, maxCount int) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out [][]byte
	size := payloadHead
	for b.trim(); len(b.ready) > 0 && len(out) < maxCount; b.trim() {
		e := b.ready[0]
		if size += payloadEntry + len(e.tx.raw); size > maxBytes {
			break
		}
		b.move(e, bookInFlight)
		out = append(out, e.tx.raw)
	}
	return out
}

// trim drops from the front of ready what is not ready any more.
func (b *Book) trim() {
	for len(b.ready) > 0 && b.ready[0].state != bookReady {
		b.ready[0] = nil
		b.ready = b.ready[1:]
	}
}

// Executed removes what a block decided, and what it left out for good: a transaction between shards that never gets
// any further here, or has no business here. What else it left out is tried again: if an output was missing, once the
// transaction that makes it has settled, else after 2 blocks, then 4, up to 64. Blocks come in order.
func (b *Book) Executed(block *Block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.height = block.Header.Height
	for i := range block.LeftOut {
		b.leftOut(&block.LeftOut[i])
	}
	for _, id := range block.Duplicates {
		b.remove(id)
	}
	for i := range block.Receipts {
		r := &block.Receipts[i]
		b.remove(r.Tx)
		if r.Verdict == VerdictSettled {
			b.wake(r.Tx)
		}
	}
	b.unpark()
}

func (b *Book) leftOut(l *LeftOut) {
	e, ok := b.entries[l.ID]
	if !ok || e.state == bookParked || e.state == bookWaiting {
		return
	}
	if l.Refusal.Final() || l.Refusal.Reason == ReasonWrongShard {
		b.remove(l.ID)
		return
	}
	if l.Refusal.Reason == ReasonUnknownInput {
		b.move(e, bookWaiting)
		e.missing = l.Missing.Tx
		b.waiting[e.missing] = append(b.waiting[e.missing], e)
		return
	}
	b.move(e, bookParked)
	e.retryAt = b.height + e.backoff
	e.backoff = min(2*e.backoff, maxBackoff)
	b.parked = append(b.parked, e)
}

// wake makes ready what waited for an output of tx.
func (b *Book) wake(tx TxID) {
	for _, e := range b.waiting[tx] {
		b.again(e)
	}
	delete(b.waiting, tx)
}

func (b *Book) unpark() {
	still := b.parked[:0]
	for _, e := range b.parked {
		switch {
		case e.state != bookParked:
		case e.retryAt <= b.height:
			b.again(e)
		default:
			still = append(still, e)
		}
	}
	clear(b.parked[len(still):])
	b.parked = still
}

// again queues e. If most of the queue has left the book since, the queue is cleaned first.
func (b *Book) again(e *bookEntry) {
	if len(b.ready) > 2*len(b.entries)+readySlack {
		b.ready = slices.DeleteFunc(b.ready, func(e *bookEntry) bool { return e.state != bookReady })
	}
	b.move(e, bookReady)
	b.ready = append(b.ready, e)
}

// move changes the state of e and keeps count of what is ready.
func (b *Book) move(e *bookEntry, to bookState) {
	if e.state == bookReady {
		b.waits -= len(e.tx.raw)
	}
	if to == bookReady {
		b.waits += len(e.tx.raw)
	}
	e.state = to
}

// Overdue makes ready again what was left out and has expired by now (Unix milliseconds), so that a block gives it
// its final answer although nothing else may be going on. It reports whether there was any.
func (b *Book) Overdue(nowMS uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.overdue(0, nowMS)
}

// overdue goes down the heap from place at as far as it has expired.
func (b *Book) overdue(at int, nowMS uint64) bool {
	if at >= len(b.expiry) || b.expiry[at].tx.ExpiryMS >= nowMS {
		return false
	}
	e := b.expiry[at]
	left := e.state == bookParked || e.state == bookWaiting
	if e.state == bookWaiting {
		b.unlist(e)
	}
	if left {
		b.again(e)
	}
	below, beside := b.overdue(2*at+1, nowMS), b.overdue(2*at+2, nowMS)
	return left || below || beside
}

// Expired removes and returns what no block of this time (Unix milliseconds) or later can settle, in flight or not.
// Block times never go back, so it is called with the time of the last executed block, after [Book.Executed].
func (b *Book) Expired(blockTimeMS uint64) []*Tx {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*Tx
	for len(b.expiry) > 0 && b.expiry[0].tx.ExpiryMS < blockTimeMS {
		tx := b.expiry[0].tx
		b.remove(tx.id)
		out = append(out, tx)
	}
	return out
}

// remove takes a transaction out of the book if it is there.
func (b *Book) remove(id TxID) {
	e, ok := b.entries[id]
	if !ok {
		return
	}
	if e.state == bookWaiting {
		b.unlist(e)
	}
	b.move(e, bookGone)
	delete(b.entries, id)
	b.bytes -= len(e.tx.raw)
	heap.Remove(&b.expiry, e.heapAt)
	if b.bytes < 0 {
		panic(fmt.Sprintf("ledger: the TX book holds %d bytes", b.bytes))
	}
}

// unlist takes e out of the list of those that wait for the same transaction.
func (b *Book) unlist(e *bookEntry) {
	list := b.waiting[e.missing]
	for i := range list {
		if list[i] == e {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(b.waiting, e.missing)
	} else {
		b.waiting[e.missing] = list
	}
}

// expiryHeap has the entry that expires first on top.
type expiryHeap []*bookEntry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].tx.ExpiryMS < h[j].tx.ExpiryMS }
func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapAt, h[j].heapAt = i, j
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	e := x.(*bookEntry)
	e.heapAt = len(*h)
	*h = append(*h, e)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
