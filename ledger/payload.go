package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// PayloadVersion is the version of a payload's encoding, its first byte.
const PayloadVersion = 1

// Limits of a payload: what one batch of a lane carries.
const (
	MaxPayloadBytes   = 4 << 20
	MaxPayloadEntries = 16384
)

// entryTx is the kind of an entry that is a transaction.
const entryTx = 1

// Sizes in bytes of what a payload adds to its transactions.
const (
	payloadHead  = 1 + 4
	payloadEntry = 1 + 4
)

// Payload is the content of one batch of a lane, decoded. It is immutable.
type Payload struct{ Txs []*Tx }

// PayloadSize is the length of the payload of so many transactions of so many bytes in all.
func PayloadSize(count, bytes int) int { return payloadHead + count*payloadEntry + bytes }

// EncodePayload makes the payload of encoded transactions: version 1 byte, number of entries 4, each with its kind
// 1, length 4 and content. It panics if there are none, or more than the limits allow.
func EncodePayload(txs [][]byte) []byte {
	size := 0
	for _, raw := range txs {
		size += len(raw)
	}
	if size = PayloadSize(len(txs), size); len(txs) == 0 || len(txs) > MaxPayloadEntries || size > MaxPayloadBytes {
		panic(fmt.Sprintf("ledger: a payload of %d transactions in %d bytes", len(txs), size))
	}
	b := wire.AppendU32(append(make([]byte, 0, size), PayloadVersion), uint32(len(txs)))
	for _, raw := range txs {
		b = wire.AppendBytes(append(b, entryTx), raw)
	}
	return b
}

// DecodePayload takes a payload apart. Its transactions alias b, which must not change any more. It checks neither
// what they say nor their signatures: [CheckPayload] does.
func DecodePayload(b []byte) (*Payload, error) {
	if len(b) > MaxPayloadBytes {
		return nil, fmt.Errorf("%w: a payload of %d bytes, at most %d allowed", wire.ErrMalformed, len(b), MaxPayloadBytes)
	}
	r := wire.NewReader(b)
	if v := r.U8(); v != PayloadVersion && r.Err() == nil {
		return nil, fmt.Errorf("%w: payload version %d is unknown", wire.ErrMalformed, v)
	}
	n := int(r.U32())
	if r.Err() == nil && (n == 0 || n > MaxPayloadEntries || n*(payloadEntry+minTxBytes) > r.Len()) {
		return nil, fmt.Errorf("%w: a payload of %d entries in %d bytes", wire.ErrMalformed, n, r.Len())
	}
	p := &Payload{Txs: make([]*Tx, 0, n)}
	for i := range n {
		if kind := r.U8(); kind != entryTx {
			r.Fail("entry %d has unknown kind %d", i, kind)
		}
		raw := r.Bytes(MaxTxBytes)
		if r.Err() != nil {
			break
		}
		tx, err := DecodeTx(raw)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		p.Txs = append(p.Txs, tx)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return p, nil
}

// CheckPayload decodes a payload and verifies all there is to verify without the state of the ledger, all
// signatures at once. A payload with anything wrong in it is malformed as a whole, and so is its owner's fault.
// It is safe for concurrent use if scheme is.
func CheckPayload(scheme sig.Scheme, network digest.Digest, b []byte) (*Payload, error) {
	p, err := DecodePayload(b)
	if err != nil {
		return nil, err
	}
	items := make([]sig.Item, 0, len(p.Txs)+len(p.Txs)/8)
	for i, tx := range p.Txs {
		if r := tx.Check(network); r != nil {
			return nil, fmt.Errorf("transaction %s, entry %d: %w", tx.ID(), i, r)
		}
		items = tx.appendSigItems(items)
	}
	if scheme.VerifyAll(items) {
		return p, nil
	}
	for i, tx := range p.Txs {
		if r := badSignature(scheme, tx); r != nil {
			return nil, fmt.Errorf("transaction %s, entry %d: %w", tx.ID(), i, r)
		}
	}
	return nil, errBrokenScheme
}
