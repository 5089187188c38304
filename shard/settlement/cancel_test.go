package settlement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
)

// aCL returns a CL of a shard for a transaction, signed by some of its replicas.
func aCL(n *Network, source uint16, tx *ledger.Tx, who ...int) *CL {
	d := cancel.DigestOf(tx.Encode())
	tally := protocols.NewTally(d)
	for _, i := range who {
		tally.Add(protocols.Index(i), replica(source, i).Sign(cancel.Statement(n.Committee(source), d)))
	}
	return &CL{Source: source, Certificate: tally.Certificate(), Tx: tx, network: n}
}

// TestCancellationInEveryOrder explores all states of every transaction between three shards, with rivals of its inputs,
// block times that pass its expiry, and CLs that are ordered at any time, before and after the transaction, its verdicts
// and the end of its record, and repeatedly. Without -explore.all it explores those with two input shards and one output
// shard.
func TestCancellationInEveryOrder(t *testing.T) {
	total := 0
	for _, m := range allMasks() {
		if permuted([]masks{m}) || m.in&(m.in-1) == 0 {
			continue // with one input shard, no other shard has anything in escrow
		}
		if !*exploreAll && (m.in == 0b111 || m.out&(m.out-1) != 0) {
			continue
		}
		n, err := cancelling(makeScenario(Standard(), "one", twoTimes, true, m)).explore(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	t.Logf("%d states", total)
}

// TestCancellationOfTwoTransactions explores pairs: a CL arises when the other one has taken an input, also by a
// dependent transaction.
func TestCancellationOfTwoTransactions(t *testing.T) {
	limit := 1_000
	if *exploreAll {
		limit = 1 << 30
	}
	for mode, ms := range map[string][]masks{
		"conflict": {{0b110, 0b001}, {0b011, 0b100}},
		"dep":      {{0b011, 0b110}, {0b110, 0b001}},
	} {
		n, err := cancelling(makeScenario(Standard(), mode, twoTimes, mode == "dep", ms...)).explore(limit)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d states", mode, n)
	}
}

// entry is an entry of a batch with a weakened rule.
type weakCL struct {
	*CL
	execute func(d *ledger.BlockState, c *CL) error
}

func (w weakCL) Execute(d *ledger.BlockState) error { return w.execute(d, w.CL) }

// TestWeakenedCancellationIsFound explores weakened rules of cancellation until a guarantee is violated.
func TestWeakenedCancellationIsFound(t *testing.T) {
	two := masks{0b110, 0b001} // inputs in 1 and 2, output in 0
	with := func(execute func(d *ledger.BlockState, c *CL) error) *scenario {
		sc := cancelling(makeScenario(Standard(), "one", twoTimes, true, two))
		sc.cancel = func(c *CL) ledger.Notice { return weakCL{c, execute} }
		return sc
	}
	signing := func(mode string, rivals bool, signs func(w *world, s uint16, tx *ledger.Tx) bool, ms ...masks) *scenario {
		sc := makeScenario(Standard(), mode, twoTimes, rivals, ms...)
		sc.start.signs = signs
		return cancelling(sc)
	}
	// refusal is the refusal of the executed state, independent of the transaction's record.
	refusal := func(w *world, s uint16, tx *ledger.Tx) ledger.Reason {
		if !tx.Shards(home).Inputs.Has(s) {
			return ledger.ReasonNone
		}
		x, err := w.states[s].Inspect(tx, w.time[s])
		if err != nil {
			t.Fatal(err)
		}
		if x.Refusal == nil {
			return ledger.ReasonNone
		}
		return x.Refusal.Reason
	}
	for name, sc := range map[string]*scenario{
		"a CL is a verdict": with(func(d *ledger.BlockState, c *CL) error {
			r, err := d.Records.Get(c.Tx.ID())
			if err != nil || r == nil || r.Part.Of(c.Source).Verdict != 0 {
				return err
			}
			d.Records.SetVerdict(r, c.Source, ledger.VerdictRejected, ledger.ReasonConsumed)
			return resolve(d, r)
		}),
		"a CL opens a record": with(func(d *ledger.BlockState, c *CL) error {
			r, err := d.Records.Get(c.Tx.ID())
			if err != nil || r != nil {
				return err
			}
			if past, err := d.Records.Closed(c.Tx.ID()); past != nil || err != nil {
				return err
			}
			d.Records.Open(c.Tx)
			return nil
		}),
		"a CL rolls back twice": with(func(d *ledger.BlockState, c *CL) error {
			r, err := d.Records.Get(c.Tx.ID())
			if err != nil || r == nil || r.Part.Stage == ledger.StagePending || r.Part.Of(c.Source).Verdict != 0 {
				return err
			}
			return d.CancelEscrow(r, c.Source)
		}),
		"CL_M for an unknown input": signing("dep", false, func(w *world, s uint16, tx *ledger.Tx) bool {
			return refusal(w, s, tx) == ledger.ReasonUnknownInput
		}, masks{0b001, 0b010}, masks{0b110, 0b001}),
		"CL_M for a transaction with a record": signing("one", true, func(w *world, s uint16, tx *ledger.Tx) bool {
			return refusal(w, s, tx) == ledger.ReasonConsumed // by this transaction itself, too
		}, two),
		"CL_M after the expiry": signing("one", true, func(w *world, s uint16, tx *ledger.Tx) bool {
			return refusal(w, s, tx) == ledger.ReasonExpired
		}, two),
	} {
		t.Run(name, func(t *testing.T) {
			n, err := sc.explore(20_000)
			if err == nil {
				t.Fatalf("no violation found in %d states", n)
			}
			t.Logf("%d states: %v", n, err)
		})
	}
}

// TestNeverSpendable lists the states of an input, and whether a replica signs a CL_M for a transaction that spends it.
func TestNeverSpendable(t *testing.T) {
	two := masks{0b110, 0b001}
	tx := transfer(two, txExpiry, coin(0))
	rival := transfer(masks{0b010, 0b010}, txExpiry, coin(0))
	unknown := transfer(two, txExpiry, func(s uint16) (ledger.Outpoint, uint64) {
		if s == 1 {
			return ledger.Outpoint{Tx: ledger.TxID(digest.Of("nothing"))}, coinValue
		}
		return coin(1)(s)
	})
	wrong := transfer(two, txExpiry, func(s uint16) (ledger.Outpoint, uint64) {
		o, v := coin(2)(s)
		return o, v + 5
	})
	w := newWorld(Standard(), 4)
	signs := func(s uint16, tx *ledger.Tx) bool { return neverSpendable(&w, s, tx) }
	if signs(1, tx) || signs(2, tx) || signs(0, tx) || signs(1, rival) {
		t.Error("it signs for a transaction whose inputs are good, or in a shard without inputs, or for one inside the shard")
	}
	if signs(1, unknown) {
		t.Error("it signs for an unknown input")
	}
	if !signs(1, wrong) || !signs(2, wrong) {
		t.Error("it does not sign for an output with another amount than declared")
	}
	w.must(t, event{shard: 1, txs: []*ledger.Tx{rival}})
	if !signs(1, tx) || signs(2, tx) {
		t.Error("it does not sign for an input that another transaction consumed, or signs in the other shard")
	}
	other := newWorld(Standard(), 4)
	other.watch(tx)
	other.must(t, event{shard: 1, txs: []*ledger.Tx{tx}})
	if neverSpendable(&other, 1, tx) {
		t.Error("it signs for a transaction that is in escrow here: its inputs are consumed by itself")
	}
	late := w.fork(1)
	late.must(t, event{shard: 1, timeMS: txExpiry + 1})
	if neverSpendable(&late, 1, tx) {
		t.Error("it signs for an expired transaction")
	}
	w.watch(tx)
	w.must(t, event{shard: 2, txs: []*ledger.Tx{tx}})
	w.must(t, event{shard: 1, deliver: []uint16{2}})
	if w.part(1, tx).Stage != ledger.StageRejected || signs(1, tx) {
		t.Error("it signs for a transaction that it has rejected in an LD")
	}
}

// TestCancellationOfAnHonestShard: a CL returns the escrow at once with reason cancelled, once, and the record closes by
// the verdict that follows. The receipt keeps the reason.
func TestCancellationOfAnHonestShard(t *testing.T) {
	sc := makeScenario(Standard(), "one", twoTimes, true, masks{0b110, 0b001})
	w, tx := &sc.start, sc.txs[0]
	w.must(t, event{shard: 1, txs: []*ledger.Tx{sc.rivals[1][0]}})
	w.must(t, event{shard: 2, txs: sc.txs})
	cl := &CL{Source: 1, Tx: tx}
	b := w.must(t, event{shard: 2, notices: []ledger.Notice{cl, cl}})
	if len(b.Receipts) != 1 || b.Receipts[0].Verdict != ledger.VerdictReturned || b.Receipts[0].Reason != ledger.ReasonCancelled {
		t.Fatalf("receipts %+v", b.Receipts)
	}
	if p := w.part(2, tx); p.Stage != ledger.StageReturned || !p.Open || p.Complete() || !p.Of(1).Cancelled() {
		t.Fatalf("shard 2 after the CL: %+v", p)
	}
	if c, err := w.states[2].Channel(1); err != nil || c.Escrow != 0 || c.Waiting != 1 {
		t.Errorf("the channel after the CL: %+v, %v", c, err)
	}
	w.must(t, event{shard: 1, deliver: []uint16{2}})
	b = w.must(t, event{shard: 2, deliver: []uint16{1}, timeMS: txExpiry + 2*minute})
	if p := w.part(2, tx); len(b.Receipts) != 0 || p.Open || p.Of(1).Verdict != ledger.VerdictRejected {
		t.Errorf("shard 2 after the verdict: %+v, receipts %+v", p, b.Receipts)
	}
	b = w.must(t, event{shard: 2, notices: []ledger.Notice{cl}}) // replayed after the record was closed
	if len(b.Receipts) != 0 || w.part(2, tx).Open {
		t.Errorf("a replayed CL changes a closed record: %+v", b)
	}
	if r, ok, err := w.states[2].Receipt(tx.ID()); err != nil || !ok || r.Reason != ledger.ReasonCancelled {
		t.Errorf("receipt %+v, %v", r, err)
	}
	if err := w.check(); err != nil {
		t.Error(err)
	}
}

// TestCancelledAndSpent: a shard that cancelled a transaction and gives SPENT has more than f Byzantine replicas. Its
// channel is frozen by the LD itself.
func TestCancelledAndSpent(t *testing.T) {
	sc := makeScenario(Standard(), "one", twoTimes, false, masks{0b110, 0b001})
	w, tx := &sc.start, sc.txs[0]
	w.byzantine = true
	w.must(t, event{shard: 2, txs: sc.txs})
	w.must(t, event{shard: 2, notices: []ledger.Notice{&CL{Source: 1, Tx: tx}}})
	w.must(t, event{shard: 1, txs: sc.txs}) // it could spend it: the CL was forged
	b := w.must(t, event{shard: 2, deliver: []uint16{1}})
	wantFrozen(t, b, 1, 1, "the shard spends a transaction that it cancelled")
	if p := w.part(2, tx); p.Stage != ledger.StageReturned {
		t.Errorf("%+v", p)
	}
	// A CL of a shard whose verdict is known, and one of a frozen channel, change nothing.
	other := makeScenario(Standard(), "one", twoTimes, false, masks{0b111, 0b001})
	v := &other.start
	v.byzantine = true
	v.must(t, event{shard: 1, txs: other.txs})
	v.must(t, event{shard: 2, deliver: []uint16{1}})
	b = v.must(t, event{shard: 2, notices: []ledger.Notice{&CL{Source: 1, Tx: other.txs[0]}}})
	if p := v.part(2, other.txs[0]); len(b.Receipts) != 0 || p.Stage != ledger.StageEscrow {
		t.Errorf("a CL after SPENT changed the record: %+v", p)
	}
}

// TestSpentAndCancelledIsEvidence: a certified LD with SPENT, and a CL of the same shard on the same transaction, freeze the
// channel of that shard. No other pair is evidence.
func TestSpentAndCancelledIsEvidence(t *testing.T) {
	n := testNetwork(t)
	ld := anLD(t, n) // of shard 0, with SPENT
	tx := ld.Delivery.Entries[0].Tx
	cl := aCL(n, 0, tx, 1, 2)
	e := ContradictCL(n, ld, cl)
	if e == nil || e.Kind() != SpentCancelled {
		t.Fatal("no evidence")
	}
	raw := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindEvidence, Content: e.Encode()})
	p, err := ledger.CheckPayload(n.Kinds(2), ideal, network, raw)
	if err != nil || len(p.Notices) != 1 || !slices.Equal(p.Notices[0].Encode(), e.Encode()) {
		t.Fatalf("%+v, %v", p, err)
	}
	w := newWorld(Standard(), 4)
	w.byzantine = true
	b := w.must(t, event{shard: 2, notices: p.Notices})
	wantFrozen(t, b, 0, ld.Delivery.Number, "f+1 replicas of the shard cancelled")
	rejected := certified(t, n, func(d *ledger.Delivery) {
		d.Entries[0].Verdict, d.Entries[0].Reason = ledger.VerdictRejected, ledger.ReasonConsumed
	})
	for name, x := range map[string]*Evidence{
		"REJECTED":            ContradictCL(n, rejected, cl),
		"of another shard":    ContradictCL(n, ld, aCL(n, 1, tx, 1, 2)),
		"another transaction": ContradictCL(n, ld, aCL(n, 0, transfer(masks{0b011, 0b100}, txExpiry, coin(1)), 1, 2)),
	} {
		if x != nil {
			t.Errorf("%s: evidence", name)
		}
	}
	uncertified := certified(t, n, func(*ledger.Delivery) {})
	uncertified.Certificate.Signatures[0][5]++
	for name, c := range map[string]struct {
		content []byte
		why     string
	}{
		"f signers of the CL": {(&Evidence{LD: ld, CL: aCL(n, 0, tx, 1)}).Encode(), "1 signers"},
		"an LD not certified": {(&Evidence{LD: uncertified, CL: cl}).Encode(), "does not verify"},
		"REJECTED and a CL":   {(&Evidence{LD: rejected, CL: cl}).Encode(), "do not contradict"},
		"a CL in version 1":   {append([]byte{EvidenceVersion}, e.Encode()[1:]...), "version"},
		"an LD in version 2":  {append([]byte{EvidenceVersionCL}, twoUnderOneNumber(t, n).Encode()[1:]...), "version"},
	} {
		raw := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindEvidence, Content: c.content})
		if _, err := ledger.CheckPayload(n.Kinds(2), ideal, network, raw); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.why)
		}
	}
}

