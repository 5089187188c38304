package check

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/observe"
	"bdtnode/shard/settlement"
)

// settling has the guarantees between shards (design §2.4 to §2.6). A transaction settles in all shards that it
// involves or in none. The verdict of each input shard is final and reaches all shards involved. Deliveries arrive in
// order, and each is applied once. Value is neither created nor lost.
//
// Another check compares the headers of a shard, so each block is examined once: when the first honest replica has
// executed it.
type settling struct {
	w        *Network
	height   []uint64 // examined, by shard
	txs      map[ledger.TxID]*ledger.Tx
	fates    map[ledger.TxID]*fate
	channels [][]channelSeen // by source and destination
	drift    int64           // value that partly settled transactions have created, less the value that they have removed
	owed     int64           // the same, of transactions that involve a hostile shard
	held     []ledger.Audit  // by shard, at the height examined
	refusals int
}

// fate has the known results of a cross-shard transaction in all shards.
type fate struct {
	verdicts map[uint16]ledger.Verdict // of each input shard: SPENT or REJECTED
	ends     map[uint16]ledger.Verdict // by shard: settled, rejected or returned
	settled  int
	// cancelled reports whether a CL returned the escrow in some shard.
	cancelled bool
}

// channelSeen is the known state of a channel.
type channelSeen struct {
	made    []digest.Digest // digests of the LDs, by number from 1
	told    map[ledger.TxID]bool
	applied uint64
	hostile adversary.HostileChannel // of a hostile source
	frozen  uint64                   // height of the destination at which it froze the channel
}

func newSettling(w *Network) settling {
	return settling{w: w, txs: make(map[ledger.TxID]*ledger.Tx), fates: make(map[ledger.TxID]*fate)}
}

// add makes room for one more shard.
func (c *settling) add() {
	c.height, c.held = append(c.height, 0), append(c.held, ledger.Audit{})
	c.channels = append(c.channels, nil)
	for s := range c.channels {
		for len(c.channels[s]) < len(c.channels) {
			c.channels[s] = append(c.channels[s], channelSeen{told: make(map[ledger.TxID]bool)})
		}
	}
}

// executed is called when an honest replica has executed a block.
func (c *settling) executed(n observe.Replica, in *ledger.CommittedBlock, b *ledger.Block) {
	s := c.w.of(n)
	if len(c.w.Shards) == 1 || b.Header.Height != c.height[s.Number]+1 {
		return
	}
	c.height[s.Number]++
	for _, f := range b.Frozen {
		c.froze(s, b.Header.Height, f)
	}
	for _, d := range in.Deliveries {
		c.applied(s, d)
	}
	for i := range b.Receipts {
		c.receipt(s, &b.Receipts[i])
	}
	for i := range b.Outbox {
		c.made(s, b.Outbox[i].Delivery)
	}
	c.value(n)
}

// Blocks is the number of blocks of all shards that gave a verdict on a transaction between shards, and of those in which
// an output shard created its outputs.
func (w *Network) Blocks(id ledger.TxID) (verdicts, outputs int) {
	f := w.settling.fates[id]
	if f == nil {
		return 0, 0
	}
	to := w.settling.txs[id].Shards(w.peers.Home).Outputs
	for shard, end := range f.ends {
		if end == ledger.VerdictSettled && to.Has(shard) {
			outputs++
		}
	}
	return len(f.verdicts), outputs
}

// Outstanding is the number of LDs that a shard made for another one and that the other has not applied.
func (w *Network) Outstanding(source, destination int) int {
	c := &w.settling.channels[source][destination]
	return len(c.made) - int(c.applied)
}

// froze: only the channel of a hostile shard is frozen, and once.
func (c *settling) froze(s *Shard, height uint64, f ledger.Freeze) {
	ch := &c.channels[f.Source][s.Number]
	if !ch.hostile.False || ch.frozen != 0 {
		s.Fail("channels", "the channel of shard %d is frozen: %s", f.Source, f.Why)
	}
	s.Trace.Add(c.w.clock.Now(), "frozen", -1, int(f.Source), nil, f.Why)
	ch.frozen = height
}

