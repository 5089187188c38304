package api

import (
	"encoding/binary"
	"fmt"

	"bdtnode/internal/wire"
)

// TxsType is the media type of the binary body of POST /v1/txs, which [EncodeTxs] writes: the same as the JSON one,
// at a fraction of the cost.
const TxsType = "application/octet-stream"

// txsVersion is the version of the binary body.
const txsVersion = 1

// EncodeTxs is the binary body for encoded transactions, 1 to [MaxTxsPerRequest] of them: a version byte, a 2-byte
// count, then each behind its length in 4 bytes.
func EncodeTxs(txs [][]byte) []byte {
	size := 3
	for _, tx := range txs {
		size += 4 + len(tx)
	}
	b := append(make([]byte, 0, size), txsVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(txs)))
	for _, tx := range txs {
		b = wire.AppendBytes(b, tx)
	}
	return b
}

// DecodeTxs takes a body of [EncodeTxs] apart. The transactions alias it. Errors wrap [wire.ErrMalformed].
func DecodeTxs(body []byte) ([][]byte, error) {
	r := wire.NewReader(body)
	if v := r.U8(); r.Err() == nil && v != txsVersion {
		r.Fail("version %d of the list of transactions, this replica reads %d", v, txsVersion)
	}
	txs := make([][]byte, r.Count(MaxTxsPerRequest, 4))
	for i := range txs {
		txs[i] = r.Bytes(len(body))
	}
	if r.Err() == nil && len(txs) == 0 {
		r.Fail("no transactions")
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("binary list of transactions: %w", err)
	}
	return txs, nil
}
