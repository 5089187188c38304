package settlement

import (
	"fmt"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/golden"
	"bdtnode/ledger"
)

// traced is a world of three shards with their ledgers.
type traced struct {
	t   *testing.T
	p   *golden.Printer
	n   *Network
	w   world
	txs map[string]*ledger.Tx
}

// TestTraces runs the scripts in testdata/traces.
func TestTraces(t *testing.T) {
	golden.Run(t, "testdata/traces/*.txt", func(t *testing.T, p *golden.Printer) golden.Commands {
		s := &traced{t: t, p: p, n: testNetwork(t), txs: make(map[string]*ledger.Tx)}
		return golden.Commands{
			"world": s.start, "tx": s.tx, "block": s.block, "ld": s.ld, "part": s.part, "value": s.value, "crash": s.crash, "tamper": s.tamper,
		}
	})
}

// world: three shards, each with four coins of 100 for its account.
func (s *traced) start(*golden.Args) {
	s.w = newWorld(Standard(), 4)
	s.w.keep = true
	s.p.Line("%d shards, %d in each", shards, 4*coinValue)
}

// tx t in=(0,1) out=(1) [coin=0]: a transaction that spends one coin in each input shard, with a fee of 1.
func (s *traced) tx(a *golden.Args) {
	name := a.Word()
	var m masks
	for _, i := range a.Ints("in") {
		m.in |= 1 << i
	}
	for _, i := range a.Ints("out") {
		m.out |= 1 << i
	}
	tx := transfer(m, txExpiry, coin(a.IntOr("coin", 0)))
	s.txs[name] = tx
	if m.crosses() {
		s.w.watch(tx)
	}
	s.p.Name(digest.Digest(tx.ID()), name)
	for _, in := range tx.Inputs {
		s.p.Line("spends %d in shard %d", in.Amount, home(ledger.AddressOf(in.Key)))
	}
	for _, out := range tx.Outputs {
		s.p.Line("pays %d in shard %d", out.Amount, home(out.Address))
	}
}

func (s *traced) name(id ledger.TxID) string { return s.p.Digest(digest.Digest(id)) }

// block 0 [txs=(t)] [deliver=(1)] [evidence]: a block of a shard with these transactions and the next delivery of each of
// these shards.
func (s *traced) block(a *golden.Args) {
	proof := a.Flag("evidence")
	e := event{shard: uint16(a.Number())}
	for _, name := range a.List("txs") {
		tx := s.txs[name]
		if tx == nil {
			a.Fatalf("there is no transaction %s", name)
		}
		e.txs = append(e.txs, tx)
	}
	for _, i := range a.Ints("deliver") {
		e.deliver = append(e.deliver, uint16(i))
	}
	if proof {
		x := twoUnderOneNumber(s.t, s.n)
		s.p.Line("evidence: LD %d of shard %d for shard %d, and %s", x.LD.Delivery.Number, x.Source(), x.LD.Delivery.Destination, x.Why)
		e.notices, s.w.byzantine = []ledger.Notice{x}, true
	}
	s.does(a, e)
}

func (s *traced) does(a *golden.Args, e event) {
	b, err := s.w.do(e)
	a.Check(err)
	s.p.Line("block %d of shard %d", b.Header.Height, e.shard)
	for i := range b.Receipts {
		r := &b.Receipts[i]
		s.p.Line("receipt %s %s%s", s.name(r.Tx), r.Verdict, because(r.Reason))
	}
	for i := range b.LeftOut {
		s.p.Line("left out %s: %s", s.name(b.LeftOut[i].ID), s.p.Plain(b.LeftOut[i].Refusal.Error()))
	}
	for _, id := range b.Duplicates {
		s.p.Line("duplicate %s", s.name(id))
	}
	for i := range b.Outbox {
		d := b.Outbox[i].Delivery
		var said []string
		for _, x := range d.Entries {
			said = append(said, fmt.Sprintf("%s %s%s", x.Verdict, s.name(x.Tx.ID()), because(x.Reason)))
		}
		s.p.Line("tells shard %d in LD %d: %s; applied %d of its LDs", d.Destination, d.Number, strings.Join(said, ", "), d.Applied)
	}
	for i := range b.Frozen {
		s.p.Line("freezes the channel from shard %d at LD %d: %s", b.Frozen[i].Source, b.Frozen[i].Number, b.Frozen[i].Why)
	}
}

