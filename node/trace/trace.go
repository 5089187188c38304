// Package trace keeps the times at which one replica saw its newest batches, blocks and LDs pass a stage. The way of one
// transaction is read from the times of its batch, its blocks and its LDs, so no record is kept for a transaction.
//
// The memory is bounded: an entry is overwritten by a later one after 8,192 batches of the own lane, 16,384 batches of
// other lanes, 8,192 blocks, or 8,192 LDs in each direction. The times are those of the clock that the replica measures
// deadlines by. They are lost with the process.
//
// The histograms of the stages are made of the same observations: the caller notes an event here, and the answer has
// the earlier times of its batch or block.
package trace

import (
	"sync"

	"bdtnode/protocols"
)

// Numbers of entries that are kept.
const (
	KeptBlocks   = 8192
	ownBatches   = 8192
	otherBatches = 16384
	keptLDs      = 8192
)

// Span is the time from the first to the last event of one kind. It is zero if there was none.
type Span struct{ First, Last protocols.Time }

// Batch is a batch of the own lane. A time is 0 if the event has not happened or was not noted.
type Batch struct {
	Number    uint64
	Txs       int
	Submitted Span           // requests with its transactions at this replica
	Admitted  Span           // its transactions into the mempool
	Made      protocols.Time // signed
	Certified protocols.Time // n-f acknowledgements, if they came before a block ordered it
}

// arrival is a batch of another lane.
type arrival struct {
	lane   protocols.Index
	number uint64
	at     protocols.Time
}

// Block is a block of the shard. A time is 0 if the event has not happened or was not noted.
type Block struct {
	Height    uint64
	Txs       int            // with a receipt
	Committed protocols.Time // known here to be committed, with its data
	Executed  protocols.Time
	Certified protocols.Time // f+1 VOTEs for its header
}

// LD is an LD to another shard or from one. A time is 0 if the event has not happened or was not noted.
type LD struct {
	Peer    uint16 // destination or source
	Number  uint64
	Height  uint64         // of the block of this shard that made it or ordered it, 0 before
	Arrived protocols.Time // from another shard, or from a replica of this one
	Signed  protocols.Time // f+1 SIGN
}

// Log has the times of one replica. Its methods may be called concurrently and allocate nothing but their results.
type Log struct {
	before uint64 // blocks up to this height were committed before the start

	mu     sync.Mutex
	own    [ownBatches]Batch // by number
	others [otherBatches]arrival
	blocks [KeptBlocks]Block // by height
	out    [keptLDs]LD
	in     [keptLDs]LD
}

// New returns an empty log.
func New() *Log { return &Log{} }

// Begin is called before the first event of a replica that starts with the blocks up to height before. They are executed
// again after a crash, and their times would be those of the repetition, so [Log.Block] does not give them.
func (l *Log) Begin(before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = before
}

// place is the index of an item with a number, of one of several lanes or shards, in a ring of size entries. Items of one
// lane or shard with near numbers have different places.
func place(of int, number uint64, size uint64) uint64 {
	const spread = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: the lanes begin far from each other
	return (number + uint64(of)*spread>>32) % size
}

// Made notes a new batch of the own lane.
func (l *Log) Made(now protocols.Time, number uint64, txs int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.own[number%ownBatches]
	if b.Number > number {
		return
	}
	if b.Number != number {
		*b = Batch{Number: number}
	}
	b.Made, b.Txs = now, txs
}

// Accepted notes when the transactions of a batch of the own lane were submitted and admitted.
func (l *Log) Accepted(number uint64, submitted, admitted Span) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := &l.own[number%ownBatches]; b.Number == number {
		b.Submitted, b.Admitted = submitted, admitted
	}
}

// BatchCertified notes the certificate of a batch of the own lane, and returns the batch. ok is false if it is not here.
func (l *Log) BatchCertified(now protocols.Time, number uint64) (b Batch, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &l.own[number%ownBatches]
	if x.Number != number {
		return Batch{}, false
	}
	x.Certified = now
	return *x, true
}

