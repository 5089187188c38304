// Package observe has the observations from which the checks of a simulated run work: a view of a replica, and the
// events that the replicas report.
package observe

import (
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/shard/settlement"
)

// Replica is a node of a shard. Nothing in it changes the node.
type Replica interface {
	ID() protocols.Index
	// Place is the number of the node in its shard: its ID, or for the second of twins a number above all IDs.
	Place() int
	Shard() uint16
	// Honest reports whether the node is not Byzantine.
	Honest() bool
	// Guarded reports whether the node starts as the process does: with a record of its start, and without signatures
	// before 2f answers. Honest nodes are guarded, and second processes of a replica.
	Guarded() bool
	Alive() bool
	// Dead reports whether the node is never started again.
	Dead() bool
	// Life counts starts and crashes.
	Life() int
	// Nonce is the number of the present start.
	Nonce() uint64
	// Replaced reports whether the stores are not those that the replica signed with.
	Replaced() bool

	Status() replica.Status
	// Running reports whether the replica may sign.
	Running() bool
	// Stored reads the consensus store.
	Stored(key []byte) (value []byte, ok bool, err error)
	// Height is that of the last executed block, and BlockTimeMS its block time in Unix milliseconds.
	Height() uint64
	BlockTimeMS() uint64
	Audit() ledger.Audit
	Receipt(id ledger.TxID) (ledger.Receipt, bool, error)
	Frozen() []ledger.Freeze
	// Precheck is the reason why a transaction could not be in the next block, nil if there is none.
	Precheck(tx *ledger.Tx) *ledger.Refusal
	// Find is the answer to a client that asks for a transaction.
	Find(id ledger.TxID) (admission.Progress, bool)
	// Pending is the number of transactions in the mempool.
	Pending() int
}

// Shard is told the events of one shard's nodes.
type Shard interface {
	// Fail records a violation.
	Fail(check, format string, args ...any)
	Started(n Replica)
	Crashed(n Replica)
	// Stepped is called with each step of the driver, before its records are written.
	Stepped(n Replica, st *replica.Step)
	// Looked is called after each turn of the driver of a guarded node.
	Looked(n Replica)
	// Resent is called with a step that a new connection causes, in addition to Stepped.
	Resent(n Replica, st *replica.Step)
	// Synced is called when the records of actions are on disk and survive every crash.
	Synced(n Replica, group []driver.Action)
	// Sent is called with each message of an honest node, and SentGuarded with each message to each peer of a guarded
	// one.
	Sent(n Replica, m protocols.Message)
	SentGuarded(n Replica, m protocols.Message)
	// Passed is called when a receiver found a message valid, Refused when it refused one.
	Passed(n Replica, from protocols.Index, p network.Packet, m protocols.Message)
	Refused(n Replica, from protocols.Index, err error)
	// Blamed is called when a replica reports another one as faulty.
	Blamed(n Replica, f protocols.Fault)
	// OverBudget is called when a replica counts more messages of a kind from a sender than its budget allows.
	OverBudget(n, sender Replica, kind protocols.Kind)
	// Adopted is called when a replica takes certified blocks without having asked for them.
	Adopted(n Replica, from protocols.Index, blocks uint64)
	// Certified is called when a header has its certificate.
	Certified(n Replica, x *certify.Certified)
	// Batched is called when transactions are in a batch of an honest replica's own lane, on its disk.
	Batched(n Replica, txs []*ledger.Tx)
	// Executed is called when the effects of a block are in the ledger.
	Executed(n Replica, in *ledger.CommittedBlock, b *ledger.Block)
	// Lost is called when a node was found lost.
	Lost(n Replica, why *replica.Lost)
	// Carried is called with the number of frames on a link when there is one more.
	Carried(from, to, count int)
	// Newer returns a function that reports whether all running replicas have received newer signatures of a node than
	// before the call of Newer. With votes it must be a vote, and no newer header.
	Newer(n Replica) func(votes bool) bool
}

// Network is told the events between shards.
type Network interface {
	// RefusedLD is called when a replica refused an LD or a CL, TookLD and TookCL when it accepted one.
	RefusedLD(n, from Replica, err error)
	TookLD(n, from Replica, p network.Packet, ld *settlement.LD)
	TookCL(n, from Replica, p network.Packet, cl *settlement.CL)
	// Accused is called when a replica has evidence against a shard.
	Accused(n Replica, e *settlement.Evidence)
}

// RememberedIDs is the number of ids that a simulated log remembers: few, so that a run forgets some.
const RememberedIDs = 64
