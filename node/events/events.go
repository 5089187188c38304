// Package events gives readers the events of a shard: blocks, verdicts, settlements, changes of accounts, and more.
//
// All events but the commits are read from the ledger's store, at any later time, so a reader loses none: it asks again
// from its last cursor, at any replica of the shard. A stream holds one page and no queue. A reader that is slow reads
// older blocks next, and nothing is kept for it.
//
// Events of recent blocks are read and encoded once, by the first reader, and copied into the page of each reader. So a slow
// reader holds no block in memory, and a page leaves in one write. Reads take no lock of the ledger. A page is bounded, pages
// of new blocks are bounded in number for all readers together, and few readers read older blocks at a time.
package events

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Bounds of readers. Those of their number are the server's.
const (
	pageBytes   = 64 << 10              // events in one page
	pageBlocks  = 1024                  // blocks that one page looks at
	recent      = 1024                  // blocks from the last one on whose events are shared
	sharedTxs   = 1024                  // receipts of a block up to which its events are shared, some 300 bytes each
	sharedBytes = 8 << 20               // shared events in all
	pastReaders = 2                     // readers of older blocks at a time
	pace        = 25 * time.Millisecond // least time between two pages of new blocks of one reader
	pageTime    = pace / 5              // likewise for each open stream: a replica makes at most 200 such pages a second
	entries     = 64                    // history entries of a followed account that are read at a time
)

// Numbers of the events in a block. Receipts of a block begin at indexReceipts and take every second number; the number
// after a receipt's is that of its effect on accounts.
const (
	indexCommit   = 0
	indexBlock    = 1
	indexEpoch    = 2
	indexEvidence = 3 // and the number of the shard
	indexReceipts = indexEvidence + ledger.MaxShards
)

// Ledger is the part of [ledger.State] that is read.
type Ledger interface {
	Advanced() (height uint64, higher <-chan struct{})
	Header(height uint64) (ledger.Header, bool, error)
	BlockTxs(height uint64) ([]ledger.TxID, bool, error)
	BlockReceipts(height uint64, position, limit int) (receipts []ledger.Receipt, more, ok bool, err error)
	FirstChange(a ledger.Address, height uint64) (number uint64, err error)
	Changes(a ledger.Address, number uint64, limit int) ([]ledger.HistoryEntry, error)
	Freezes(from, to uint64) ([]ledger.Freeze, error)
}

// Config describes the events of a replica.
type Config struct {
	Shard   uint16
	Ledger  Ledger
	Home    func(ledger.Address) uint16
	Commits func(after uint64) []api.Commit // the newest commits above a height, oldest first
}

// Events are the events of a replica. Create them with [New].
type Events struct {
	cfg   Config
	past  chan struct{} // places of readers of older blocks
	open  atomic.Int64  // streams
	begun time.Time

	mu     sync.Mutex
	shared map[uint64]*block
	bytes  int
	oldest uint64 // no shared block is below
}

// due is the time of the next page of a busy shard for a reader whose last page was at a time. It is the same for all readers,
// so that they are woken together: a thread that wakes from sleep costs more than a page.
func (e *Events) due(last time.Time) time.Time {
	turn := max(pace, time.Duration(e.open.Load())*pageTime)
	return e.begun.Add((last.Sub(e.begun) + turn/2).Truncate(turn) + turn)
}

// frame is an encoded event.
type frame struct {
	kind  kinds
	index uint32
	bytes []byte
}

// block has the shared events of a block.
type block struct {
	read   sync.Once
	frames []frame
	large  bool // the block has more events than are shared
	err    error
	size   int // bytes of frames in memory, set when they are counted
}

// New returns the events of a replica. It starts nothing.
func New(cfg Config) *Events {
	return &Events{cfg: cfg, begun: time.Now(), past: make(chan struct{}, pastReaders), shared: make(map[uint64]*block)}
}

// Open returns a stream of events. The error wraps [api.ErrBadQuery] if an account has another home shard.
func (e *Events) Open(q api.EventQuery) (api.EventStream, error) {
	height, _ := e.cfg.Ledger.Advanced()
	s := &stream{e: e, kinds: kindsOf(q.Kinds), follow: q.Follow, at: api.Cursor{Height: height, Index: api.Whole}}
	if q.From != nil {
		s.at = *q.From
	}
	if s.at.Height == 0 {
		s.at.Index = api.Whole // no events are of the genesis
	}
	for _, a := range q.Accounts {
		if home := e.cfg.Home(a); home != e.cfg.Shard {
			return nil, fmt.Errorf("%w: account %s is in shard %d, and this replica is in shard %d: ask a replica of shard %d", api.ErrBadQuery, a, home, e.cfg.Shard, home)
		}
		if !slices.ContainsFunc(s.accounts, func(f *followed) bool { return f.address == a }) {
			s.accounts = append(s.accounts, &followed{address: a})
		}
	}
	e.open.Add(1)
	return s, nil
}

// kinds is a set of kinds.
type kinds uint16

