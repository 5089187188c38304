// Package settlement has the rules that settle transactions between shards, all or nothing, without a coordinator
// (after Kronos, arXiv 2403.03655, with numbered channels against the replay attacks of arXiv 1901.11218).
//
// # How
//
// Each input shard of a transaction gives one final verdict on it, SPENT or REJECTED, and sends it to every other shard
// involved in an LD: a numbered delivery with a proof that leads to a header which f+1 VOTEs of its shard certify.
// SPENT moves the inputs into escrow. When the verdict of every input shard is SPENT, each shard settles its part. When
// one is REJECTED, each shard returns its escrow as new outputs. [Rules] are these rules. The ledger calls them while it
// executes a block, so their results are replicated and certified like all execution.
//
//   - Spend: an input shard spends a transaction of a batch if its inputs in this shard are good; otherwise it leaves
//     the transaction out and stores nothing. So only a transaction with real value in escrow costs other shards
//     anything.
//   - Send: the verdicts of a block for one destination go into LDs that are numbered without gaps.
//   - Receive: each LD is applied once, strictly in order.
//   - Answer: an input shard that receives another shard's verdict on a transaction, and has not given its own, gives
//     it in the same block. REJECTED is given only in this way.
//   - Settle, roll back: as above. Spent outputs never become unspent again: a returned output has a new outpoint. So a
//     verdict, once given, stays true.
//   - Forget: a record is kept until the verdicts of all input shards are known. An input shard also keeps it until the
//     transaction has expired: before that, a batch could contain the transaction again and get a second verdict.
//
// # Why it holds
//
// One verdict: a record is opened before a verdict is given, and it is kept as long as a block could check the
// transaction again; each LD is applied once. All or nothing: all shards decide by the same function of the same
// verdicts. Termination: every shard that receives a verdict answers it, and LDs are fetched until they arrive. So every
// record closes at some time, unless a shard with more than f Byzantine replicas sends nothing. Such a shard can keep
// the escrow of the transactions that involve it, settle them in part, and claim value that does not exist, up to the
// supply. A delivery of it that breaks a rule freezes its channel.
//
// # Where this differs from the design
//
// The leaf under the outbox root is the digest of the whole delivery: source, destination, number, the digest of the
// delivery before, the number of the last delivery applied from the destination, and the root over the entries. So an
// LD certifies the whole channel up to it, and one digest identifies the LD whichever replicas certified the header. The
// acknowledgement, by which the destination deletes its own deliveries, is part of the ordered delivery, so headers
// need not carry acknowledgements for all shards.
//
// # Cancellation
//
// A [CL] returns the escrow of a transaction earlier than the verdict that follows: f+1 replicas of another input shard
// state that the transaction can never be SPENT there. It is no verdict: the record keeps it apart from verdicts, and
// only an LD closes a record. Nothing depends on a CL (docs/design.md §6.7).
package settlement
