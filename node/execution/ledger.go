package execution

import (
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/replica"
)

// Ledger is the ledger that the blocks of a shard change. A replica executes blocks with it and reads headers from it. There
// are two: [ledger.State] settles payments, [paylog.Log] orders opaque payloads.
//
// Execute is called by one goroutine. The other methods may be called concurrently with it. Their errors are the store's.
type Ledger interface {
	replica.Executed // headers, and the facts about other shards that the core needs at its start
	replica.Outbox   // deliveries to other shards
	// Channel is the channel with another shard.
	Channel(peer uint16) (ledger.Channel, error)
	// Tip is the header of the last executed block, its digest, and the encoded cut of that block.
	Tip() (h ledger.Header, d digest.Digest, cut []byte)
	// Execute applies the block that follows the last executed one. The result is the same on every replica. The error is
	// the store's, or says that the block does not follow, or is a [*ledger.Mismatch] if the header is not the expected one
	// of the block; the ledger is unchanged then.
	Execute(in ledger.CommittedBlock) (*ledger.Block, error)
	// Flush returns after all executed blocks survive a crash of the machine. Without it, a crash may lose the newest
	// blocks, which are then executed again.
	Flush() error
	// States has the states of the ledger at multiples of the genesis's interval, and their roots.
	States() *ledger.States
}

var (
	_ Ledger = (*ledger.State)(nil)
	_ Ledger = (*paylog.Log)(nil)
)
