// Package paylog is the ledger of a shard that orders opaque payloads: a log. It is the second ledger beside the payments of
// package ledger, and executes the blocks of a network whose genesis has the parameter ledger = "log".
//
// The log has no meaning of its payloads. A payload is named by the height of its block, the number of its batch in the
// block, and its position in the batch ([ledger.LogPlace]). The payloads themselves are not stored here: they are in the
// batches of lanes, which the consensus store keeps. Executing a block therefore costs a record of some 100 bytes for each
// batch, and nothing for a payload without an id.
//
// The header of a block proves its payloads. Its root of receipts is the Merkle root over the records of its batches
// ([ledger.LogBatch]), and each record has a Merkle root over the entries of its batch, in groups of about 4 KiB. The root of
// transaction ids and the root of deliveries are zero. The digest of the write set is chained over the roots, and the
// number of transactions counts the payloads of the log.
//
// A payload with an id is in the log once: an entry whose id the log remembers is named in the record as repeated, and
// readers leave it out. The log remembers the newest ids, [Config.IDs] of them. All replicas remember
// the same ones, because the number is a part of the rules and the order is that of the log.
//
// Guarantee: replicas that executed the same blocks have equal headers. Assumption: the store returns the written values, or
// an error. After a crash the log is that of an earlier block, and the later blocks are executed again.
package paylog
