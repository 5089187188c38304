package node

import (
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
	{ledgerDir, kv.OtherKind, "tip, identity, bad batches"},
}

// kindUse estimates the disk use of each store by kind.
func (n *Node) kindUse() map[string][]kv.KindUse {
	kinds := ledger.StoreKinds()
	if n.ordersPayloads() {
		kinds = paylog.StoreKinds()
	}
	return map[string][]kv.KindUse{consensusDir: n.consensus.KindUse(consensusKinds), ledgerDir: n.ledgerKV.KindUse(kinds)}
}