// applied: deliveries are applied in order, each once, and equal those that their source made.
func (c *settling) applied(s *Shard, d *ledger.Delivery) {
	ch := &c.channels[d.Source][s.Number]
	if c.w.Shards[d.Source].isHostile() {
		if d.Number == ch.applied+1 && ch.hostile.Certified(d) {
			ch.applied = d.Number
			return
		}
		s.Fail("channels", "LD %d of hostile shard %d is ordered after number %d", d.Number, d.Source, ch.applied)
	}
	switch {
	case d.Destination != s.Number || d.Number != ch.applied+1:
		s.Fail("channels", "LD %d of shard %d to %d is applied after number %d", d.Number, d.Source, d.Destination, ch.applied)
	case d.Number > uint64(len(ch.made)) || ch.made[d.Number-1] != d.Digest():
		s.Fail("channels", "LD %d of shard %d is %s, and shard %d did not make it", d.Number, d.Source, d.Digest().Short(), d.Source)
	}
	ch.applied = d.Number
}

// made: deliveries are numbered without gaps, and carry each verdict once to each shard involved.
func (c *settling) made(s *Shard, d *ledger.Delivery) {
	ch := &c.channels[s.Number][d.Destination]
	ch.made = append(ch.made, d.Digest())
	if s.isHostile() {
		ch.hostile.Made(s.Hostile, d)
	}
	if d.Source != s.Number || d.Number != uint64(len(ch.made)) || d.Number > 1 && d.Previous != ch.made[d.Number-2] {
		s.Fail("channels", "LD %d of shard %d to %d is made as number %d", d.Number, d.Source, d.Destination, len(ch.made))
	}
	for _, e := range d.Entries {
		id := e.Tx.ID()
		f := c.fates[id]
		if f == nil || f.verdicts[s.Number] != e.Verdict {
			s.Fail("verdicts", "shard %d is sent verdict %s on transaction %s, which the source did not give", d.Destination, e.Verdict, id)
		}
		if ch.told[id] {
			s.Fail("verdicts", "shard %d is sent two verdicts on transaction %s", d.Destination, id)
		}
		ch.told[id] = true
	}
}

// receipt: one verdict for each input shard, for ever, and one result for all shards.
//
//nolint:cyclop // the rules of one receipt, in order
func (c *settling) receipt(s *Shard, r *ledger.Receipt) {
	tx := c.txs[r.Tx]
	if tx == nil {
		if r.Verdict != ledger.VerdictRejected {
			s.Fail("verdicts", "transaction %s, which no client made, is %s", r.Tx, r.Verdict)
		}
		return
	}
	parties := tx.Shards(c.w.peers.Home)
	if parties.Inside(s.Number) {
		return
	}
	f := c.fates[r.Tx]
	if f == nil {
		f = &fate{verdicts: make(map[uint16]ledger.Verdict), ends: make(map[uint16]ledger.Verdict)}
		c.fates[r.Tx] = f
	}
	said, ended := f.verdicts[s.Number], f.ends[s.Number]
	if ended != 0 || !parties.All().Has(s.Number) {
		s.Fail("verdicts", "transaction %s is %s, and was %s before", r.Tx, r.Verdict, ended)
	}
	if parties.Inputs.Has(s.Number) && (r.Verdict == ledger.VerdictSpent || r.Verdict == ledger.VerdictRejected) {
		if said != 0 {
			s.Fail("verdicts", "the shard gives verdict %s on transaction %s, and gave %s before", r.Verdict, r.Tx, said)
		}
		f.verdicts[s.Number] = r.Verdict
		if r.Verdict == ledger.VerdictRejected && f.told(parties, s.Number) == 0 && !c.w.involved(tx) {
			s.Fail("verdicts", "the shard rejects transaction %s, and no other shard sent it a verdict", r.Tx)
		}
	}
	if r.Verdict == ledger.VerdictSpent {
		if !s.isHostile() {
			c.w.cancelling.spent(s, r.Tx)
		}
		return
	}
	f.ends[s.Number] = r.Verdict
	f.cancelled = f.cancelled || r.Reason == ledger.ReasonCancelled
	if c.w.involved(tx) { // atomicity is not guaranteed
		if r.Verdict == ledger.VerdictSettled {
			c.moved(s, tx, &c.owed)
		}
		return
	}
	rejected := r.Reason == ledger.ReasonCancelled // a CL, of a shard that never gives SPENT
	if rejected {
		c.w.cancelling.returned(s, tx)
	}
	for _, shard := range parties.Inputs.Members() {
		switch f.verdicts[shard] {
		case ledger.VerdictRejected:
			rejected = true
		case ledger.VerdictSpent:
			continue
		case ledger.VerdictSettled, ledger.VerdictReturned: // not verdicts of an input shard
		}
		if r.Verdict == ledger.VerdictSettled {
			s.Fail("atomicity", "transaction %s settles, and input shard %d has not spent", r.Tx, shard)
		}
	}
	if r.Verdict != ledger.VerdictSettled {
		if !rejected {
			s.Fail("atomicity", "transaction %s is %s, and no input shard has rejected it", r.Tx, r.Verdict)
		}
		if f.settled > 0 {
			s.Fail("atomicity", "transaction %s is %s, and settled in another shard", r.Tx, r.Verdict)
		}
		return
	}
	if f.settled++; rejected || f.settled < len(f.ends) {
		s.Fail("atomicity", "transaction %s settles, and is rolled back in another shard", r.Tx)
	}
	c.moved(s, tx, &c.drift)
}

