package clients

import "bdtnode/ledger"

// Entries are entries of clients for one batch: transactions, or parts of encoded opaque payloads.
type Entries struct {
	Txs    []*ledger.Tx
	Opaque [][]byte
}

// None reports whether there are no entries.
func (e *Entries) None() bool { return len(e.Txs)+len(e.Opaque) == 0 }

// OwnBatch is a batch of this replica's own lane, made of entries of its clients.
type OwnBatch struct {
	Number  uint64
	Payload *ledger.Payload
}
