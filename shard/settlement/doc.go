// Package settlement settles transactions between shards: all or nothing, without a coordinator.
//
// Each input shard of a transaction has one final word on it, SPENT or REJECTED, and tells it to every other shard
// involved in an LD, a numbered delivery under a certified header. SPENT puts the inputs into escrow. When every input
// shard is known to have SPENT, each shard settles its part; when one REJECTED, each gives its escrow back as new
// outputs. [Rules] are these rules, called by the ledger as it executes a block.
package settlement
