package driver

import (
	"errors"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/replica"
)

// Ledger is the ledger that the blocks of a shard change. The driver executes blocks with it and reads headers from it; it
// knows nothing of the entries. There are two: [ledger.State] settles payments, [paylog.Log] orders opaque payloads.
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

// intake has the entries of clients that wait for a batch of the own lane, and the requests of these clients. There is one
// for each ledger: [Clients] and [Appends]. Its methods may be called concurrently.
type intake interface {
	// Waiting is the number of bytes that wait.
	Waiting() int
	// take hands out entries for one batch that carries so many bytes of notices.
	take(notices int) Entries
	// logged is called when a batch of the own lane is on disk, in the order of the batches.
	logged(b *OwnBatch)
	executed(x *Executed)
	// headerCertified is called when a header has its f+1 VOTEs.
	headerCertified(height uint64)
}

// Entries are entries of clients for one batch: transactions, or parts of encoded opaque payloads.
type Entries struct {
	Txs    []*ledger.Tx
	Opaque [][]byte
}

// none reports whether there are no entries.
func (e *Entries) none() bool { return len(e.Txs)+len(e.Opaque) == 0 }

// opaque reports whether the shard orders opaque payloads in place of payments.
func (c *Config) opaque() bool { return c.State == nil }

// kinds is the table of the kinds of entries of batches.
func (c *Config) kinds() ledger.Kinds {
	if c.opaque() {
		return ledger.OpaqueKinds()
	}
	return c.Network.Kinds(c.Committee.Shard())
}

// errNoPayments is the fault of a peer that sends a message about transactions in a shard that orders opaque payloads.
var errNoPayments = errors.New("the shard orders opaque payloads, and has no transactions")

// ledger is the ledger of the configuration.
func (c *Config) ledger() Ledger {
	if c.Ledger != nil {
		return c.Ledger
	}
	return c.State
}

// Waiting is the number of bytes of clients' entries that wait for a batch.
func (d *Driver) Waiting() int { return d.intake.Waiting() }

// Ledger is the ledger that executes the blocks.
func (d *Driver) Ledger() Ledger { return d.ledger }
