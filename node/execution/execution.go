// Package execution applies committed blocks to the ledger, with the same result on every replica. The process and the
// simulator both use it.
//
// [Contents] has the checked payloads and deliveries of blocks from their verification to their execution. A batch for whose
// signatures replicas vouch is checked in form when it comes; the core decides which replicas check its signatures later,
// see [Execution.CheckBatches]. [Execution.Execute] applies a block, and [Execution.Notify] tells its observers: the
// requests of clients, and the exchange with other shards. The core gets the block from the loop of the replica.
//
// [Queue] and [Executor] are the part of the process: the committed blocks that wait, and the goroutines that execute them
// and make their effects durable.
package execution

import (
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// Config describes the execution of a replica's blocks.
type Config struct {
	Committee *protocols.Committee
	Self      protocols.Index
	Store     kv.Reader     // consensus store
	Ledger    Ledger        // that executes the blocks
	State     *ledger.State // the ledger of payments; nil if the shard has another ledger
	Kinds     ledger.Kinds  // of entries of batches
	VerifyAll func(checks []sig.Check) bool
	Known     *ledger.KnownTxs // transactions whose signatures need no further check
	Certified uint64           // headers up to this height were certified before the start
	Recorder  Recorder         // if not nil, told all executed blocks
	Observers []Observer
}

// Observer is told of executed blocks.
type Observer interface {
	// Executed is called in the order of the blocks.
	Executed(x *Executed)
}

// Recorder is told of executed blocks. It does not block.
type Recorder interface {
	// Block is called on the executor's goroutine for an executed block, before any input has it.
	Block(x *Executed)
}

// Host is the surroundings of the execution. No method may call back into it.
type Host interface {
	Wake()                                  // asks for a turn of the loop soon
	Publish()                               // LDs may have become certified
	Frozen(f *ledger.Freeze, height uint64) // another shard's channel, by a block
}

// Execution executes the blocks of a replica. Execute and Notify are calls of one goroutine, and so are those of
// CheckBatches. All other methods may be called concurrently.
type Execution struct {
	cfg      Config
	host     Host
	contents *Contents
	checks   checks
}

var _ replica.Contents = (*Execution)(nil)

// New makes the execution of a replica from the contents that its verification fills.
func New(cfg Config, host Host, contents *Contents) *Execution {
	return &Execution{cfg: cfg, host: host, contents: contents}
}

// Ledger is the ledger that executes the blocks.
func (e *Execution) Ledger() Ledger { return e.cfg.Ledger }
