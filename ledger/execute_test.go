package ledger

import (
	"context"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

func TestATransferSettles(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(2, 2, 100))
	tx := pay(t, 0, 100, []Outpoint{genesisOut(0, 0), genesisOut(0, 1)}, 7, Output{addressOf(1), 150}, Output{addressOf(0), 43})
	b := run(t, s, genesisTime+5, tx)
	if len(b.Receipts) != 1 || b.Receipts[0].Verdict != VerdictSettled || b.Header.Txs != 1 || b.Header.Height != 1 {
		t.Fatalf("block %+v", b)
	}
	if got := mustReceipt(t, s, tx.ID()); got != b.Receipts[0] {
		t.Errorf("stored receipt %+v, returned receipt %+v", got, b.Receipts[0])
	}
	h, ok, err := s.Header(1)
	if err != nil || !ok || h != b.Header || h.Digest() != b.HeaderDigest {
		t.Errorf("stored header %+v, %v", h, err)
	}
	genesis, _, _ := s.Header(0)
	if h.Parent != genesis.Digest() || !h.Outbox.IsZero() {
		t.Errorf("header %+v", h)
	}
	if ids, ok, err := s.BlockTxs(1); err != nil || !ok || len(ids) != 1 || ids[0] != tx.ID() {
		t.Errorf("ids %v, %v", ids, err)
	}
	if _, ok, err := s.BlockTxs(2); ok || err != nil {
		t.Errorf("a block that was not executed: %v %v", ok, err)
	}
	acc, err := s.Account(addressOf(0), Page{Limit: 9, HistoryLimit: 9})
	if err != nil || acc.Height != 1 || acc.Balance != 43 || acc.Count != 1 || len(acc.Outputs) != 1 || acc.Outputs[0] != (Unspent{Outpoint{tx.ID(), 1}, 43}) {
		t.Errorf("payer %+v, %v", acc, err)
	}
	if h := acc.History; len(h) != 2 || h[0] != (HistoryEntry{tx.ID(), 1, genesisTime + 5, 43, 200}) {
		t.Errorf("payer's history %+v", h)
	}
	acc, err = s.Account(addressOf(1), Page{HistoryLimit: 1})
	if err != nil || acc.Balance != 350 || acc.Count != 3 || acc.History[0] != (HistoryEntry{tx.ID(), 1, genesisTime + 5, 150, 0}) {
		t.Errorf("payee %+v, %v", acc, err)
	}
	a, err := s.Audit(context.Background())
	if err != nil || !a.Conserved() || a.Burned != 7 || a.Unspent != 393 || a.Outputs != 4 {
		t.Errorf("audit %+v, %v", a, err)
	}
}

