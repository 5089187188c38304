package clients

import (
	"bdtnode/ledger"
	"bdtnode/node/admission"
)

// Inspect takes a snapshot of the admission. It is no input, so it is not recorded.
func (c *Clients) Inspect() admission.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	return admission.Inspect(c.admission)
}

// InspectTx takes a snapshot of a transaction that no block has decided, see [admission.InspectTx].
func (c *Clients) InspectTx(id ledger.TxID) (v admission.TxView, tx *ledger.Tx, ok bool) {
	at := c.clock().Instant()
	c.mu.Lock()
	defer c.mu.Unlock()
	return admission.InspectTx(c.admission, id, at)
}
