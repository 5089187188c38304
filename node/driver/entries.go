package driver

import (
	"errors"

	"bdtnode/ledger"
	"bdtnode/node/clients"
	"bdtnode/node/execution"
)

// entries has the entries of clients that wait for a batch of the own lane, and the requests of these clients. There is one
// for each ledger: [clients.Clients] and [clients.Appends]. Its methods may be called concurrently.
type entries interface {
	// Waiting is the number of bytes that wait.
	Waiting() int
	// Take hands out entries for one batch that carries so many bytes of notices.
	Take(notices int) clients.Entries
	// Logged is called when a batch of the own lane is on disk, in the order of the batches.
	Logged(b *clients.OwnBatch)
	execution.Observer
	// HeaderCertified is called when a header has its f+1 VOTEs.
	HeaderCertified(height uint64)
}

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
func (d *Driver) Waiting() int { return d.entries.Waiting() }

// Ledger is the ledger that executes the blocks.
func (d *Driver) Ledger() execution.Ledger { return d.execution.Ledger() }