// TestRefusalsByState tries every refusal that depends on the state. Precheck and the execution of a block must give
// the same one.
func TestRefusalsByState(t *testing.T) {
	halves := func(a Address) uint16 {
		if a == addressOf(3) {
			return 1
		}
		return 0
	}
	const now = genesisTime + 1000
	gone := Outpoint{TxID(digest.Of("unknown transaction")), 0}
	first := pay(t, 0, 100, []Outpoint{genesisOut(0, 1)}, 0, Output{addressOf(0), 100})
	recent := Outpoint{first.ID(), 0}
	for _, c := range []struct {
		name string
		make func(b *Body)
		want Reason
	}{
		{"good", func(*Body) {}, ReasonNone},
		{"consumed", func(b *Body) { b.Inputs[0].Outpoint = genesisOut(0, 1) }, ReasonConsumed},
		{"unknown", func(b *Body) { b.Inputs[0].Outpoint = gone }, ReasonUnknownInput},
		{"unknown index of a known id", func(b *Body) { b.Inputs[0].Outpoint.Index = 99 }, ReasonConsumed},
		{"unknown index", func(b *Body) { b.Inputs[0].Outpoint = Outpoint{genesisOut(1, 0).Tx, 99} }, ReasonUnknownInput},
		{"old output of another owner", func(b *Body) { b.Inputs[0].Outpoint = genesisOut(1, 0) }, ReasonUnknownInput},
		{"consumed output, another owner claimed", func(b *Body) { b.Inputs[0] = Input{genesisOut(0, 1), signer(1).Public(), 100} }, ReasonConsumed},
		{"recent output of another owner", func(b *Body) { b.Inputs[0] = Input{recent, signer(1).Public(), 100} }, ReasonConsumed},
		{"another amount", func(b *Body) { b.Inputs[0].Amount++; b.Fee++ }, ReasonWrongAmount},
		{"expired", func(b *Body) { b.ExpiryMS = now - 1 }, ReasonExpired},
		{"at its expiry", func(b *Body) { b.ExpiryMS = now }, ReasonNone},
		{"at the horizon", func(b *Body) { b.ExpiryMS = now + horizon }, ReasonNone},
		{"beyond the horizon", func(b *Body) { b.ExpiryMS = now + horizon + 1 }, ReasonExpiryTooFar},
		{"never expiring", func(b *Body) { b.ExpiryMS = ^uint64(0) }, ReasonExpiryTooFar},
		{"output in another shard", func(b *Body) { b.Outputs[0].Address = addressOf(3) }, ReasonWrongShard},
		{"input in another shard", func(b *Body) { b.Inputs[0].Key = signer(3).Public() }, ReasonWrongShard},
		{"unknown, then consumed", func(b *Body) {
			b.Inputs = append([]Input{{gone, signer(0).Public(), 5}}, b.Inputs...)
			b.Inputs[1].Outpoint = genesisOut(0, 1)
			b.Fee += 5
		}, ReasonConsumed},
		{"unknown and beyond the horizon", func(b *Body) { b.Inputs[0].Outpoint, b.ExpiryMS = gone, ^uint64(0) }, ReasonUnknownInput},
		{"consumed and expired", func(b *Body) { b.Inputs[0].Outpoint, b.ExpiryMS = genesisOut(0, 1), now-1 }, ReasonExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := testConfig(2, 3, 100)
			config.Home = halves
			s := open(t, kv.NewMem(), config)
			run(t, s, genesisTime, first)
			b := Body{Network: testNet, ExpiryMS: now + 10, Fee: 40,
				Inputs:  []Input{{genesisOut(0, 0), signer(0).Public(), 100}},
				Outputs: []Output{{addressOf(1), 60}}}
			c.make(&b)
			tx := signed(t, b, 0, 1, 3)
			r, err := s.Precheck(tx, now)
			if err != nil || (r == nil) != (c.want == ReasonNone) || r != nil && r.Reason != c.want {
				t.Errorf("Precheck: %v, %v; want %q", r, err, c.want)
			}
			before, _, _ := s.Tip()
			audit, _ := s.Audit(context.Background())
			block := run(t, s, now, tx)
			_, has, _ := s.Receipt(tx.ID())
			switch {
			case c.want == ReasonNone:
				if len(block.Receipts) != 1 || block.Receipts[0].Verdict != VerdictSettled || !has {
					t.Fatalf("not settled: %+v", block)
				}
				return
			case c.want.Final():
				if len(block.Receipts) != 1 || block.Receipts[0].Verdict != VerdictRejected || block.Receipts[0].Reason != c.want || !has {
					t.Errorf("not rejected with reason %q: %+v", c.want, block)
				}
			default:
				if len(block.Receipts) != 0 || has || len(block.LeftOut) != 1 || block.LeftOut[0].Refusal.Reason != c.want || block.LeftOut[0].ID != tx.ID() {
					t.Errorf("not left out with reason %q: %+v", c.want, block)
				}
				if !block.Header.TxRoot.IsZero() || block.Header.Txs != before.Txs {
					t.Errorf("the header counts a transaction that was left out: %+v", block.Header)
				}
			}
			if c.want == ReasonUnknownInput && block.LeftOut[0].Missing != b.Inputs[0].Outpoint {
				t.Errorf("missing %v", block.LeftOut[0].Missing)
			}
			after, _ := s.Audit(context.Background())
			if after.Unspent != audit.Unspent || after.Outputs != audit.Outputs || after.Burned != audit.Burned {
				t.Errorf("a refused transaction changed the ledger: %+v before, %+v after", audit, after)
			}
			again := run(t, s, now, tx)
			if c.want.Final() != (len(again.Duplicates) == 1) {
				t.Errorf("ordered again in the next block: %+v", again)
			}
		})
	}
}

