package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// StateVersion is the version of the layout of the state in its store.
const StateVersion = 6

// Key prefixes of the state. A key is its prefix followed by fields of fixed width in bytes, integers big-endian, so
// keys sort by their fields.
const (
	keyIdentity byte = 1 + iota // -> version 6, network 32, shard 2
	keyTip                      // -> the tip record
	keyHeader                   // height 8 -> header
	keyBlock                    // height 8, chunk 4 -> receipts and history entries of the block, see block.go
	keyID                       // window 4, first 16 bytes of an id -> place of its receipt, see index.go
	keyCoin                     // address 32, outpoint 34 -> amount 8, made 4, of an unspent output
	keyAccount                  // address 32 -> balance 8, unspent outputs 8, history entries 8, place of the newest entry 13
	keyHistory                  // address 32, number of the entry / 64 8 -> place of the entry whose number is the last of these 64
	keyPart                     // id 32 -> the shard's part of a transaction between shards
	keyOpen                     // id 32 -> encoding of the transaction, while its record is open
	keyOpenDue                  // minute of the expiry 8, height 8, number 4 -> ids of records to close
	keyChannel                  // peer shard 2 -> the Channel with it, both directions
	keyOutbox                   // destination 2, number 8 -> delivery that the destination has not acknowledged
	keyFreeze                   // source 2 -> the Freeze of its channel: reason and proof
	keyUnsent                   // height 8, number 4 -> id of a transaction whose verdict here is not sent yet
	keyBad                      // height 8 -> names of the bad batches of a block that has some
	keyState                    // height 8 -> root of the state, see stateroot.go
)

// KeyGroups are the keys that are many, for [kv.WindowOptions]: outputs are read by owner, all others one by one.
func KeyGroups() map[byte]int {
	return map[byte]int{keyID: 0, keyCoin: 1 + digest.Size, keyAccount: 0, keyHistory: 0}
}

// coin is an unspent output.
type coin struct {
	owner  Address
	amount uint64
	made   uint32 // one more than the window of the block that made it; 0 if the id index has no entry for its outpoint's id
}

// account has the totals of one address. They are stored so that reading them does not depend on the number of
// outputs and history entries.
type account struct {
	balance, coins, entries uint64
	last                    place // of the newest history entry
}

// arena allocates byte slices from pieces of 1 KiB to 256 KiB, each four times the one before. That is cheaper than
// one allocation per slice.
type arena struct {
	free  []byte
	piece int
	kept  []byte // the piece that the slices are taken from first
	taken int    // bytes since the last reset
}

const (
	arenaFirst = 1 << 10
	arenaPiece = 256 << 10
	arenaKept  = 4 << 20
)

func (a *arena) take(n int) []byte {
	if n > len(a.free) {
		a.piece = min(max(4*a.piece, arenaFirst), arenaPiece)
		a.free = make([]byte, max(n, a.piece))
	}
	p := a.free[:n:n]
	a.free = a.free[n:]
	a.taken += n
	return p[:0]
}

// reset takes all slices back. Their memory is used again, in one piece of at most arenaKept bytes.
func (a *arena) reset() {
	if a.taken > len(a.kept) {
		a.kept = make([]byte, min(a.taken, arenaKept))
	}
	a.free, a.taken = a.kept, 0
}

func heightKey(prefix byte, height uint64) []byte {
	return wire.AppendU64([]byte{prefix}, height)
}

func (a *arena) idKey(prefix byte, id digest.Digest) []byte {
	return append(append(a.take(1+digest.Size), prefix), id[:]...)
}

func (a *arena) coinKey(owner Address, o Outpoint) []byte {
	return o.append(append(append(a.take(coinKeySize), keyCoin), owner[:]...))
}

func (a *arena) coinValue(c coin) []byte {
	return wire.AppendU32(wire.AppendU64(a.take(8+4), c.amount), c.made)
}

func (a *arena) accountValue(c *account) []byte {
	b := a.take(3*8 + placeSize)
	return c.last.append(wire.AppendU64(wire.AppendU64(wire.AppendU64(b, c.balance), c.coins), c.entries))
}

const coinKeySize = 1 + digest.Size + outpointSize

func channelKey(prefix byte, peer uint16) []byte { return wire.AppendU16([]byte{prefix}, peer) }

func outboxKey(destination uint16, number uint64) []byte {
	return wire.AppendU64(channelKey(keyOutbox, destination), number)
}

func decodeCoin(owner Address, v []byte) (coin, error) {
	r := wire.NewReader(v)
	return coin{owner, r.U64(), r.U32()}, r.Done()
}

func decodeAccount(v []byte) (account, error) {
	r := wire.NewReader(v)
	return account{r.U64(), r.U64(), r.U64(), readPlace(r)}, r.Done()
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
