package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/clients"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols/cancel"
	"bdtnode/shard/settlement"
)

// Bounds of the cancellations of a replica.
const (
	maxCLBytes  = 8 << 20 // encodings of CLs that are known; the least recently used is forgotten first
	maxSuspects = 1024    // transactions that wait for a look at the committed state, and CLs that wait for the loop, each
	maxChecked  = 4096    // digests of transactions of CL_Ms whose signatures were verified
)

// cancels is the replica's part in cancellations (docs/design.md §6.7): which transactions can never be SPENT here, and
// which CLs of this and of other shards it knows. Nothing of it is stored.
type cancels struct {
	cfg     *Config
	host    Host
	witness *witness
	next    nextLDs
	mu      sync.Mutex
	// known has the CLs of each transaction, at most one of each source shard. Sources are kept apart: a CL of one shard
	// shows nothing about another one, and only a CL of its own source contradicts a SPENT.
	known    *simplelru.LRU[ledger.TxID, []*settlement.CL]
	bytes    int // of their encodings
	checked  *digest.Recent
	suspects []*ledger.Tx     // to be looked up in the committed state
	taken    []*settlement.CL // of other shards, to be applied
	found    [][]byte         // never to be SPENT here, for the loop
	order    []*settlement.CL // for the own lane
	outgoing []*settlement.CL // of this shard, to be published
}

func newCancels(cfg *Config, host Host, w *witness, next nextLDs) *cancels {
	c := &cancels{cfg: cfg, host: host, witness: w, next: next}
	known, err := simplelru.NewLRU(maxCLBytes/64, func(_ ledger.TxID, cls []*settlement.CL) {
		for _, cl := range cls {
			c.bytes -= cl.Size()
		}
	})
	if err != nil {
		panic(err) // the size is positive
	}
	c.known, c.checked = known, digest.NewRecent(maxChecked)
	return c
}

// all are the known CLs of a transaction, of different source shards.
func (c *cancels) all(id ledger.TxID) []*settlement.CL {
	c.mu.Lock()
	defer c.mu.Unlock()
	cls, _ := c.known.Get(id)
	return cls
}

// get is the known CL of a transaction of one source shard, or nil.
func (c *cancels) get(id ledger.TxID, source uint16) *settlement.CL {
	return of(c.all(id), source)
}

// of is the CL of a source shard among CLs of one transaction, or nil.
func of(cls []*settlement.CL, source uint16) *settlement.CL {
	for _, cl := range cls {
		if cl.Source == source {
			return cl
		}
	}
	return nil
}

// put remembers a verified CL. It returns false if one of the same transaction and source is known.
func (c *cancels) put(cl *settlement.CL) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := cl.Tx.ID()
	cls, _ := c.known.Get(id)
	if of(cls, cl.Source) != nil {
		return false
	}
	c.bytes += cl.Size()
	c.known.Add(id, append(cls, cl))
	for c.bytes > maxCLBytes {
		c.known.RemoveOldest()
	}
	return true
}

// queue adds an item to one of the lists, unless that has maxSuspects already.
func queue[T any](c *cancels, list *[]T, item T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(*list) < maxSuspects {
		*list = append(*list, item)
	}
}

// suspect has the committed state looked up for a transaction that possibly can never be SPENT here. Its signatures are
// verified. A CL of any shard is enough for all shards involved, so nothing is looked up if one is known.
func (c *cancels) suspect(tx *ledger.Tx) {
	if !c.mayCancel(tx) || len(c.all(tx.ID())) > 0 {
		return
	}
	queue(c, &c.suspects, tx)
	c.host.Attend()
}

// mayCancel reports whether a transaction has inputs in this shard and involves another one.
func (c *cancels) mayCancel(tx *ledger.Tx) bool {
	p, own := tx.Shards(c.cfg.Network.Home), c.cfg.Committee.Shard()
	return p.Inputs.Has(own) && !p.Inside(own)
}

// later queues a verified CL of another shard for look.
func (c *cancels) later(cl *settlement.CL) {
	queue(c, &c.taken, cl)
	c.host.Attend()
}

// look reads the committed state for the suspects, and for CLs of other shards, which end transactions of clients. The error is
// the store's.
func (c *cancels) look(cl *clients.Clients) error {
	c.mu.Lock()
	suspects, taken := c.suspects, c.taken
	c.suspects, c.taken = nil, nil
	c.mu.Unlock()
	for _, x := range taken {
		if err := c.apply(x, cl); err != nil {
			return err
		}
	}
	for _, tx := range suspects {
		refusal, err := c.cfg.State.NeverSpendable(tx)
		if err != nil {
			return fmt.Errorf("look up a transaction: %w", err)
		}
		if refusal == nil {
			continue
		}
		queue(c, &c.found, tx.Encode())
		c.host.Wake()
	}
	return nil
}

// take empties the lists for the loop: transactions that can never be SPENT here, and CLs for the own lane.
func (c *cancels) take() (found [][]byte, order []*settlement.CL) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, order = c.found, c.order
	c.found, c.order = nil, nil
	return found, order
}

