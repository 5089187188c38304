package ledger

import (
	"fmt"
	"math"

	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
)

// The id index says of a transaction where its newest receipt is, and whether its outputs in this shard were created.
// Its keys begin with a window of block time, which is at least as long as the horizon. Execution reads the window of
// its block and the recentWindows-1 before, never a block record, and never an older window. So older windows, and all
// block records, can be deleted at any time, also on some replicas only.
//
// That is enough to give no transaction inside the shard a second receipt. A block gives it one only if it expires within
// the horizon, or has expired in the window of the block or the one before; otherwise a refused transaction is left out.
// So as long as a block may give it a receipt, an earlier receipt is in a window that execution reads.
//
// An input that is no unspent output of its declared owner is consumed if the index says that the outputs of its id were
// created: an outpoint is created once, so it can never be spent any more. That holds for an output with another owner
// too; the two are not distinguished. An output that is spent may be older than the index. If the entry of its id is older
// than the window before, a mark is written into the present window: an entry without a receipt. So it is known that an
// output is consumed from then until the transaction that consumed it has expired, and at most two windows longer.
//
// A key has 16 bytes of the id. To make two transactions with one key takes 2^64 hashes, and harms only their author: the
// second one counts as a duplicate, and its outputs as consumed.
const (
	idKeyBytes    = 16
	recentWindows = 3
)

// window is the number of the window of a block time.
func (c *Config) window(timeMS uint64) uint32 {
	return uint32(min(timeMS/max(c.HorizonMS, minuteMS), math.MaxUint32))
}

// indexed is an entry of the id index.
type indexed struct {
	mark    bool // it has no receipt: outputs of the id were created in an earlier window
	at      place
	verdict Verdict
}

// outputs reports whether outputs of the id in this shard were created, or would have been if it had some.
func (e *indexed) outputs() bool { return e.mark || e.verdict == VerdictSettled }

const idKeySize = 1 + 4 + idKeyBytes

func appendIDKey(b []byte, window uint32, id TxID) []byte {
	return append(wire.AppendU32(append(b, keyID), window), id[:idKeyBytes]...)
}

func (a *arena) idKeyOf(window uint32, id TxID) []byte {
	return appendIDKey(a.take(idKeySize), window, id)
}

func (a *arena) idValue(height uint64, position uint32, v Verdict) []byte {
	return append(wire.AppendU32(wire.AppendU64(a.take(8+4+1), height), position), byte(v))
}

// readIndex reads the entry of an id in one window.
func readIndex(r kv.Reader, window uint32, id TxID) (e indexed, ok bool, err error) {
	var key [idKeySize]byte
	v, ok, err := r.Get(appendIDKey(key[:0], window, id))
	switch {
	case err != nil || !ok:
		return indexed{}, false, err
	case len(v) == 0:
		return indexed{mark: true}, true, nil
	}
	d := wire.NewReader(v)
	e.at.height, e.at.position, e.verdict = d.U64(), d.U32(), Verdict(d.U8())
	if err := d.Done(); err != nil {
		return indexed{}, false, fmt.Errorf("the entry of transaction %s in the id index is damaged: %w", id, err)
	}
	return e, true, nil
}

// readRecent returns the knowledge of execution in a window about an id: whether it has a receipt, and whether its outputs
// were created.
func readRecent(r kv.Reader, window uint32, id TxID) (receipt, outputs bool, err error) {
	for n := range min(recentWindows, window+1) {
		e, ok, err := readIndex(r, window-n, id)
		if err != nil {
			return false, false, err
		}
		receipt = receipt || ok && !e.mark
		outputs = outputs || ok && e.outputs()
	}
	return receipt, outputs, nil
}

// windows lists the windows of the store in which there are entries, in ascending order.
func windows(r kv.Reader) (list []uint32, err error) {
	from := []byte{keyID}
	for from != nil {
		key := from
		from = nil
		err := r.Scan(key, []byte{keyID + 1}, false, func(key, _ []byte) bool {
			w := wire.NewReader(key[1:5]).U32()
			list = append(list, w)
			if w < math.MaxUint32 {
				from = wire.AppendU32([]byte{keyID}, w+1)
			}
			return false
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}