// moved adds to sum the value that a transaction creates in a shard when it settles there, less the value that it
// removes.
func (c *settling) moved(s *Shard, tx *ledger.Tx, sum *int64) {
	if s.isHostile() {
		return
	}
	for i := range tx.Inputs {
		if c.w.peers.Home(ledger.AddressOf(tx.Inputs[i].Key)) == s.Number {
			*sum -= int64(tx.Inputs[i].Amount)
		}
	}
	for i := range tx.Outputs {
		if c.w.peers.Home(tx.Outputs[i].Address) == s.Number {
			*sum += int64(tx.Outputs[i].Amount)
		}
	}
	if c.w.peers.Home(ledger.AddressOf(tx.Inputs[0].Key)) == s.Number {
		*sum += int64(tx.Fee)
	}
}

// told is the number of other input shards that have given their verdict.
func (f *fate) told(p ledger.TxShards, shard uint16) (n int) {
	for _, other := range p.Inputs.Without(shard).Members() {
		if f.verdicts[other] != 0 {
			n++
		}
	}
	return n
}

// value: in each shard the value counted output by output equals genesis, less the value that left, plus the value that
// came. Over all shards, at the cut of the examined blocks, the value is that of genesis. The difference is the value
// that transactions have removed in some shards and not yet created in others, or the other way around.
func (c *settling) value(n observe.Replica) {
	a, s := n.Audit(), c.w.of(n)
	c.held[n.Shard()] = a
	if !a.Conserved() {
		s.Fail("value", "%d unspent, %d in escrow, %d burned, %d ceded of %d and %d gained", a.Unspent, a.Escrow, a.Burned, a.Ceded, a.Genesis, a.Gained)
	}
	if supply := c.supply(s); a.Unspent+a.Burned > supply {
		s.Fail("value", "%d unspent and %d burned of a supply of %d", a.Unspent, a.Burned, supply)
	}
	var total, genesis int64
	for k := range c.held {
		if h := &c.held[k]; h.Height > 0 && !c.w.Shards[k].isHostile() {
			total += int64(h.Unspent + h.Escrow + h.Burned)
			genesis += int64(h.Genesis)
		}
	}
	if total != genesis+c.drift+c.owed {
		s.Fail("value", "the shards hold %d of %d, and transactions under way account for %d and %d", total, genesis, c.drift, c.owed)
	}
}

// supply is the value of the network at genesis.
func (c *settling) supply(s *Shard) (sum uint64) {
	for _, a := range s.Allocations {
		sum += a.Amount * uint64(a.Outputs)
	}
	return sum
}