// verify checks a CL_M: the transaction is well formed, its signatures verify, and it has inputs
// in this shard and involves another one.
func (c *cancels) verify(x *cancel.CLM) error {
	if c.cfg.opaque() {
		return errNoPayments
	}
	c.mu.Lock()
	checked := c.checked.Has(x.Digest)
	c.mu.Unlock()
	if checked {
		return nil
	}
	tx, err := ledger.DecodeTx(x.Content)
	if err != nil {
		return err
	}
	if r := tx.Check(c.cfg.Network.ID()); r != nil {
		return r
	}
	if !c.mayCancel(tx) {
		return errors.New("a CL_M for a transaction that has no inputs here, or that involves no other shard")
	}
	if !c.cfg.Scheme.VerifyAll(tx.SigItems()) {
		return errors.New("a CL_M for a transaction with a bad signature")
	}
	c.mu.Lock()
	c.checked.Add(x.Digest)
	c.mu.Unlock()
	return nil
}

// stated is called for a transaction that a peer states can never be SPENT here.
func (c *cancels) stated(raw []byte) {
	tx, err := ledger.DecodeTx(raw)
	if err != nil {
		panic(fmt.Sprintf("driver: the transaction of a verified CL_M does not decode: %v", err))
	}
	c.suspect(tx)
}

// made is called for a new CL of this shard. f+1 replicas, chosen by the transaction, publish it.
func (c *cancels) made(x *cancel.Certified) {
	cl, err := settlement.NewCL(c.cfg.Network, c.cfg.Committee.Shard(), x)
	if err != nil {
		panic(fmt.Sprintf("driver: the transaction of a CL does not decode: %v", err))
	}
	if !c.put(cl) || !c.chosen(cl) {
		return
	}
	queue(c, &c.outgoing, cl)
	c.host.Publish()
}

// chosen reports whether this replica is one of the f+1 that act on a CL, so at least one of them is honest.
func (c *cancels) chosen(cl *settlement.CL) bool {
	id := cl.Tx.ID()
	n := uint64(c.cfg.Committee.N())
	return (uint64(c.cfg.Self)+n-binary.BigEndian.Uint64(id[:])%n)%n < uint64(c.cfg.Committee.WeakQuorum())
}

// apply acts on a verified CL of another shard. A transaction that no block has ordered leaves the mempool. If it is in
// escrow here, f+1 replicas put the CL into their lanes. The error is the store's.
func (c *cancels) apply(cl *settlement.CL, requests *clients.Clients) error {
	id := cl.Tx.ID()
	part, known, err := c.cfg.State.Part(id)
	if err != nil {
		return err
	}
	if !known {
		requests.Cancel(id)
		return nil
	}
	k := part.Of(cl.Source)
	if k != nil && k.Verdict == ledger.VerdictSpent {
		ld, err := replica.SpentLD(c.cfg.Store, cl.Source, c.next.get(cl.Source), id)
		if err != nil {
			return err
		}
		if ld != nil {
			c.compare(ld)
		}
		return nil
	}
	if part.Stage != ledger.StageEscrow || k == nil || k.Verdict != 0 || !c.chosen(cl) {
		return nil
	}
	queue(c, &c.order, cl)
	c.host.Wake()
	return nil
}

// compare looks for SPENT in a verified LD on a transaction that its source cancelled: evidence against the source.
func (c *cancels) compare(ld *settlement.LD) {
	for i := range ld.Delivery.Entries {
		e := &ld.Delivery.Entries[i]
		if e.Verdict != ledger.VerdictSpent {
			continue
		}
		cl := c.get(e.Tx.ID(), ld.Delivery.Source)
		if cl == nil {
			continue
		}
		if x := settlement.ContradictCL(c.cfg.Network, ld, cl); x != nil {
			c.witness.accuse(x)
		}
	}
}

// Executed implements [execution.Observer]. It looks at a block: at transactions that it left out for ever, and at those that
// it put into escrow, of which a CL may be known already.
func (x *Exchange) Executed(b *execution.Executed) {
	marked := make(map[ledger.TxID]ledger.Verdict) // VerdictRejected for those left out, VerdictSpent for those in escrow
	for i := range b.Block.LeftOut {
		if l := &b.Block.LeftOut[i]; permanent(l.Refusal) {
			marked[l.ID] = ledger.VerdictRejected
		}
	}
	for i := range b.Block.Receipts {
		switch r := &b.Block.Receipts[i]; r.Verdict {
		case ledger.VerdictSpent:
			marked[r.Tx] = ledger.VerdictSpent
		case ledger.VerdictSettled, ledger.VerdictReturned:
			delete(marked, r.Tx)
		case ledger.VerdictRejected:
		}
	}
	c := x.lds.cancels
	x.ended(b.Block.Receipts)
	c.spent(b.Ordered.Deliveries)
	if len(marked) == 0 {
		return
	}
	look := func(tx *ledger.Tx) {
		switch marked[tx.ID()] {
		case ledger.VerdictRejected:
			c.suspect(tx)
		case ledger.VerdictSpent:
			x.escrowed(tx)
			for _, cl := range c.all(tx.ID()) {
				if cl.Source != c.cfg.Committee.Shard() {
					c.later(cl)
				}
			}
		default:
			return
		}
		delete(marked, tx.ID())
	}
	for _, d := range b.Ordered.Deliveries {
		for i := range d.Entries {
			look(d.Entries[i].Tx)
		}
	}
	for _, p := range b.Ordered.Payloads {
		for _, tx := range p.Txs {
			look(tx)
		}
	}
}

