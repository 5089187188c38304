package check

import (
	"errors"
	"testing"

	"bdtnode/ledger"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/network"
	"bdtnode/protocols/cancel"
	"bdtnode/shard/settlement"
)

// network of three shards, in which a test reports executed blocks.
type shardsFixture struct{ *fixture }

func newShards(t *testing.T) *shardsFixture { return &shardsFixture{newFixture(t, 3)} }

// executes reports the next block of a shard at its first replica.
func (f *shardsFixture) executes(shard uint16, in ledger.CommittedBlock, b ledger.Block) {
	n := f.nodes[shard][0]
	n.height++
	b.Header.Height = n.height
	for i := range b.Receipts {
		b.Receipts[i].Shard, b.Receipts[i].Height = shard, n.height
	}
	n.audit.Height = n.height
	f.settling.executed(n, &in, &b)
}

// verdict reports a block with one receipt, and moves the value that it moves.
func (f *shardsFixture) verdict(shard uint16, tx *ledger.Tx, v ledger.Verdict, why ledger.Reason) {
	a, p := &f.nodes[shard][0].audit, tx.Shards(f.peers.Home)
	took, gave := uint64(0), uint64(0)
	if p.Inputs.Has(shard) {
		took = tx.Inputs[0].Amount
	}
	for _, out := range tx.Outputs {
		if f.peers.Home(out.Address) == shard {
			gave += out.Amount
		}
	}
	switch v {
	case ledger.VerdictSpent:
		a.Unspent, a.Escrow = a.Unspent-took, a.Escrow+took
	case ledger.VerdictReturned:
		a.Unspent, a.Escrow = a.Unspent+took, a.Escrow-took
	case ledger.VerdictSettled:
		a.Unspent, a.Escrow, a.Ceded, a.Gained = a.Unspent+gave, a.Escrow-took, a.Ceded+took, a.Gained+gave
	case ledger.VerdictRejected:
	}
	f.executes(shard, ledger.CommittedBlock{}, ledger.Block{Receipts: []ledger.Receipt{{Tx: tx.ID(), Verdict: v, Reason: why}}})
}

// made is a transaction that clients made.
func (f *shardsFixture) made(number byte, inputs, outputs []uint16) *ledger.Tx {
	tx := f.tx(number, inputs, outputs)
	f.Made(tx)
	return tx
}

const (
	spent, settled     = ledger.VerdictSpent, ledger.VerdictSettled
	rejected, returned = ledger.VerdictRejected, ledger.VerdictReturned
)

// TestTold: the answer of a replica about a transaction in another shard is one of the receipts there. Answers about a hostile
// shard are not checked, since its replicas can invent them.
func TestTold(t *testing.T) {
	f := newShards(t)
	id := f.made(1, in(0, 1), in(2)).ID()
	asker := f.nodes[0][0]
	f.Told(asker, 1, id, false, 3)
	f.violates("promises", "a receipt before there is one")
	f.Shards[1].durability.executed(&ledger.Block{Receipts: []ledger.Receipt{{Tx: id, Height: 3, Verdict: spent}}})
	f.Told(asker, 1, id, false, 3)
	f.holds("the transaction is in escrow")
	f.Told(asker, 1, id, true, 3)
	f.violates("promises", "it is told as settled, and is in escrow")
	f.Shards[1].durability.executed(&ledger.Block{Receipts: []ledger.Receipt{{Tx: id, Height: 5, Verdict: settled}}})
	f.Told(asker, 1, id, true, 5)
	f.Told(asker, 1, id, false, 3) // of a replica that has not executed the block yet
	f.holds("it is settled")
	f.Told(asker, 1, id, false, 5)
	f.violates("promises", "it is told as rejected, and is settled")
	f.Told(asker, 2, id, true, 5)
	f.violates("promises", "another shard has no receipt of it")
	if n := f.Counts().Told; n != 7 {
		t.Errorf("%d answers are counted", n)
	}
}