var kindBits = func() map[api.EventKind]kinds {
	bits := make(map[api.EventKind]kinds)
	for i, kind := range api.ChosenKinds() {
		bits[kind] = 1 << i
	}
	return bits
}()

func kindsOf(list []api.EventKind) (set kinds) {
	for _, kind := range list {
		set |= kindBits[kind]
	}
	return set
}

func (k kinds) has(kind api.EventKind) bool { return k&kindBits[kind] != 0 }

// shareable are the kinds whose events do not depend on the reader. dense are those of which every block may have some.
var (
	shareable = kindsOf([]api.EventKind{api.EventBlock, api.EventEpoch, api.EventEvidence, api.EventVerdict, api.EventSettlement})
	receipts  = kindsOf([]api.EventKind{api.EventVerdict, api.EventSettlement})
	dense     = receipts | kindsOf([]api.EventKind{api.EventBlock, api.EventEpoch})
)

// recentBlock returns the shared events of a recent block, which is executed. ok is false if it has too many.
func (e *Events) recentBlock(height uint64) (frames []frame, ok bool, err error) {
	e.mu.Lock()
	b := e.shared[height]
	if b == nil {
		if len(e.shared) == 0 {
			e.oldest = height
		}
		b = &block{}
		e.shared[height] = b
		e.oldest = min(e.oldest, height)
	}
	e.mu.Unlock()
	b.read.Do(func() {
		var next uint32
		b.frames, next, b.err = e.read(height, shareable, 0, sharedTxs)
		if b.large = next > 0; b.large {
			b.frames = nil
		}
		e.count(height, b)
	})
	return b.frames, !b.large, b.err
}

// count adds the size of a block's events to the sum, and drops the lowest blocks above the bound.
func (e *Events) count(height uint64, b *block) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shared[height] != b {
		return // dropped while it was read
	}
	for i := range b.frames {
		b.size += cap(b.frames[i].bytes)
	}
	e.bytes += b.size
	for ; (e.bytes > sharedBytes || len(e.shared) > recent) && e.oldest < height; e.oldest++ {
		if old := e.shared[e.oldest]; old != nil {
			e.bytes -= old.size
			delete(e.shared, e.oldest)
		}
	}
}

// read reads the events of a block from the store: those of the given kinds from number first on, at most limit
// receipts. If the block has further ones, next is the number from which on they are, else 0.
func (e *Events) read(height uint64, chosen kinds, first uint32, limit int) (frames []frame, next uint32, err error) {
	h, ok, err := e.cfg.Ledger.Header(height)
	if err == nil && !ok {
		err = fmt.Errorf("block %d is missing in the ledger", height)
	}
	if err != nil {
		return nil, 0, err
	}
	add := func(index uint32, x *api.Event) {
		if x.Height, x.TimeMS = height, h.TimeMS; index >= first && chosen.has(x.Kind) {
			frames = append(frames, e.encode(index, x))
		}
	}
	add(indexBlock, &api.Event{Kind: api.EventBlock, Block: &api.BlockEvent{HeaderDigest: h.Digest().String(), Epoch: h.Epoch, Slot: h.Slot, Last: h.Last, Txs: h.Txs}})
	if h.Last {
		add(indexEpoch, &api.Event{Kind: api.EventEpoch, Epoch: &api.EpochEvent{Ended: h.Epoch}})
	}
	if chosen.has(api.EventEvidence) && first < indexReceipts {
		frozen, err := e.cfg.Ledger.Freezes(height, height)
		if err != nil {
			return nil, 0, err
		}
		for i := range frozen {
			f := &frozen[i]
			add(indexEvidence+uint32(f.Source), &api.Event{Kind: api.EventEvidence, Evidence: &api.EvidenceEvent{
				Against: f.Source, Delivery: f.Number, Digest: f.Delivery.String(), Detail: f.Why,
			}})
		}
	}
	if chosen&receipts == 0 {
		return frames, 0, nil
	}
	position := 0
	if first > indexReceipts {
		position = int(first-indexReceipts+1) / 2
	}
	list, more, _, err := e.cfg.Ledger.BlockReceipts(height, position, limit)
	for i := range list {
		r := &list[i]
		x := &api.Event{Kind: api.EventVerdict}
		to := &x.Verdict
		if r.Verdict == ledger.VerdictSettled || r.Verdict == ledger.VerdictReturned {
			x.Kind, to = api.EventSettlement, &x.Settlement
		}
		*to = &api.ReceiptEvent{Tx: r.Tx, Position: r.Position, Result: r.Verdict.String(), Reason: r.Reason.String()}
		add(receiptIndex(int(r.Position)), x)
	}
	if more {
		next = receiptIndex(position + len(list))
	}
	return frames, next, err
}

func receiptIndex(position int) uint32 { return indexReceipts + 2*uint32(position) }

// encode encodes an event with its place.
func (e *Events) encode(index uint32, x *api.Event) frame {
	x.Shard, x.Cursor = e.cfg.Shard, api.Cursor{Height: x.Height, Index: index}.Text(e.cfg.Shard)
	return frame{kind: kindBits[x.Kind], index: index, bytes: api.EncodeEvent(x)}
}
