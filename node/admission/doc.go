// Package admission decides which client transactions a replica accepts, which of them enter the next batch of its
// lane, and which answers requests of clients get. It is deterministic: time is an argument, and the caller reads the
// ledger and passes the result as a [Lookup]. The node calls it under one lock, the simulator without any.
//
// Transactions are in one of two places. The mempool has processable transactions and those that are in a batch of this
// replica's lane. The orphan pool has transactions that are not processable yet: an input is missing, or another
// transaction that no block has decided spends it.
//
// Guarantees:
//
//   - Only a processable transaction enters a batch: each of its inputs in this shard existed when the ledger was last
//     read for it, or is an output of a transaction that is ahead of it in this replica's lane, and no transaction
//     ahead of it spends that input. There are two exceptions. A transaction of another replica may consume the input
//     in the meantime. And an accepted transaction past its expiry enters a batch whatever its inputs, one per second,
//     so that block time passes its expiry in a shard that has nothing else to do.
//   - A transaction is accepted when it is in a batch of this replica's lane on its disk. From then on it is kept until
//     its final answer, which is a receipt or a refusal for a permanent reason. It is kept in memory and, by
//     [Admission.Checkpoint] and [Restore], across restarts. One that a block leaves out is tried again; at most 256 are
//     tried in a second.
//   - A final answer depends on blocks only. The clock of the replica causes at most a refusal that is not final.
//   - Memory is bounded in total and for each [Party]. A party may hold as much as is free. A full mempool keeps
//     accepted transactions, and of the others those that pay more per byte. The orphan pool has limits of its own and
//     keeps a transaction for 10 seconds at most; it never takes space of the mempool.
//   - Parties get equal bytes of the batches while several have transactions ready.
//   - The cost of a notification is bounded by the number of open requests that wait for that transaction. A request
//     waits for a transaction once, even if it names it several times.
package admission
