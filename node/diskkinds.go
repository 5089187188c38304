package node

import (
	"sync"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
)

// consensusKinds are the kinds of records of the consensus store.
var consensusKinds = []kv.Kind{
	kv.PrefixKind("batches", []byte("l/b")),
	kv.PrefixKind("blocks", []byte("h/b")),
	kv.PrefixKind("certificates", []byte("h/c")),
	kv.PrefixKind("lds", []byte("i/")),
	{Name: "agreement", Lower: []byte("a/"), Upper: []byte("b0")},
	kv.PrefixKind("accepted", []byte("d/")),
}

// diskKinds has the kinds of a store, with a description of each.
var diskKinds = []struct{ store, kind, meaning string }{
	{consensusDir, "batches", "batches of all lanes"},
	{consensusDir, "blocks", "committed blocks"},
	{consensusDir, "certificates", "certified headers"},
	{consensusDir, "lds", "LDs of other shards"},
	{consensusDir, "agreement", "own signed messages of slots and of the ends of epochs"},
	{consensusDir, "accepted", "accepted transactions that a block left out"},
	{consensusDir, kv.OtherKind, "acks, epochs, marks, evidence, identity"},
	{ledgerDir, "headers", "headers"},
	{ledgerDir, "blocks", "records of blocks, of which receipts, proofs and history are made"},
	{ledgerDir, "ids", "the index of receipts by id; in a log the newest ids of payloads"},
	{ledgerDir, "outputs", "unspent outputs"},
	{ledgerDir, "accounts", "balances and counts by address"},
	{ledgerDir, "history", "places of history entries"},
	{ledgerDir, "settlement", "transactions between shards, channels, LDs that were not shown applied"},
	{ledgerDir, "batches", "in a log: the place of each batch"},
	{ledgerDir, kv.OtherKind, "tip, identity, bad batches, roots of states"},
	{ledgerDir, kv.KeptKind, "tables that only kept states have"},
}

// kindsAge is the time for which an estimate of the disk use by kind is used. An estimate reads tables at both ends of each
// kind, and its result changes slowly.
const kindsAge = 30 * time.Second

// kindEstimate is the newest estimate of the disk use of each store by kind.
type kindEstimate struct {
	mu  sync.Mutex
	at  time.Time // zero before the first one
	use map[string][]kv.KindUse
}

// read returns the newest estimate, or a new one if that is too old at a time.
func (k *kindEstimate) read(now time.Time, estimate func() map[string][]kv.KindUse) map[string][]kv.KindUse {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.use == nil || now.Sub(k.at) >= kindsAge {
		k.at, k.use = now, estimate()
	}
	return k.use
}

// kindUse estimates the disk use of each store by kind.
func (n *Node) kindUse() map[string][]kv.KindUse {
	kinds := ledger.StoreKinds()
	if n.ordersPayloads() {
		kinds = paylog.StoreKinds()
	}
	return map[string][]kv.KindUse{consensusDir: n.consensus.KindUse(consensusKinds), ledgerDir: n.ledgerKV.KindUse(kinds)}
}