func TestEntriesAreAppliedInOrder(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 100))
	first := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 1, Output{addressOf(1), 99})
	second := pay(t, 1, 99, []Outpoint{{first.ID(), 0}}, 1, Output{addressOf(2), 98})
	rival := pay(t, 1, 99, []Outpoint{{first.ID(), 0}}, 2, Output{addressOf(1), 97})
	early := pay(t, 2, 98, []Outpoint{{second.ID(), 0}}, 0, Output{addressOf(0), 98})
	b := run(t, s, genesisTime, early, first, first, second, rival, first)
	if len(b.LeftOut) != 1 || b.LeftOut[0].ID != early.ID() || b.LeftOut[0].Missing.Tx != second.ID() {
		t.Errorf("left out %+v", b.LeftOut)
	}
	if len(b.Duplicates) != 2 || b.Duplicates[0] != first.ID() {
		t.Errorf("duplicates %v", b.Duplicates)
	}
	var got []string
	for i, r := range b.Receipts {
		got = append(got, r.Verdict.String()+r.Reason.String())
		if r.Position != uint32(i) {
			t.Errorf("receipt %d has position %d", i, r.Position)
		}
	}
	if strings.Join(got, " ") != "settled settled rejectedconsumed" {
		t.Errorf("receipts %v", got)
	}
	acc, err := s.Account(addressOf(1), Page{Limit: 5, HistoryLimit: 5})
	if err != nil || acc.Balance != 0 || acc.Count != 0 || len(acc.Outputs) != 0 || len(acc.History) != 2 {
		t.Errorf("account that received and spent in one block: %+v, %v", acc, err)
	}
	if b = run(t, s, genesisTime, early); len(b.Receipts) != 1 || b.Receipts[0].Verdict != VerdictSettled {
		t.Errorf("the transaction that was ordered before its input existed, ordered again: %+v", b)
	}
}

func TestEmptyBlock(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 1))
	b := run(t, s, genesisTime)
	if b.Header.Height != 1 || !b.Header.TxRoot.IsZero() || !b.Header.Receipts.IsZero() || b.Header.Parent.IsZero() {
		t.Errorf("header %+v", b.Header)
	}
}

func TestBlockMustFollowTheLast(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 1))
	run(t, s, genesisTime+10)
	for _, in := range []CommittedBlock{{Height: 1, TimeMS: genesisTime + 10}, {Height: 3, TimeMS: genesisTime + 10}, {Height: 2, TimeMS: genesisTime + 9}} {
		if _, err := s.Execute(in); err == nil {
			t.Errorf("block %d of time %d was executed", in.Height, in.TimeMS)
		}
	}
	if s.Height() != 1 {
		t.Errorf("height %d", s.Height())
	}
}