func because(r ledger.Reason) string {
	if r == ledger.ReasonNone {
		return ""
	}
	return fmt.Sprintf(" (%s)", r)
}

// ld from=0 to=1 of=(0,1): the next LD on its way, certified by these replicas of its source, as a replica of the destination
// checks it.
func (s *traced) ld(a *golden.Args) {
	from, to := uint16(a.Int("from")), uint16(a.Int("to"))
	queue := s.w.queues[from][to]
	if len(queue) == 0 {
		a.Fatalf("nothing is on its way")
	}
	out, ok, err := s.w.states[from].Outgoing(to, queue[0].Number)
	a.Check(err)
	if !ok {
		a.Fatalf("LD %d is not in the outbox", queue[0].Number)
	}
	h, _, err := s.w.states[from].Header(out.Height)
	a.Check(err)
	l := NewLD(out, h, certifyLD(s.n, &h, from, a.Ints("of")...))
	s.p.Line("LD %d of shard %d: header of height %d, VOTEs of %v, leaf %d of %d under the outbox root",
		l.Delivery.Number, from, l.Header.Height, l.Certificate.Signers.Members(), l.Index, l.Count)
	if err := l.Verify(ideal, s.n, nil); err != nil {
		s.p.Line("refused: %v", err)
		return
	}
	s.p.Line("verified")
}

// part t: the record that each shard has of a transaction.
func (s *traced) part(a *golden.Args) {
	tx := s.txs[a.Word()]
	for i := range uint16(shards) {
		p := s.w.part(i, tx)
		if p.Known == nil {
			continue
		}
		var known []string
		for _, k := range p.Known {
			v := "not known"
			if k.Verdict != 0 {
				v = k.Verdict.String() + because(k.Reason)
			}
			known = append(known, fmt.Sprintf("shard %d %s", k.Shard, v))
		}
		s.p.Line("shard %d: %s, open %v; %s", i, p.Stage, p.Open, strings.Join(known, ", "))
	}
}

// value: the value in each shard, with every guarantee of the world checked.
func (s *traced) value(a *golden.Args) {
	for i := range uint16(shards) {
		x := s.w.audit(i)
		s.p.Line("shard %d: %d unspent, %d in escrow, %d burned, %d gained, %d ceded", i, x.Unspent, x.Escrow, x.Burned, x.Gained, x.Ceded)
	}
	if !s.w.byzantine {
		a.Check(s.w.check())
	}
}

// crash 1 keep=0: a shard's ledger loses its newest blocks but for so many, and executes them again.
func (s *traced) crash(a *golden.Args) {
	i := uint16(a.Number())
	before := s.w.states[i]
	headers := []ledger.Header{}
	for h := range before.Height() {
		x, _, err := before.Header(h + 1)
		a.Check(err)
		headers = append(headers, x)
	}
	s.w.stores[i] = s.w.stores[i].Crash(a.IntOr("keep", 0))
	s.w.states[i] = s.w.open(i)
	s.p.Line("shard %d was at height %d, its store is at height %d", i, before.Height(), s.w.states[i].Height())
	for _, in := range s.w.log[i][s.w.states[i].Height():] {
		b, err := s.w.states[i].Execute(in)
		a.Check(err)
		s.p.Line("executes block %d again, with the same header: %v", in.Height, b.Header == headers[in.Height-1])
	}
}

// tamper from=0 to=2 applied=1: a block of the destination with the next delivery changed by its source: it says that it has
// applied more deliveries than there are.
func (s *traced) tamper(a *golden.Args) {
	from, to, applied := uint16(a.Int("from")), uint16(a.Int("to")), uint64(a.Int("applied"))
	s.w.byzantine = true
	s.does(a, event{shard: to, extra: []*ledger.Delivery{s.w.tamper(from, to, func(d *ledger.Delivery) { d.Applied = applied })}})
}

// twoUnderOneNumber is evidence against shard 0, for shard 2.
func twoUnderOneNumber(t *testing.T, n *Network) *Evidence {
	t.Helper()
	return Contradict(n, anLD(t, n), certified(t, n, func(d *ledger.Delivery) { d.Entries = nil }))
}
