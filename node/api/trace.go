package api

import "bdtnode/ledger"

// TraceStep is the name of a step of a transaction in one shard.
type TraceStep string

// The steps. Those of an LD are there for each other shard that the transaction involves. The final step of a shard is
// settled, returned or rejected.
const (
	StepSubmitted  TraceStep = "submitted"   // the request that submitted the transaction; a span of all requests of its batch
	StepAdmitted   TraceStep = "admitted"    // in the mempool; a span of all transactions of its batch
	StepBatch      TraceStep = "batch"       // the batch with the transaction is signed, or arrived
	StepCertified  TraceStep = "certified"   // n-f acknowledgements of the batch, at its owner, if they came before the order
	StepOrdered    TraceStep = "ordered"     // a block with the batch is committed
	StepVerdict    TraceStep = "verdict"     // a block gave the verdict of this shard
	StepLDOut      TraceStep = "ld_out"      // the LD with the verdict is certified, so it can leave
	StepLDIn       TraceStep = "ld_in"       // an LD with the verdict of another shard arrived
	StepSignQuorum TraceStep = "sign_quorum" // f+1 replicas of this shard hold that LD
	StepLDOrdered  TraceStep = "ld_ordered"  // a block with that LD is committed
	StepCancelled  TraceStep = "cancelled"   // a block with a CL of another shard is committed
	StepSettled    TraceStep = "settled"     // executed: the outputs exist, or the escrow is gone
	StepReturned   TraceStep = "returned"    // executed: the inputs were returned as new outputs
	StepRejected   TraceStep = "rejected"    // executed: the transaction changes nothing here
)

// TraceSteps are all steps, in the order in which a transaction takes them.
var TraceSteps = []TraceStep{
	StepSubmitted, StepAdmitted, StepBatch, StepCertified, StepOrdered, StepLDIn, StepSignQuorum, StepLDOrdered, StepVerdict,
	StepLDOut, StepCancelled, StepSettled, StepReturned, StepRejected,
}

// MaxTraceSteps bounds the steps of one replica in a [Trace].
const MaxTraceSteps = 256

// TracedStep is one step at one replica.
type TracedStep struct {
	Step    TraceStep `json:"step" enum:"submitted,admitted,batch,certified,ordered,verdict,ld_out,ld_in,sign_quorum,ld_ordered,cancelled,settled,returned,rejected"`
	TimeUS  int64     `json:"time_us,omitempty" doc:"Unix microseconds by the clock of the replica; missing if it has no time of the step: it was not there, started later, or has overwritten it"`
	UntilUS int64     `json:"until_us,omitempty" doc:"of submitted and admitted: the last time in the same batch, if it is another one"`
	Height  uint64    `json:"height,omitempty,string" doc:"height of the block of this shard; of ld_out, of the block that made the LD"`
	Lane    *uint16   `json:"lane,omitempty" doc:"of the batch"`
	Peer    *uint16   `json:"peer,omitempty" doc:"source or destination of the LD, or source of the CL"`
	Number  uint64    `json:"number,omitempty,string" doc:"of the batch or of the LD"`
	Verdict string    `json:"verdict,omitempty" doc:"of the step verdict: spent or rejected"`
}

// ReplicaTrace has the steps of a transaction at one replica. It is a statement of that replica.
type ReplicaTrace struct {
	Shard        uint16       `json:"shard"`
	Replica      uint16       `json:"replica"`
	SinceUS      int64        `json:"since_us" doc:"start of its process, Unix microseconds by its clock: it has no times before it"`
	ClockUS      int64        `json:"clock_us" doc:"microseconds by which its clock is ahead of that of the answering replica"`
	ClockErrorUS int64        `json:"clock_error_us" doc:"largest error of clock_us, half of the round trip"`
	Incomplete   bool         `json:"incomplete,omitempty" doc:"the block is too large to look for the batch or the LD, or the replica no longer has it"`
	Steps        []TracedStep `json:"steps" nullable:"false" doc:"at most 256"`
}

// Trace is the body of a successful answer to GET /v1/txs/{id}/trace.
type Trace struct {
	ID       ledger.TxID    `json:"id"`
	Shard    uint16         `json:"shard" doc:"of the answering replica"`
	Replica  uint16         `json:"replica" doc:"the answering replica, whose clock is the reference"`
	Shards   []uint16       `json:"shards" nullable:"false" doc:"shards that the transaction involves, as far as the replicas know them"`
	Replicas []ReplicaTrace `json:"replicas" nullable:"false" doc:"by shard and replica"`
	Missing  []Unreported   `json:"missing" nullable:"false" doc:"replicas of these shards without an answer, with the reason"`
}
