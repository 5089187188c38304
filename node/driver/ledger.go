package driver

import (
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
)

// Ledger is the ledger that the blocks of a shard change. The driver executes blocks with it and reads headers from it; it
// knows nothing of the entries. [ledger.State] is the ledger of payments.
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
	// the store's, or says that the block does not follow; the ledger is unchanged then.
	Execute(in ledger.CommittedBlock) (*ledger.Block, error)
	// Flush returns after all executed blocks survive a crash of the machine. Without it, a crash may lose the newest
	// blocks, which are then executed again.
	Flush() error
}

var _ Ledger = (*ledger.State)(nil)

// ledger is the ledger of the configuration.
func (c *Config) ledger() Ledger {
	if c.Ledger != nil {
		return c.Ledger
	}
	return c.State
}

// Ledger is the ledger that executes the blocks.
func (d *Driver) Ledger() Ledger { return d.ledger }