// spent looks again at the CLs of transactions on which a block received SPENT of the same shard. A CL that came after the
// LD was verified, and before its block was executed, found no verdict in the state, and the LD found no CL.
func (c *cancels) spent(deliveries []*ledger.Delivery) {
	for _, d := range deliveries {
		for i := range d.Entries {
			e := &d.Entries[i]
			if e.Verdict != ledger.VerdictSpent {
				continue
			}
			if cl := c.get(e.Tx.ID(), d.Source); cl != nil {
				c.later(cl)
			}
		}
	}
}

// permanent reports whether a refusal may be a reason for a CL_M; the ledger decides.
func permanent(r *ledger.Refusal) bool {
	return r != nil && (r.Reason == ledger.ReasonConsumed || r.Reason == ledger.ReasonWrongAmount)
}

// escrowed notes a transaction that waits for verdicts of other shards.
func (x *Exchange) escrowed(tx *ledger.Tx) {
	others := tx.Shards(x.cfg.Network.Home).Inputs.Without(x.cfg.Committee.Shard())
	if others == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.machine.Escrowed(x.time(), digest.Digest(tx.ID()), others.Members())
}

// ended notes the transactions of a block's receipts that are not in escrow any more.
func (x *Exchange) ended(receipts []ledger.Receipt) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range receipts {
		if v := receipts[i].Verdict; v == ledger.VerdictSettled || v == ledger.VerdictReturned {
			x.machine.Ended(digest.Digest(receipts[i].Tx))
		}
	}
}

// Network has the committees of all shards.
func (x *Exchange) Network() *settlement.Network { return x.cfg.Network }

// CLPublication is a CL to be published on the topics of other shards.
type CLPublication struct {
	Destinations []uint16
	CL           *settlement.CL
}

// Cancellations lists the CLs of this shard that it is this replica's turn to publish, once each. The host calls it after
// [Host.Publish].
func (x *Exchange) Cancellations() []CLPublication {
	c := x.lds.cancels
	c.mu.Lock()
	outgoing := c.outgoing
	c.outgoing = nil
	c.mu.Unlock()
	out := make([]CLPublication, len(outgoing))
	for i, cl := range outgoing {
		out[i] = CLPublication{cl.Tx.Shards(x.cfg.Network.Home).All().Without(cl.Source).Members(), cl}
	}
	return out
}

// TakeCL takes a CL of another shard from gossip, or from a replica of that shard. An error is the fault of the peer that
// passed it on.
func (x *Exchange) TakeCL(cl *settlement.CL) error {
	c, own := x.lds.cancels, x.cfg.Committee.Shard()
	if cl.Source == own || !cl.Tx.Shards(x.cfg.Network.Home).All().Has(own) {
		return fmt.Errorf("a CL of shard %d for transaction %s came to shard %d", cl.Source, cl.Tx.ID(), own)
	}
	if known := c.get(cl.Tx.ID(), cl.Source); known != nil && known.Equal(cl) {
		return nil
	}
	if err := cl.Check(x.cfg.Scheme); err != nil {
		return err
	}
	if !c.put(cl) {
		return nil
	}
	c.later(cl)
	return nil
}

// ServeCLs calls each with the known CLs of this shard for some transactions. The error is that of each.
func (x *Exchange) ServeCLs(ids []digest.Digest, each func(cl *settlement.CL) error) error {
	for _, id := range ids {
		if cl := x.lds.cancels.get(ledger.TxID(id), x.cfg.Committee.Shard()); cl != nil {
			if err := each(cl); err != nil {
				return err
			}
		}
	}
	return nil
}

// Check implements [clients.Cancellations]. A transaction that the ledger refuses for ever is looked up again: this shard may
// cancel it.
func (c *cancels) Check(tx *ledger.Tx, found *ledger.Refusal) *ledger.Refusal {
	if permanent(found) {
		c.suspect(tx)
	}
	return c.refusal(tx.ID(), found)
}

// refusal is the refusal of a transaction of which a CL of another shard is known, unless the ledger refuses it for
// another final reason.
func (c *cancels) refusal(id ledger.TxID, found *ledger.Refusal) *ledger.Refusal {
	if found != nil && found.Final() {
		return found
	}
	for _, cl := range c.all(id) {
		if cl.Source != c.cfg.Committee.Shard() {
			return &ledger.Refusal{Reason: ledger.ReasonCancelled, Detail: fmt.Sprintf("shard %d certified that it can never be spent there", cl.Source)}
		}
	}
	return found
}
