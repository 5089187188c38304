// Package ledger is the ledger of one shard: transactions and their encoding, and the execution of committed blocks.
// docs/ledger.md defines the results of a transaction.
//
// Guarantees:
//
//   - Execution depends on the blocks and the genesis only. Replicas that executed the same blocks have the same state,
//     headers and receipts. The write set in the header covers every change that later blocks depend on.
//   - A block is written in one atomic batch. After a crash the state is that of an earlier block.
//   - Each block conserves value. One that does not panics before it is written.
//   - The work of a block is bounded by its size and a constant.
//   - The data that execution reads is forgotten by block time alone, at the same block on every replica (index.go). Block
//     records and older windows of the id index are for queries only (prune.go).
//   - The state at multiples of the state interval has a root, which is equal on every replica, and can be read ([States]).
//
// [State] is the state in its store, and reads of it. [BlockState] is the state during the execution of one block. It
// consists of parts that own one kind of data each: inputs checks transactions, outputs and accounts have the spent
// and created coins, sums the totals, receipts the results. Between shards, [Records] has the open transactions, [Channels]
// the positions in the streams of deliveries, and [Outbox] the verdicts for other shards. Package shard/settlement has
// the [Rules] that use them.
package ledger