// refused: a replica refused an LD. That must be the fault of the LD's sender.
func (c *settling) refused(n, from observe.Replica, err error) {
	c.refusals++
	if n.Honest() && from.Honest() && !c.w.of(from).isHostile() {
		c.w.of(n).Fail("blame", "replica %d refuses an LD of honest replica %d of shard %d: %v", n.ID(), from.ID(), from.Shard(), err)
	}
}

// took: a replica accepted an LD.
func (c *settling) took(n, from observe.Replica, p network.Packet, ld *settlement.LD) {
	if p.Forged != "" {
		c.w.of(n).Fail("blame", "replica %d takes a forged LD of replica %d of shard %d (%s)", n.ID(), from.ID(), from.Shard(), p.Forged)
	}
	d := ld.Delivery
	ch := &c.channels[d.Source][n.Shard()]
	made := ch.made
	if c.w.Shards[d.Source].isHostile() {
		if !ch.hostile.Certified(d) {
			c.w.of(n).Fail("channels", "replica %d takes LD %d of hostile shard %d, which that shard did not certify", n.ID(), d.Number, d.Source)
		}
		return
	}
	if d.Number > uint64(len(made)) || made[d.Number-1] != d.Digest() {
		c.w.of(n).Fail("channels", "replica %d takes LD %d of shard %d, which that shard did not make", n.ID(), d.Number, d.Source)
	}
}

// open describes pending work between shards, empty if there is none.
func (c *settling) open() string {
	for a := range c.channels {
		for b := range c.channels[a] {
			ch := &c.channels[a][b]
			switch {
			case ch.hostile.False && !c.w.Shards[b].isHostile() && ch.frozen == 0:
				return fmt.Sprintf("shard %d sent false LDs to shard %d, which has not frozen its channel", a, b)
			case c.w.Shards[a].isHostile() || c.w.Shards[b].isHostile():
			case ch.applied < uint64(len(ch.made)):
				return fmt.Sprintf("shard %d has made %d LDs for shard %d, which has applied %d", a, len(ch.made), b, ch.applied)
			}
		}
	}
	for _, id := range c.w.answers.order {
		f := c.fates[id]
		if f == nil || c.w.involved(c.txs[id]) {
			continue
		}
		for _, shard := range c.txs[id].Shards(c.w.peers.Home).All().Members() {
			if f.ends[shard] == 0 {
				return fmt.Sprintf("transaction %s is not final in shard %d", id, shard)
			}
		}
	}
	return ""
}

// closed describes records that should be forgotten and are not, empty if there are none. Some time after everything is
// final and has expired, nothing is in escrow, no record is open, and no transaction waits in a mempool.
func (c *settling) closed() string {
	if lack := c.alike(); lack != "" {
		return lack
	}
	for _, s := range c.w.Shards {
		if c.w.hostile() != 0 {
			break // the escrow of transactions that involve the hostile shard stays
		}
		for _, n := range s.honest() {
			a := n.Audit()
			if a.Open > 0 || a.Escrow > 0 || n.Pending() > 0 {
				return fmt.Sprintf("replica %d of shard %d has %d open records, %d in escrow and %d transactions in its mempool", n.ID(), s.Number, a.Open, a.Escrow, n.Pending())
			}
		}
	}
	if c.drift != 0 {
		return fmt.Sprintf("the value of the shards differs from genesis by %d", c.drift)
	}
	return ""
}

// alike names the replicas of a shard that froze different channels, or for different reasons; empty if there are none.
func (c *settling) alike() string {
	for _, s := range c.w.Shards {
		var first []ledger.Freeze
		for i, n := range s.honest() {
			frozen := n.Frozen()
			if i == 0 {
				first = frozen
			}
			if !slices.Equal(first, frozen) {
				return fmt.Sprintf("replica %d of shard %d has frozen %d channels, another one %d or for other reasons", n.ID(), s.Number, len(frozen), len(first))
			}
		}
	}
	return ""
}