// TestAtomicity: a transaction settles in all shards that it involves, after SPENT in each input shard, or in none.
func TestAtomicity(t *testing.T) {
	f := newShards(t)
	tx := f.made(1, in(0, 1), in(2))
	f.verdict(0, tx, spent, 0)
	f.verdict(1, tx, spent, 0)
	f.verdict(0, tx, settled, 0)
	f.verdict(2, tx, settled, 0)
	f.verdict(1, tx, settled, 0)
	f.holds("SPENT twice, and settled in all shards")
	if v, o := f.Blocks(tx.ID()); v != 2 || o != 1 {
		t.Errorf("%d blocks with verdicts, %d with outputs", v, o)
	}

	tx = f.made(2, in(0, 1), in(2))
	f.verdict(0, tx, spent, 0)
	f.verdict(1, tx, rejected, ledger.ReasonConsumed)
	f.verdict(0, tx, returned, ledger.ReasonNone)
	f.holds("SPENT, rejected and returned")
	if r := f.Counts(); r.ReturnedByVerdict != 1 || r.ReturnedByCL != 0 {
		t.Errorf("%+v", r)
	}
	f.verdict(2, tx, settled, 0)
	f.violates("atomicity", "settled after a rejection")

	f = newShards(t)
	tx = f.made(1, in(0, 1), in(2))
	f.verdict(0, tx, spent, 0)
	f.settling.receipt(f.Shards[2], &ledger.Receipt{Tx: tx.ID(), Verdict: settled})
	f.violates("atomicity", "settled with one of two verdicts")

	f = newShards(t)
	tx = f.made(1, in(0, 1), in(2))
	f.verdict(0, tx, spent, 0)
	f.verdict(0, tx, returned, ledger.ReasonNone)
	f.violates("atomicity", "returned, and no shard rejected it")
}

// TestVerdicts: an input shard gives one verdict, rejects only in answer to another's verdict, and no other transaction has a
// result.
func TestVerdicts(t *testing.T) {
	f := newShards(t)
	tx := f.made(1, in(0, 1), in(2))
	f.verdict(0, tx, spent, 0)
	f.holds("a verdict")
	f.verdict(0, tx, spent, 0)
	f.violates("verdicts", "a second SPENT")

	tx = f.made(2, in(0, 1), in(2))
	f.verdict(1, tx, rejected, ledger.ReasonConsumed)
	f.violates("verdicts", "a rejection before any other verdict")

	unknown := f.tx(3, in(0), in(0))
	f.settling.receipt(f.Shards[0], &ledger.Receipt{Tx: unknown.ID(), Verdict: rejected})
	f.holds("a rejected transaction of an adversary")
	f.settling.receipt(f.Shards[0], &ledger.Receipt{Tx: unknown.ID(), Verdict: settled})
	f.violates("verdicts", "a transaction settles that no client made")

	tx = f.made(4, in(0), in(1))
	f.settling.receipt(f.Shards[2], &ledger.Receipt{Tx: tx.ID(), Verdict: spent})
	f.violates("verdicts", "a receipt in a shard that is not involved")
	inside := f.made(5, in(0), in(0))
	f.settling.receipt(f.Shards[0], &ledger.Receipt{Tx: inside.ID(), Verdict: settled})
	f.holds("a transaction inside a shard")
}

// TestChannels: LDs are numbered and chained, carry each verdict once, and are applied in order, as they were made.
func TestChannels(t *testing.T) {
	f := newShards(t)
	tx := f.made(1, in(0), in(1))
	f.verdict(0, tx, spent, 0)
	entry := []ledger.Entry{{Verdict: spent, Tx: tx}}
	one := ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 1, Entries: entry})
	two := ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 2, Previous: one.Digest()})
	makes := func(d *ledger.Delivery) {
		f.executes(0, ledger.CommittedBlock{}, ledger.Block{Outbox: []ledger.Outgoing{{Delivery: d}}})
	}
	applies := func(d *ledger.Delivery) {
		f.executes(1, ledger.CommittedBlock{Deliveries: []*ledger.Delivery{d}}, ledger.Block{})
	}
	makes(one)
	applies(one)
	makes(two)
	f.holds("two LDs, and the first applied")
	if n := f.Outstanding(0, 1); n != 1 {
		t.Errorf("%d outstanding", n)
	}
	if d, ok := f.MadeLD(0, 1, 2); !ok || d != two.Digest() {
		t.Error("the second LD is not known")
	}
	if lack := f.settling.open(); lack == "" {
		t.Error("an LD is not applied")
	}
	applies(one)
	f.violates("channels", "an LD applied twice")

	f.settling.channels[0][1].applied = 1
	applies(ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 2, Previous: one.Digest(), Applied: 9}))
	f.violates("channels", "an LD that the source did not make")
	makes(ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 4, Previous: two.Digest()}))
	f.violates("channels", "a number left out")
	makes(ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 4, Previous: one.Digest()}))
	f.violates("channels", "an LD that does not follow the one before")

	f = newShards(t)
	f.Made(tx)
	makes(one)
	f.violates("verdicts", "an LD with a verdict that the source did not give")
	f = newShards(t)
	f.Made(tx)
	f.verdict(0, tx, spent, 0)
	makes(ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 1, Entries: append(entry, entry...)}))
	f.violates("verdicts", "a verdict sent twice")

	f = newShards(t)
	f.executes(1, ledger.CommittedBlock{}, ledger.Block{Frozen: []ledger.Freeze{{Source: 0}}})
	f.violates("channels", "the channel of an honest shard is frozen")
}

