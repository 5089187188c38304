// Package proof checks proofs of transactions: files that show the result of one transaction in all shards that it
// involves. It imports no network, no store and no ledger, so that it can be read, and used elsewhere, alone.
//
// # Claim
//
// If [Proof.Verify] accepts a proof for a network, and at most f replicas of each shard that the transaction involves are
// Byzantine, then the transaction has the returned result in that network, for ever: it is settled in each of these
// shards, or in none.
//
// The only trusted input is the genesis: it has the keys, and its id is in every signature.
//
// # Why it holds
//
// A header with f+1 signatures is the one that every honest replica of the shard computed: one signer is honest, it
// executed a committed block, and execution is deterministic. The header's roots cover the receipts of the block. So each
// receipt in the proof is one of the shard. An input shard gives one verdict on a transaction, and each shard settles it or
// returns its escrow once. So no receipt contradicts another one later.
//
// The list of shards is computed from the transaction, whose id is the hash of its bytes. So no shard can be left out.
//
// # Reading order
//
// proof.go has the encoding, verify.go the check, settle.go the comparison of the shards' results, formats.go the
// transaction, header and receipt, genesis.go the genesis. docs/proofs.md has the reasons in full.
package proof