func TestCLVerifies(t *testing.T) {
	n := testNetwork(t)
	tx := transfer(masks{0b110, 0b001}, txExpiry, coin(0))
	c := aCL(n, 1, tx, 0, 2)
	raw := ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindCancel, Content: c.Encode()})
	p, err := ledger.CheckPayload(n.Kinds(2), ideal, network, raw)
	if err != nil || len(p.Notices) != 1 || !slices.Equal(p.Notices[0].Encode(), c.Encode()) {
		t.Fatalf("%+v, %v", p, err)
	}
	if !IsCL(c.Encode()) || IsCL(anLD(t, n).Encode()) {
		t.Error("a CL and an LD are not told apart")
	}
	for _, shard := range []uint16{0, 1} { // an output shard, and the source itself
		if _, err := ledger.DecodePayload(n.Kinds(shard), raw); err == nil {
			t.Errorf("an entry of shard %d", shard)
		}
	}
}

// TestAForgedCLIsRefused tries every CL that a party other than f+1 replicas of an input shard can make.
func TestAForgedCLIsRefused(t *testing.T) {
	n := testNetwork(t)
	tx := transfer(masks{0b110, 0b001}, txExpiry, coin(0))
	inside := transfer(masks{0b010, 0b010}, txExpiry, coin(0))
	foreign := ledger.Body{Network: digest.Of("another"), ExpiryMS: 1, Inputs: []ledger.Input{{Key: person(1, 0).Public(), Amount: 1}},
		Outputs: []ledger.Output{{Address: address(2, 0), Amount: 1}}}
	alien, err := foreign.Sign(person(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	of := func(c *CL, change func(c *CL)) *CL {
		change(c)
		return c
	}
	for name, c := range map[string]struct {
		cl  *CL
		why string
	}{
		"no signatures":            {aCL(n, 1, tx), "0 signers"},
		"f signatures":             {aCL(n, 1, tx, 2), "1 signers"},
		"another transaction":      {of(aCL(n, 1, tx, 0, 1), func(c *CL) { c.Tx = resigned(tx) }), "does not verify"},
		"signatures of another":    {of(aCL(n, 2, tx, 0, 1), func(c *CL) { c.Source = 1 }), "does not verify"},
		"a bad signature":          {of(aCL(n, 1, tx, 0, 1), func(c *CL) { c.Certificate.Signatures[1][3]++ }), "does not verify"},
		"a shard that is no input": {aCL(n, 0, tx, 0, 1), "which has inputs in shards [1 2]"},
		"an unknown shard":         {of(aCL(n, 1, tx, 0, 1), func(c *CL) { c.Source = shards }), "the network has 3 shards"},
		"a transaction inside":     {aCL(n, 1, inside, 0, 1), "which has inputs in shards [1]"},
		"of another network":       {aCL(n, 1, alien, 0, 1), "wrong_network"},
		"a VOTE instead of a CL_M": {of(aCL(n, 1, tx, 0, 1), func(c *CL) { c.Certificate = certifyLD(n, &ledger.Header{Height: 1}, 1, 0, 1) }), "does not verify"},
	} {
		if err := c.cl.Check(ideal); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.why)
		}
	}
	twice := aCL(n, 1, tx, 0, 1).Encode()
	const second = 1 + 2 + 2 + 2 + sig.SignatureSize // the index of the second signer
	twice[second], twice[second+1] = 0, 0
	for name, b := range map[string][]byte{
		"a signer twice": twice, "cut short": twice[:len(twice)-1], "too long": make([]byte, MaxCLBytes+1),
		"an LD": anLD(t, n).Encode(), "empty": nil,
	} {
		if _, err := DecodeCL(n, b); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestLongestCLFits(t *testing.T) {
	if ledger.MaxTxBytes > cancel.MaxContent {
		t.Errorf("a transaction has up to %d bytes, a CL_M holds %d", ledger.MaxTxBytes, cancel.MaxContent)
	}
	if MaxCLBytes >= ledger.MaxPayloadBytes {
		t.Error("a CL does not fit into a batch")
	}
}

// TestTheWorkedExampleWithCancellation enumerates every interleaving of the shards' events in the example of the design
// (design §6.10), with the CL of shard 1: it is ordered by shard 2 at any time, once, twice or never, and shard 1 orders
// the transaction at any time or never.
func TestTheWorkedExampleWithCancellation(t *testing.T) {
	sc := cancelling(makeScenario(Standard(), "example", twoTimes, true, masks{0b110, 0b001}))
	tx, rival := sc.txs[0], sc.rivals[1][0]
	start, err := sc.start.step(event{shard: 1, txs: []*ledger.Tx{rival}})
	if err != nil {
		t.Fatal(err)
	}
	if !start.fates[tx.ID()][1].cancelled || start.fates[tx.ID()][2].cancelled {
		t.Fatal("shard 1 cannot cancel, or shard 2 can")
	}
	type run struct {
		ordered1, ordered2 bool
		cls                int
	}
	ends := map[string]int{}
	var walk func(w *world, r run, trace []string)
	walk = func(w *world, r run, trace []string) {
		if err := w.check(); err != nil {
			t.Fatalf("%v after %q", err, trace)
		}
		if w.quiet() {
			ends[exampleEnd(t, w, tx, r.ordered2, trace)]++
		}
		try := func(e event, after run) {
			n := w.fork(e.shard)
			if _, err := n.do(e); err != nil {
				t.Fatalf("%v after %q", err, trace)
			}
			walk(&n, after, append(trace[:len(trace):len(trace)], sc.describe(e)))
		}
		if after := r; !r.ordered1 {
			after.ordered1 = true
			try(event{shard: 1, txs: sc.txs}, after)
		}
		if after := r; !r.ordered2 {
			after.ordered2 = true
			try(event{shard: 2, txs: sc.txs}, after)
		}
		if after := r; r.cls < 2 {
			after.cls++
			try(event{shard: 2, notices: []ledger.Notice{&CL{Source: 1, Tx: tx}}}, after)
		}
		for from := range uint16(shards) {
			for to := range uint16(shards) {
				if len(w.queues[from][to]) > 0 {
					try(event{shard: to, deliver: []uint16{from}}, r)
				}
			}
		}
	}
	walk(&start, run{}, nil)
	if len(ends) != 3 || ends["nobody ordered it"] == 0 || ends["returned by the CL"] == 0 || ends["returned by the verdict"] == 0 {
		t.Errorf("ends %v", ends)
	}
	t.Logf("ends %v", ends)
}

// exampleEnd checks the final state of the example, and returns its kind.
func exampleEnd(t *testing.T, w *world, tx *ledger.Tx, spent bool, trace []string) string {
	t.Helper()
	if _, ok, _ := w.output(0, ledger.Outpoint{Tx: tx.ID()}); ok {
		t.Fatalf("the output of the transaction exists after %q", trace)
	}
	if !spent {
		for s := range uint16(shards) {
			if w.part(s, tx).Known != nil {
				t.Fatalf("shard %d has a record, although no shard spent: after %q", s, trace)
			}
		}
		return "nobody ordered it"
	}
	one, two, zero := w.part(1, tx), w.part(2, tx), w.part(0, tx)
	if two.Stage != ledger.StageReturned || !two.Complete() || one.Stage != ledger.StageRejected || zero.Stage != ledger.StageRejected || zero.Open {
		t.Fatalf("shards 0, 1, 2: %+v, %+v, %+v after %q", zero, one, two, trace)
	}
	in := tx.Inputs[1].Outpoint
	if back, ok, err := w.output(2, ledger.ReturnedOutpoint(tx.ID(), in)); err != nil || !ok || back.Amount != coinValue {
		t.Fatalf("the returned output: %+v, %v, %v after %q", back, ok, err, trace)
	}
	if a := w.audit(2); a.Unspent != uint64(w.each)*coinValue || a.Escrow != 0 {
		t.Fatalf("audit of shard 2: %+v after %q", a, trace)
	}
	r, ok, err := w.states[2].Receipt(tx.ID())
	if err != nil || !ok || r.Verdict != ledger.VerdictReturned {
		t.Fatalf("receipt of shard 2: %+v, %v", r, err)
	}
	if r.Reason == ledger.ReasonCancelled {
		return "returned by the CL"
	}
	if r.Reason == ledger.ReasonConsumed {
		return "returned by the verdict"
	}
	return fmt.Sprint("returned with ", r.Reason)
}

func FuzzDecodeCL(f *testing.F) {
	n := testNetwork(f)
	tx := transfer(masks{0b110, 0b001}, txExpiry, coin(0))
	f.Add(aCL(n, 1, tx, 0, 2).Encode())
	f.Add(aCL(n, 1, tx).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCL(n, b)
		if err == nil && !slices.Equal(c.Encode(), b) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", b)
		}
	})
}