// TestValueAmongShards: no shard creates value, and all shards together have that of genesis.
func TestValueAmongShards(t *testing.T) {
	f := newShards(t)
	f.executes(0, ledger.CommittedBlock{}, ledger.Block{})
	f.holds("the value of genesis")
	f.nodes[0][0].audit.Unspent++
	f.executes(0, ledger.CommittedBlock{}, ledger.Block{})
	f.violates("value", "a coin too much in a shard")
	f.nodes[0][0].audit.Gained++
	f.executes(0, ledger.CommittedBlock{}, ledger.Block{})
	f.violates("value", "a coin gained from no shard")
	a := &f.nodes[0][0].audit
	*a = ledger.Audit{Unspent: 3001, Gained: 2001, Genesis: 1000}
	f.executes(0, ledger.CommittedBlock{}, ledger.Block{})
	f.violates("value", "more than the supply of all shards")
}

// ld is an LD of a delivery, without its proof.
func ld(d ledger.Delivery) *settlement.LD { return &settlement.LD{Delivery: ledger.NewDelivery(d)} }

// TestTakenLDs: a replica takes only LDs that their source made, and refuses none of an honest replica.
func TestTakenLDs(t *testing.T) {
	f := newShards(t)
	right := ld(ledger.Delivery{Source: 0, Destination: 1, Number: 1})
	f.executes(0, ledger.CommittedBlock{}, ledger.Block{Outbox: []ledger.Outgoing{{Delivery: right.Delivery}}})
	at, honest, bad := f.nodes[1][0], f.nodes[0][0], f.nodes[0][byzantine]
	f.TookLD(at, honest, network.Packet{}, right)
	f.RefusedLD(at, bad, errors.New("bad"))
	f.RefusedLD(f.nodes[1][byzantine], honest, errors.New("bad"))
	f.holds("an LD that was made, and refusals by and of Byzantine replicas")
	f.TookLD(at, bad, network.Packet{Forged: "a forged one"}, right)
	f.violates("blame", "a forged LD")
	f.TookLD(at, bad, network.Packet{}, ld(ledger.Delivery{Source: 0, Destination: 1, Number: 1, Applied: 1}))
	f.violates("channels", "an LD that was not made")
	f.TookLD(at, bad, network.Packet{}, ld(ledger.Delivery{Source: 0, Destination: 1, Number: 2}))
	f.violates("channels", "an LD of a number that was not made")
	f.RefusedLD(at, honest, errors.New("bad"))
	f.violates("blame", "an LD of an honest replica is refused")
	f.Accused(at, &settlement.Evidence{LD: ld(ledger.Delivery{Source: 0, Destination: 1}), Why: errors.New("a broken rule")})
	f.violates("evidence", "an honest shard is accused")
}

// TestCancelling: CL_Ms of honest replicas, CLs, and escrow that a CL returns.
func TestCancelling(t *testing.T) {
	f := newShards(t)
	tx := f.made(1, in(0, 1), in(2))
	states := func(shard uint16, tx *ledger.Tx) {
		f.Shards[shard].steps(f.nodes[shard][0], &cancel.CLM{Content: tx.Encode()})
	}
	cl := func(source uint16, tx *ledger.Tx) *settlement.CL { return &settlement.CL{Source: source, Tx: tx} }
	states(0, tx)
	f.TookCL(f.nodes[1][0], f.nodes[0][0], network.Packet{}, cl(0, tx))
	f.verdict(1, tx, spent, 0)
	f.verdict(1, tx, returned, ledger.ReasonCancelled)
	f.holds("a CL after a CL_M, and the escrow that it returns")
	if r := f.Counts(); r.ReturnedByCL != 1 || r.Cancelled != 0 {
		t.Errorf("%+v", r)
	}
	f.verdict(0, tx, spent, 0)
	f.violates("cancelling", "SPENT after a CL_M")

	f = newShards(t)
	f.Made(tx)
	f.TookCL(f.nodes[1][0], f.nodes[0][0], network.Packet{}, cl(0, tx))
	f.violates("cancelling", "a CL without a CL_M")
	states(0, tx)
	f.TookCL(f.nodes[1][0], f.nodes[0][byzantine], network.Packet{Forged: "a forged one"}, cl(0, tx))
	f.violates("blame", "a forged CL")
	if r := f.Counts(); r.Cancelled != 1 {
		t.Errorf("%+v", r)
	}

	f = newShards(t)
	f.Made(tx)
	f.verdict(0, tx, spent, 0)
	f.verdict(0, tx, returned, ledger.ReasonCancelled)
	f.violates("cancelling", "escrow returns upon a CL that no shard could make")
	states(1, tx)
	f.holds("a CL_M of the other input shard")
	states(2, tx)
	f.violates("cancelling", "a CL_M in a shard without an input")
	states(0, f.made(2, in(0), in(0)))
	f.violates("cancelling", "a CL_M for a transaction inside a shard")
	f.Shards[0].steps(f.nodes[0][0], &cancel.CLM{Content: []byte("x")})
	f.violates("cancelling", "a CL_M for no transaction")
	late := f.made(3, in(0, 1), in(2))
	f.nodes[1][0].timeMS = late.ExpiryMS
	states(1, late)
	f.holds("the block time is the expiry")
	f.nodes[1][0].timeMS++
	states(1, late)
	f.violates("cancelling", "a CL_M after the expiry")
	early := f.made(4, in(0, 1), in(2))
	f.verdict(0, early, spent, 0)
	states(0, early)
	f.violates("cancelling", "a CL_M after SPENT")
}

