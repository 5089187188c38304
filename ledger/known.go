package ledger

import (
	"slices"
	"sync"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

// Bounds of a [KnownTxs]: the numbers of ids that are remembered, about 100 bytes each.
const (
	maxKnownOwn    = 1 << 14 // of transactions from clients and batches of the own shard
	maxKnownOthers = 1 << 12 // of transactions in LDs of each other shard
)

// KnownTxs remembers transactions that passed [Tx.Check] and whose signatures this replica verified itself, by id. An id
// covers the whole encoding, signatures included ([Tx.ID]), so the signatures of a transaction with a known id are good. A
// transaction across shards comes several ways: from a client or another shard's replica, in a batch, and in LDs.
//
// The oldest ids of a source are forgotten, and then verified again. Each source has its own part, so that another shard cannot
// displace the transactions of this one. The nil KnownTxs knows none. It is safe for concurrent use.
type KnownTxs struct {
	mu     sync.Mutex
	own    *digest.Recent
	others []*digest.Recent // by source, nil before the first LD
}

// NewKnownTxs returns an empty set for a network of so many shards.
func NewKnownTxs(shards int) *KnownTxs {
	return &KnownTxs{own: digest.NewRecent(maxKnownOwn), others: make([]*digest.Recent, shards)}
}

// AddOwn adds transactions from clients, or of batches of the own shard. Their signatures are verified.
func (k *KnownTxs) AddOwn(txs ...*Tx) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	add(k.own, txs)
}

// AddFrom adds transactions of an LD of another shard. Their signatures are verified.
func (k *KnownTxs) AddFrom(source uint16, txs ...*Tx) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.others[source] == nil {
		k.others[source] = digest.NewRecent(maxKnownOthers)
	}
	add(k.others[source], txs)
}

func add(to *digest.Recent, txs []*Tx) {
	for _, tx := range txs {
		to.Add(digest.Digest(tx.id))
	}
}

// AppendUnknown appends the signatures of the transactions that are not known to a list of checks.
func (k *KnownTxs) AppendUnknown(items []sig.Check, txs []*Tx) []sig.Check {
	for _, tx := range k.unknown(txs) {
		items = tx.appendSigItems(items)
	}
	return items
}

// unknown lists the transactions that are not known.
func (k *KnownTxs) unknown(txs []*Tx) []*Tx {
	if k == nil {
		return txs
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*Tx, 0, len(txs))
	for _, tx := range txs {
		d := digest.Digest(tx.id)
		if !k.own.Has(d) && !slices.ContainsFunc(k.others, func(r *digest.Recent) bool { return r != nil && r.Has(d) }) {
			out = append(out, tx)
		}
	}
	return out
}
