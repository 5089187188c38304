// Package why names the reasons for which a transaction waits: the shard, quorum or message that is missing, and the event
// that ends the wait. It is a pure function from the data of one replica, and of other shards' answers, to reasons.
//
// The answer is a statement of one replica about the present moment. A reason can be gone when it is read.
package why

import (
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Kind is the kind of a reason. Its text is part of the schema of the administration interface.
type Kind string

// The kinds, in the order of a transaction's way.
const (
	// It waits for nothing.
	Settled  Kind = "settled"
	Rejected Kind = "rejected"
	Refused  Kind = "refused" // it was refused or removed, and may be submitted again
	Unknown  Kind = "unknown" // no shard that answers knows it

	// It is in no batch.
	MissingInput Kind = "missing_input" // an input does not exist yet
	Conflict     Kind = "conflict"      // another transaction without a decision spends an input
	Parent       Kind = "parent"        // it follows a transaction that is in no batch yet
	Start        Kind = "start"         // the replica signs nothing until enough peers have answered its start
	LaneFull     Kind = "lane_full"     // the window of the replica's lane is full
	LaneFrozen   Kind = "lane_frozen"   // nothing of the replica's lane is executed any more
	Unanswered   Kind = "unanswered"    // too many own batches have neither a certificate nor a commit
	NextBatch    Kind = "next_batch"    // it is ready for the next batch
	MempoolFull  Kind = "mempool_full"  // the mempool is full, so another transaction may replace it
	Disk         Kind = "disk"          // its batch is not on disk yet
	LeftOut      Kind = "left_out"      // a block left it out, and it is tried again
	Overdue      Kind = "overdue"       // its expiry has passed by the clock, and not by block time

	// It is in a batch on disk, and no block has decided it.
	CatchingUp Kind = "catching_up" // the replica lacks blocks that others have certified
	NoQuorum   Kind = "no_quorum"   // fewer than n-f replicas of the shard answer
	EpochEnd   Kind = "epoch_end"   // replicas have left the epoch, and the agreement on its end runs
	Votes      Kind = "votes"       // a slot waits for Votes
	Finalizes  Kind = "finalizes"   // a slot waits for Finalizes
	Proposal   Kind = "proposal"    // the leader has not proposed it
	Acks       Kind = "acks"        // its batch has no certificate, and too few replicas acknowledged it
	Data       Kind = "data"        // data of a committed block is not here
	Signatures Kind = "signatures"  // a committed block waits for knowledge of the signatures of its batches
	Execution  Kind = "execution"   // committed blocks wait for execution

	// A block has decided it here.
	Certificate Kind = "certificate" // the header of its block has fewer than f+1 VOTEs

	// It involves several shards.
	ChannelFrozen Kind = "channel_frozen" // the shard whose verdict is missing broke the rules
	VerdictUnsent Kind = "verdict_unsent" // the verdict of this shard waits for room in a block
	LDCertificate Kind = "ld_certificate" // the LD with the verdict of this shard has no certified header
	LDDelivery    Kind = "ld_delivery"    // the other shard has not shown that it applied the LDs of this one
	OtherOrder    Kind = "other_order"    // the other shard has it, and no block of it has decided it
	LDMissing     Kind = "ld_missing"     // LDs of the other shard are not here
	LDOrder       Kind = "ld_order"       // LDs of the other shard are here and in no block
	LDReturn      Kind = "ld_return"      // the other shard has given its verdict, and its LD is on its way
	ShardDown     Kind = "shard_down"     // no replica of the other shard answers
	ShardSplit    Kind = "shard_split"    // fewer than f+1 replicas of the other shard agree
	Outputs       Kind = "outputs"        // settled here, and the outputs in the other shard do not exist yet
	Verdict       Kind = "verdict"        // the verdict of the other shard is missing, for no reason that is visible here
	Elsewhere     Kind = "elsewhere"      // this shard has no part in it, and another shard has it
)

// Kinds are all kinds.
var Kinds = []Kind{
	Settled, Rejected, Refused, Unknown,
	MissingInput, Conflict, Parent, Start, LaneFull, LaneFrozen, Unanswered, NextBatch, MempoolFull, Disk, LeftOut, Overdue,
	CatchingUp, NoQuorum, EpochEnd, Votes, Finalizes, Proposal, Acks, Data, Signatures, Execution,
	Certificate,
	ChannelFrozen, VerdictUnsent, LDCertificate, LDDelivery, OtherOrder, LDMissing, LDOrder, LDReturn, ShardDown, ShardSplit, Outputs, Verdict, Elsewhere,
}

// Final reports whether a transaction with this reason waits for nothing.
func (k Kind) Final() bool { return k == Settled || k == Rejected || k == Refused || k == Unknown }

// Reason is one reason for which a transaction waits.
type Reason struct {
	Kind     Kind              `json:"kind"`
	Shard    uint16            `json:"shard"`    // in which something is missing
	Replicas []protocols.Index `json:"replicas"` // of that shard, whose messages are missing
	SinceMS  int64             `json:"since_ms"` // time for which it has waited for this, -1 if unknown
	Text     string            `json:"text"`     // a sentence: the missing thing
	Ends     string            `json:"ends"`     // a sentence: the event that ends the wait
}

// State is the data from which the reasons follow. Fields about things that do not exist are nil or zero.
type State struct {
	Shard  uint16
	NowMS  uint64 // wall clock, Unix milliseconds
	Shards int
	N, F   int // of this shard

	Receipt   *ledger.Receipt // newest one here
	Certified bool            // the header of its block is certified here
	Refusal   *ledger.Refusal // the transaction was refused here
	Part      *ledger.Part    // of a transaction between shards
	ExpiryMS  uint64          // 0 if unknown
	PartMS    uint64          // block time of the last change of Part

	Pool    *admission.TxView // not decided here
	Missing []Input           // inputs in this shard that do not exist
	Full    bool              // the mempool refused transactions lately for lack of room

	SyncMS    int64    // time of a slow sync of the consensus store lately, 0 if there was none
	Unreached []string // bootstrap replicas without a connection, as SHARD/REPLICA, if no other replica of the shard is connected either

	Core  *replica.View // nil if the loop of the engine does not answer
	Self  protocols.Index
	Batch driver.BatchWait // reason why the own lane makes no batch

	Channels map[uint16]ledger.Channel // by the other shard
	Others   []Other                   // answers of other shards
}

// Input is an input that does not exist.
type Input struct {
	Tx      ledger.TxID
	Waiting bool // the transaction that creates it waits here too
}

// Other is the answer of another shard.
type Other struct {
	Shard       uint16
	Unreachable bool // no replica of it answers
	Unconfirmed bool // fewer than f+1 of them agree
	Accepted    bool // some of them have the transaction in their mempools
	Known       bool // a block of it contains the transaction
	Stage       ledger.Stage
	Verdict     ledger.Verdict // of that shard itself, 0 if it has given none or is no input shard
	Lacks       []uint16       // input shards whose verdict it does not know
	Settled     bool           // final, like the next
	Rejected    bool
	Reachable   int // its replicas that this replica can ask
	Replicas    int
}
