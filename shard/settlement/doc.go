// Package settlement settles transactions between shards, all or nothing, without a coordinator (after Kronos, arXiv
// 2403.03655, and with numbered channels against the replays of arXiv 1901.11218).
//
// # How
//
// Each input shard of a transaction has one final word on it, SPENT or REJECTED, and tells it to every other shard
// involved in an LD: a numbered delivery under a header that f+1 VOTEs of its shard certify. SPENT takes the inputs into
// escrow. When every input shard is known to have SPENT, each shard settles its part; when one REJECTED, each gives its
// escrow back, as new outputs. [Rules] are these rules, called by the ledger as it executes a block, so what they do is
// as replicated and certified as all execution.
//
//   - Spend: an input shard takes a transaction from a batch if its inputs here are good, else leaves it out without a
//     trace. So only a transaction with real value in escrow costs other shards anything.
//   - Tell: a block's verdicts for one destination go into LDs numbered without gaps.
//   - Receive: LDs are applied once, strictly in order.
//   - Answer: an input shard that is told of a transaction and has had no say has it in that block. REJECTED is only ever
//     an answer.
//   - Settle, roll back: as above. Spent outputs never become unspent again: what is given back has a new name. So a
//     verdict, once given, stays true.
//   - Forget: a record lives until the verdicts of all input shards are known, and in an input shard until the
//     transaction has expired too: before, a batch could bring it again and get a second verdict.
//
// # Why it holds
//
// One verdict: a record is opened before a verdict is given and outlives every way in which the transaction could be
// judged again; each LD counts once. All or nothing: all shards decide by the same function of the same verdicts. It
// ends: whoever is told answers, LDs are pulled until they arrive, and so every record closes, however late, unless a
// shard with more than f Byzantine replicas stays silent. Such a shard can hold the escrow of what it takes part in, settle
// it in part, and claim value that is not there, up to the supply; what it says against the rules freezes its channel.
//
// # Where this differs from the design
//
// The leaf under the outbox root is the digest of the whole delivery: source, destination, number, the digest of the
// delivery before, the number of the last delivery applied from the destination, and the root over the entries. So the
// whole channel up to an LD is certified with it, one digest names the LD whoever certified which header, and what lets
// the destination drop its own deliveries is in what is agreed on, not beside it: a header need not carry it for all
// shards.
//
// Cancellation without consensus is not part of this yet. A CL will be one more way in which resolve learns of a
// rejection, kept apart in the record from verdicts, since only an LD closes it.
package settlement
