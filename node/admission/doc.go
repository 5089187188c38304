// Package admission decides which transactions a replica takes from clients, which of them enter a batch of its lane
// next, and what clients are told. It is deterministic: time is an argument, and what the ledger says is read by the
// caller, who hands it over as a [Look]. The node runs it under one lock, the simulator without any.
//
// Guarantees:
//
//   - Only a processable transaction enters a batch: each of its inputs in this shard existed when the ledger was last
//     read for it, or is made by a transaction that comes before it in this replica's lane, and no transaction before
//     it spends that input. What another replica's transaction consumes in the meantime is the exception. So is an
//     accepted transaction past its expiry, one in a second, so that block time passes its expiry where a shard has
//     nothing else to do.
//   - A transaction is accepted once it is in a batch of this replica's lane, on its disk. From then on it is kept, in
//     memory and, by [Door.Checkpoint] and [Restore], over restarts, until its final answer: a receipt, or a refusal for
//     a reason that is permanent. One that a block leaves out is tried again, at most 256 in each second.
//   - A final answer goes by blocks alone. The clock of a replica gives at most a refusal that is not final.
//   - What is kept is bounded in all and for each [Party]. A party may hold as much as is free. A full book keeps what
//     pays more per byte, and all that was accepted. Transactions whose inputs are missing have a room of their own,
//     which they leave after 10 seconds; the book never gives way to them.
//   - Parties get equal bytes of the batches while several have transactions ready.
//   - What a notification costs is bounded by the requests in work that wait for that transaction, each of which
//     waits for it once, however often it names it.
package admission