func TestHeaderCoversAllOfTheBlock(t *testing.T) {
	base := func() (*State, CommittedBlock) {
		s := open(t, kv.NewMem(), testConfig(1, 2, 100))
		return s, CommittedBlock{Height: 1, Epoch: 1, Slot: 1, Digest: digest.Of("b"), TimeMS: genesisTime, Cut: []byte("cut")}
	}
	one := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 1, Output{addressOf(1), 99})
	two := pay(t, 0, 100, []Outpoint{genesisOut(0, 1)}, 1, Output{addressOf(1), 99})
	seen := make(map[digest.Digest]string)
	for name, change := range map[string]func(in *CommittedBlock){
		"nothing":         func(*CommittedBlock) {},
		"epoch":           func(in *CommittedBlock) { in.Epoch++ },
		"slot":            func(in *CommittedBlock) { in.Slot++ },
		"last":            func(in *CommittedBlock) { in.Last = true },
		"consensus block": func(in *CommittedBlock) { in.Digest = digest.Of("c") },
		"time":            func(in *CommittedBlock) { in.TimeMS++ },
		"cut":             func(in *CommittedBlock) { in.Cut = []byte("cup") },
		"one":             func(in *CommittedBlock) { in.Payloads = []*Payload{{Txs: []*Tx{one}}} },
		"two":             func(in *CommittedBlock) { in.Payloads = []*Payload{{Txs: []*Tx{two}}} },
		"one, two":        func(in *CommittedBlock) { in.Payloads = []*Payload{{Txs: []*Tx{one}}, {Txs: []*Tx{two}}} },
		"two, one":        func(in *CommittedBlock) { in.Payloads = []*Payload{{Txs: []*Tx{two, one}}} },
	} {
		s, in := base()
		change(&in)
		b, err := s.Execute(in)
		if err != nil {
			t.Fatal(err)
		}
		if other, dup := seen[b.HeaderDigest]; dup {
			t.Errorf("blocks %q and %q have the same header", name, other)
		}
		seen[b.HeaderDigest] = name
		if _, _, cut := s.Tip(); string(cut) != string(in.Cut) {
			t.Errorf("the cut came back as %q", cut)
		}
	}
}

// TestExecuteThatCreatesValuePanics executes a transaction that CheckPayload would refuse: its outputs exceed its
// inputs.
func TestExecuteThatCreatesValuePanics(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 100))
	tx := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(0), 101})
	defer func() {
		if recover() == nil {
			t.Error("a transaction whose outputs exceed its inputs was executed")
		}
	}()
	_, _ = s.Execute(CommittedBlock{Height: 1, TimeMS: genesisTime, Payloads: []*Payload{{Txs: []*Tx{tx}}}})
}

// TestLeastFee: a transaction that pays less than the least fee for its bytes is left out with a final refusal and
// gets no receipt. Precheck and execution use the same limit.
func TestLeastFee(t *testing.T) {
	config := testConfig(1, 2, 100_000)
	config.LeastFee = 7
	s := open(t, kv.NewMem(), config)
	made := func(k int, fee uint64) *Tx {
		return pay(t, 0, 100_000, []Outpoint{genesisOut(0, k)}, fee, Output{addressOf(0), 100_000 - fee})
	}
	size := uint64(len(made(0, 0).Encode()))
	low, right := made(0, 7*size-1), made(1, 7*size)
	for _, c := range []struct {
		tx  *Tx
		low bool
	}{{low, true}, {right, false}} {
		r, err := s.Precheck(c.tx, genesisTime)
		if err != nil || (r != nil) != c.low || c.low && (r.Reason != ReasonFeeTooLow || !r.Final()) {
			t.Errorf("fee %d for %d bytes: %v, %v", c.tx.Fee, size, r, err)
		}
	}
	b := run(t, s, genesisTime, low, right)
	if len(b.Receipts) != 1 || b.Receipts[0].Tx != right.ID() || b.Receipts[0].Verdict != VerdictSettled {
		t.Errorf("receipts %+v, want that of the transaction that pays enough", b.Receipts)
	}
	if len(b.LeftOut) != 1 || b.LeftOut[0].ID != low.ID() || b.LeftOut[0].Refusal.Reason != ReasonFeeTooLow || !b.LeftOut[0].Refusal.Final() {
		t.Errorf("left out %+v, want the transaction that pays too little, with a final refusal", b.LeftOut)
	}
	if _, ok, err := s.Receipt(low.ID()); ok || err != nil {
		t.Errorf("a transaction that pays too little has a receipt: %v", err)
	}
}