// Own returns a batch of the own lane. ok is false if it is not here.
func (l *Log) Own(number uint64) (b Batch, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = l.own[number%ownBatches]
	return b, b.Number == number && number > 0
}

// BatchArrived notes a batch of another lane. Only the first arrival counts.
func (l *Log) BatchArrived(now protocols.Time, lane protocols.Index, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := &l.others[place(int(lane), number, otherBatches)]; a.lane != lane || a.number != number {
		*a = arrival{lane, number, now}
	}
}

// Arrival is the time at which a batch of another lane arrived, 0 if it is not known.
func (l *Log) Arrival(lane protocols.Index, number uint64) protocols.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := &l.others[place(int(lane), number, otherBatches)]; a.lane == lane && a.number == number {
		return a.at
	}
	return 0
}

// BlockCommitted notes a block that is known to be committed.
func (l *Log) BlockCommitted(now protocols.Time, height uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks[height%KeptBlocks] = Block{Height: height, Committed: now}
}

// BlockExecuted notes an executed block, and returns it. ok is false if it is not here.
func (l *Log) BlockExecuted(now protocols.Time, height uint64, txs int) (b Block, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &l.blocks[height%KeptBlocks]
	if x.Height != height {
		return Block{}, false
	}
	x.Executed, x.Txs = now, txs
	return *x, true
}

// BlockCertified notes the certificate of a block's header, and returns the block. ok is false if it is not here. Only the
// first certificate counts.
func (l *Log) BlockCertified(now protocols.Time, height uint64) (b Block, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &l.blocks[height%KeptBlocks]
	if x.Height != height {
		return Block{}, false
	}
	if x.Certified == 0 {
		x.Certified = now
	}
	return *x, true
}

// Block returns a block. All its times are 0 if they are not known, or if it was committed before the start.
func (l *Log) Block(height uint64) Block {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.blocks[height%KeptBlocks]; b.Height == height && height > l.before {
		return b
	}
	return Block{Height: height}
}

// LDMade notes an LD to another shard, and the height of the block that made it.
func (l *Log) LDMade(destination uint16, number, height uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*ldAt(&l.out, destination, number) = LD{Peer: destination, Number: number, Height: height}
}

// LDArrived notes an LD of another shard. Only the first arrival counts.
func (l *Log) LDArrived(now protocols.Time, source uint16, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := incoming(&l.in, source, number); x.Arrived == 0 {
		x.Arrived = now
	}
}

// LDSigned notes the SIGN quorum of an LD of another shard.
func (l *Log) LDSigned(now protocols.Time, source uint16, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := incoming(&l.in, source, number); x.Signed == 0 {
		x.Signed = now
	}
}

// LDOrdered notes the height of the block that orders an LD of another shard.
func (l *Log) LDOrdered(source uint16, number, height uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	incoming(&l.in, source, number).Height = height
}

func ldAt(ring *[keptLDs]LD, peer uint16, number uint64) *LD {
	return &ring[place(int(peer), number, keptLDs)]
}

// incoming is the entry of an LD, new if the ring has none of it.
func incoming(ring *[keptLDs]LD, peer uint16, number uint64) *LD {
	x := ldAt(ring, peer, number)
	if x.Peer != peer || x.Number != number {
		*x = LD{Peer: peer, Number: number}
	}
	return x
}

// Incoming returns an LD of another shard. Its times are 0 if they are not known.
func (l *Log) Incoming(source uint16, number uint64) LD {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := *ldAt(&l.in, source, number); x.Peer == source && x.Number == number {
		return x
	}
	return LD{Peer: source, Number: number}
}

// Outgoing lists the LDs to another shard that were made by the block of a height, by number. If that block made none,
// they are those of the next block that made one: a block with many verdicts leaves some to the next blocks.
func (l *Log) Outgoing(destination uint16, height uint64) []LD {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []LD
	for i := range l.out {
		x := &l.out[i]
		if x.Number == 0 || x.Peer != destination || x.Height < height || len(out) > 0 && x.Height > out[0].Height {
			continue
		}
		if len(out) > 0 && x.Height < out[0].Height {
			out = out[:0]
		}
		out = append(out, *x)
	}
	return out
}
