package driver

import (
	"errors"

	"bdtnode/ledger"
	"bdtnode/node/execution"
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
	Executed(x *execution.Executed)
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
func (c *Config) ledger() execution.Ledger {
	if c.Ledger != nil {
		return c.Ledger
	}
	return c.State
}

// Waiting is the number of bytes of clients' entries that wait for a batch.
func (d *Driver) Waiting() int { return d.intake.Waiting() }

// Ledger is the ledger that executes the blocks.
func (d *Driver) Ledger() execution.Ledger { return d.execution.Ledger() }
