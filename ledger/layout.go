package ledger

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// StateVersion is the version of the layout of the state in its store.
const StateVersion = 5

// Key prefixes of the state. A key is its prefix followed by fields of fixed width in bytes, integers big-endian, so
// keys sort by their fields.
const (
	keyIdentity byte = 1 + iota // -> version 5, network 32, shard 2
	keyTip                      // -> the tip record
	keyHeader                   // height 8 -> header
	keyBlockTxs                 // height 8 -> ids of the transactions that got a receipt
	keyReceipt                  // id 32 -> receipt
	keyOutput                   // outpoint 34 -> owner 32, amount 8, of an unspent output
	keySpent                    // outpoint 34 -> id of the consumer 32
	keySpentDue                 // minute of the consumer's expiry 8, height 8, number 4 -> outpoints
	keyAccount                  // address 32 -> balance 8, unspent outputs 8, history entries 8
	keyOwned                    // address 32, outpoint 34 -> amount 8
	keyHistory                  // address 32, number of the entry counted down from the largest 8 -> history entry
	keyPart                     // id 32 -> the shard's part of a transaction between shards
	keyOpen                     // id 32 -> encoding of the transaction, while its record is open
	keyOpenDue                  // minute of the expiry 8, height 8, number 4 -> ids of records to close
	keyChannel                  // peer shard 2 -> the Channel with it, both directions
	keyOutbox                   // destination 2, number 8 -> delivery that the destination has not acknowledged
	keyFreeze                   // source 2 -> the Freeze of its channel: reason and proof
	keyUnsent                   // height 8, number 4 -> id of a transaction whose verdict here is not sent yet
)

// coin is an unspent output.
type coin struct {
	owner  Address
	amount uint64
}

// account has the totals of one address. They are stored so that reading them does not depend on the number of
// outputs and history entries.
type account struct{ balance, coins, entries uint64 }

// arena allocates byte slices from pieces of 1 KiB to 256 KiB, each four times the one before. That is cheaper than
// one allocation per slice.
type arena struct {
	free  []byte
	piece int
}

const (
	arenaFirst = 1 << 10
	arenaPiece = 256 << 10
)

func (a *arena) take(n int) []byte {
	if n > len(a.free) {
		a.piece = min(max(4*a.piece, arenaFirst), arenaPiece)
		a.free = make([]byte, max(n, a.piece))
	}
	p := a.free[:n:n]
	a.free = a.free[n:]
	return p[:0]
}

func heightKey(prefix byte, height uint64) []byte {
	return wire.AppendU64([]byte{prefix}, height)
}

func (a *arena) outpointKey(prefix byte, o Outpoint) []byte {
	return o.append(append(a.take(1+outpointSize), prefix))
}

func (a *arena) idKey(prefix byte, id digest.Digest) []byte {
	return append(append(a.take(1+digest.Size), prefix), id[:]...)
}

func (a *arena) ownedKey(owner Address, o Outpoint) []byte {
	return o.append(append(append(a.take(1+digest.Size+outpointSize), keyOwned), owner[:]...))
}

func (a *arena) historyKey(owner Address, number uint64) []byte {
	k := append(append(a.take(1+digest.Size+8), keyHistory), owner[:]...)
	return wire.AppendU64(k, ^number)
}

func (a *arena) coinValue(c coin) []byte {
	return wire.AppendU64(append(a.take(outputSize), c.owner[:]...), c.amount)
}

func (a *arena) accountValue(c account) []byte {
	return wire.AppendU64(wire.AppendU64(wire.AppendU64(a.take(24), c.balance), c.coins), c.entries)
}

func channelKey(prefix byte, peer uint16) []byte { return wire.AppendU16([]byte{prefix}, peer) }

func outboxKey(destination uint16, number uint64) []byte {
	return wire.AppendU64(channelKey(keyOutbox, destination), number)
}

func decodeCoin(v []byte) (coin, error) {
	var c coin
	r := wire.NewReader(v)
	r.Fixed(c.owner[:])
	c.amount = r.U64()
	return c, r.Done()
}

func decodeAccount(v []byte) (account, error) {
	r := wire.NewReader(v)
	return account{r.U64(), r.U64(), r.U64()}, r.Done()
}

func decodeOutpoint(p []byte) (Outpoint, error) {
	var o Outpoint
	r := wire.NewReader(p)
	r.Fixed(o.Tx[:])
	o.Index = r.U16()
	return o, r.Done()
}

// tip is the last executed block and the running totals of the state.
type tip struct {
	header Header
	digest digest.Digest // of the header
	sums
	cut []byte
}

func (t *tip) encode() []byte {
	b := t.header.Append(make([]byte, 0, HeaderSize+7*8+4+len(t.cut)))
	for _, v := range []uint64{t.genesis, t.unspent, t.escrow, t.burned, t.gained, t.ceded, t.coins} {
		b = wire.AppendU64(b, v)
	}
	return wire.AppendBytes(b, t.cut)
}

func decodeTip(v []byte) (tip, error) {
	r := wire.NewReader(v)
	t := tip{header: ReadHeader(r)}
	t.sums = sums{genesis: r.U64(), unspent: r.U64(), escrow: r.U64(), burned: r.U64(), gained: r.U64(), ceded: r.U64(), coins: r.U64()}
	t.cut = append([]byte(nil), r.Bytes(r.Len())...)
	if err := r.Done(); err != nil {
		return tip{}, fmt.Errorf("the record of the last block is damaged: %w", err)
	}
	t.digest = t.header.Digest()
	return t, nil
}

// HistoryEntry is the effect of one transaction on one address.
type HistoryEntry struct {
	Tx       TxID // for genesis outputs, the id in their outpoints
	Height   uint64
	TimeMS   uint64 // block time
	Received uint64
	Spent    uint64
}

const historySize = digest.Size + 4*8

func (h *HistoryEntry) append(b []byte) []byte {
	b = append(b, h.Tx[:]...)
	for _, v := range []uint64{h.Height, h.TimeMS, h.Received, h.Spent} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeHistory(v []byte) (HistoryEntry, error) {
	var h HistoryEntry
	r := wire.NewReader(v)
	r.Fixed(h.Tx[:])
	h.Height, h.TimeMS, h.Received, h.Spent = r.U64(), r.U64(), r.U64(), r.U64()
	return h, r.Done()
}

// generations is a cache of the most recently used entries: at most 2·limit, and at least the limit used last. It has
// two maps; when the young one is full, the old one is dropped and the young one becomes the old one.
type generations[K comparable, V any] struct {
	young, old map[K]V
	limit      int
}

func newGenerations[K comparable, V any](limit int) *generations[K, V] {
	return &generations[K, V]{young: make(map[K]V), limit: limit}
}

func (g *generations[K, V]) get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		if v, ok = g.old[k]; ok {
			g.put(k, v)
		}
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if len(g.young) >= g.limit {
		g.young, g.old = make(map[K]V, g.limit), g.young
	}
	g.young[k] = v
}

func (g *generations[K, V]) drop(k K) {
	delete(g.young, k)
	delete(g.old, k)
}