// TestOpen: at the end no record is open, nothing is in escrow, no transaction waits, and replicas froze the same channels.
func TestOpen(t *testing.T) {
	f := newShards(t)
	if lack := f.Open(); lack != "" {
		t.Error(lack)
	}
	for name, change := range map[string]func(n *node){
		"an open record": func(n *node) { n.audit.Open = 1 }, "escrow": func(n *node) { n.audit.Escrow = 1 },
		"a transaction in the mempool": func(n *node) { n.pending = 1 }, "a frozen channel": func(n *node) { n.frozen = []ledger.Freeze{{Source: 1}} },
	} {
		f := newShards(t)
		change(f.nodes[2][byzantine])
		if lack := f.Open(); lack != "" {
			t.Errorf("%s of a Byzantine replica: %s", name, lack)
		}
		if change(f.nodes[2][1]); f.Open() == "" {
			t.Errorf("%s is not found", name)
		}
	}
	f.settling.drift = 1
	if f.Open() == "" {
		t.Error("value that some shards have created and none has removed")
	}
	f = newShards(t)
	tx := f.made(1, in(0), in(1))
	f.Accepted(f.nodes[0][0], tx)
	f.verdict(0, tx, spent, 0)
	if f.settling.open() == "" {
		t.Error("a transaction that is not final in its shards")
	}
	f.verdict(0, tx, settled, 0)
	f.verdict(1, tx, settled, 0)
	if lack := f.settling.open(); lack != "" {
		t.Error(lack)
	}
}

// TestHostile: another shard takes and applies the LDs that a hostile shard certified and no others, and freezes the channel.
func TestHostile(t *testing.T) {
	f := newShards(t)
	f.Shards[0].Hostile = adversary.TwoLDs{}
	entry := []ledger.Entry{{Verdict: spent, Tx: f.made(1, in(0), in(1))}}
	f.verdict(0, entry[0].Tx, spent, 0)
	made := ledger.NewDelivery(ledger.Delivery{Source: 0, Destination: 1, Number: 1, Entries: entry})
	f.executes(0, ledger.CommittedBlock{}, ledger.Block{Outbox: []ledger.Outgoing{{Delivery: made}}})
	two := []*ledger.Delivery{f.HostileDelivery(0, 1, 1, 0), f.HostileDelivery(0, 1, 1, 1)}
	if two[0].Digest() == two[1].Digest() {
		t.Fatal("both replicas get one LD")
	}
	for to, d := range two {
		f.TookLD(f.nodes[1][to], f.nodes[0][0], network.Packet{}, &settlement.LD{Delivery: d})
	}
	f.RefusedLD(f.nodes[1][0], f.nodes[0][0], errors.New("bad"))
	f.Accused(f.nodes[1][0], &settlement.Evidence{LD: ld(ledger.Delivery{Source: 0, Destination: 1}), Why: errors.New("a broken rule")})
	f.holds("both LDs, a refused one, and evidence")
	f.TookLD(f.nodes[1][0], f.nodes[0][0], network.Packet{}, ld(ledger.Delivery{Source: 0, Destination: 1, Number: 2}))
	f.violates("channels", "an LD that the hostile shard did not certify")
	if f.settling.open() == "" {
		t.Error("the channel is not frozen")
	}
	f.executes(1, ledger.CommittedBlock{Deliveries: two[:1]}, ledger.Block{Frozen: []ledger.Freeze{{Source: 0}}})
	f.holds("one of the two is applied, and the channel frozen")
	if lack := f.settling.open(); lack != "" {
		t.Error(lack)
	}
	f.executes(1, ledger.CommittedBlock{}, ledger.Block{Frozen: []ledger.Freeze{{Source: 0}}})
	f.violates("channels", "the channel is frozen twice")
}
