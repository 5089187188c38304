package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

func TestGenesisSurvivesCrashes(t *testing.T) {
	c := Config{Network: testNet, Home: oneShard, GenesisTimeMS: genesisTime, HorizonMS: horizon}
	c.Allocations = []Allocation{{addressOf(0), 3, 70_000}, {addressOf(1), 5, 2}, {addressOf(0), 7, 1}}
	const supply = 3*70_000 + 10 + 7
	store := kv.NewMem()
	s := open(t, store, c)
	if store.Unsynced() != 0 {
		t.Error("the genesis is not flushed")
	}
	want, _, _ := s.Tip()
	a, err := s.Audit(context.Background())
	if err != nil || !a.Conserved() || a.Genesis != supply || a.Unspent != supply || a.Outputs != 70_003 || a.HeaderDigest != want.Digest() {
		t.Fatalf("audit %+v, %v", a, err)
	}
	acc, err := s.Account(addressOf(0), Page{HistoryLimit: 10})
	if err != nil || acc.Balance != 3*70_000+7 || acc.Count != 70_001 || len(acc.History) != 3 || acc.History[1].Received != 3*(70_000-65_536) {
		t.Fatalf("account %+v, %v", acc, err)
	}
	for _, o := range []Outpoint{
		{genesisID(testNet, 0, addressOf(0), 0), 65_535},
		{genesisID(testNet, 0, addressOf(0), 1), 70_000 - 65_536 - 1},
		{genesisID(testNet, 2, addressOf(0), 0), 0},
	} {
		if _, ok, err := s.Output(o); !ok || err != nil {
			t.Errorf("output %v is missing: %v", o, err)
		}
	}
	// After a crash at any point of writing the genesis, Open writes the same genesis.
	for keep := 0; ; keep += 3 {
		half := kv.NewMem()
		stop := &applyLimit{Mem: half, left: keep}
		if _, err := Open(stop, c); err == nil {
			break
		}
		again := open(t, half.Crash(keep), c)
		if got, _, _ := again.Tip(); got != want {
			t.Fatalf("genesis after a crash at batch %d: %+v", keep, got)
		}
		a2, err := again.Audit(context.Background())
		if err != nil || a2 != a {
			t.Fatalf("after a crash at batch %d: %+v, %v", keep, a2, err)
		}
	}
	if again := open(t, store, c); again.Height() != 0 {
		t.Error("opened again at another height")
	}
}

// applyLimit is a store that fails after a number of batches.
type applyLimit struct {
	*kv.Mem
	left int
}

func (l *applyLimit) Apply(b *kv.Batch, sync bool) error {
	if l.left--; l.left < 0 {
		return errors.New("no space left on device")
	}
	return l.Mem.Apply(b, sync)
}

func TestOpenRefusesStateOfAnotherLedger(t *testing.T) {
	store := kv.NewMem()
	c := testConfig(1, 1, 1)
	open(t, store, c)
	other := c
	other.Network = digest.Of("another")
	if _, err := Open(store, other); err == nil || !strings.Contains(err.Error(), "check its home and genesis") {
		t.Errorf("another network: %v", err)
	}
	other = c
	other.Shard = 1
	if _, err := Open(store, other); err == nil || !strings.Contains(err.Error(), "this replica is in shard 1") {
		t.Errorf("another shard: %v", err)
	}
	var b kv.Batch
	b.Set([]byte{keyIdentity}, append([]byte{0, 0, 0, 9}, make([]byte, 34)...))
	if err := store.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(store, c); err == nil || !strings.Contains(err.Error(), "has version 9, this program reads version 5") {
		t.Errorf("another version: %v", err)
	}
}

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
	for _, c := range []struct {
		name string
		make func(b *Body)
		want Reason
	}{
		{"good", func(*Body) {}, ReasonNone},
		{"consumed", func(b *Body) { b.Inputs[0].Outpoint = genesisOut(0, 1) }, ReasonConsumed},
		{"unknown", func(b *Body) { b.Inputs[0].Outpoint = gone }, ReasonUnknownInput},
		{"unknown index", func(b *Body) { b.Inputs[0].Outpoint.Index = 99 }, ReasonUnknownInput},
		{"output of another owner", func(b *Body) { b.Inputs[0].Outpoint = genesisOut(1, 0) }, ReasonWrongOwner},
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
		{"consumed and expired", func(b *Body) { b.Inputs[0].Outpoint, b.ExpiryMS = genesisOut(0, 1), 1 }, ReasonExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := testConfig(2, 3, 100)
			config.Home = halves
			s := open(t, kv.NewMem(), config)
			run(t, s, genesisTime, pay(t, 0, 100, []Outpoint{genesisOut(0, 1)}, 0, Output{addressOf(0), 100}))
			b := Body{Network: testNet, ExpiryMS: now + 10, Fee: 40,
				Inputs:  []Input{{genesisOut(0, 0), signer(0).Public(), 100}},
				Outputs: []Output{{addressOf(1), 60}}}
			c.make(&b)
			tx := signed(t, b, 0, 3)
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

func TestConsumerIsKnownUntilItsExpiry(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 100))
	tx := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 0, Output{addressOf(1), 100})
	run(t, s, genesisTime, tx)
	rival := func(fee uint64) *Tx {
		b := Body{Network: testNet, ExpiryMS: genesisTime + 9*60_000, Fee: fee, Outputs: []Output{{addressOf(0), 100 - fee}},
			Inputs: []Input{{genesisOut(0, 0), signer(0).Public(), 100}}}
		return signed(t, b, 0)
	}
	if b := run(t, s, tx.ExpiryMS, rival(1)); len(b.Receipts) != 1 || b.Receipts[0].Reason != ReasonConsumed {
		t.Errorf("at the expiry of the consuming transaction: %+v", b)
	}
	late := tx.ExpiryMS + 2*60_000
	run(t, s, late)
	if b := run(t, s, late, rival(2)); len(b.LeftOut) != 1 || b.LeftOut[0].Refusal.Reason != ReasonUnknownInput {
		t.Errorf("after the expiry of the consuming transaction: %+v", b)
	}
	if b := run(t, s, late, tx, rival(1)); len(b.Duplicates) != 2 {
		t.Errorf("a transaction with a receipt is not a duplicate: %+v", b)
	}
	left := 0
	if err := s.store.Scan([]byte{keySpent}, []byte{keySpentDue + 1}, false, func(_, _ []byte) bool { left++; return true }); err != nil || left != 0 {
		t.Errorf("%d records left, %v", left, err)
	}
}

func TestRestartKeepsDueLists(t *testing.T) {
	config := testConfig(1, 3, 100)
	stayed := open(t, kv.NewMem(), config)
	store := kv.NewMem()
	restarted := open(t, store, config)
	spend := func(k int, minutes uint64) *Tx {
		b := Body{Network: testNet, ExpiryMS: genesisTime + minutes*60_000, Outputs: []Output{{addressOf(0), 100}},
			Inputs: []Input{{genesisOut(0, k), signer(0).Public(), 100}}}
		return signed(t, b, 0)
	}
	both := func(timeMS uint64, txs ...*Tx) {
		t.Helper()
		if a, b := run(t, stayed, timeMS, txs...), run(t, restarted, timeMS, txs...); a.Header != b.Header {
			t.Fatalf("headers of height %d differ after a restart", a.Header.Height)
		}
	}
	both(genesisTime, spend(0, 6)) // after the restart, the earliest due list in the store is this one
	restarted = open(t, store, config)
	both(genesisTime, spend(1, 1)) // this block adds an earlier due list
	both(genesisTime+3*60_000, spend(2, 4))
	both(genesisTime + 9*60_000)
}

func TestDueListsPerBlockAreBounded(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 40, 100))
	for k := range 40 { // one due list per block
		run(t, s, genesisTime, pay(t, 0, 100, []Outpoint{genesisOut(0, k)}, 0, Output{addressOf(0), 100}))
	}
	lists := func() (n int) {
		if err := s.store.Scan([]byte{keySpentDue}, []byte{keySpentDue + 1}, false, func(_, _ []byte) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for left := 40; left > 0; left -= duePerBlock {
		if n := lists(); n != left {
			t.Fatalf("%d lists, want %d", n, left)
		}
		run(t, s, genesisTime+10*60_000)
	}
	if n := lists(); n != 0 {
		t.Errorf("%d lists left", n)
	}
}

func TestPagesHaveEachEntryOnce(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 25, 10))
	for k := range 6 {
		run(t, s, genesisTime+uint64(k), pay(t, 0, 10, []Outpoint{genesisOut(0, k)}, 1, Output{addressOf(0), 4}, Output{addressOf(0), 5}))
	}
	for _, limit := range []int{1, 3, 31, 32, MaxPage + 5} {
		seen := make(map[Outpoint]bool)
		var heights []uint64
		page := Page{Limit: limit, HistoryLimit: limit}
		for {
			acc, err := s.Account(addressOf(0), page)
			if err != nil || len(acc.Outputs) > limit || len(acc.History) > limit || acc.Count != 31 {
				t.Fatalf("%+v, %v", acc, err)
			}
			for _, u := range acc.Outputs {
				if seen[u.Outpoint] {
					t.Fatalf("%v twice", u.Outpoint)
				}
				seen[u.Outpoint] = true
			}
			for _, h := range acc.History {
				heights = append(heights, h.Height)
			}
			page.Cursor, page.Older = acc.Next, acc.Older
			if acc.Next == "" {
				page.Limit = 0
			}
			if acc.Older == "" {
				page.HistoryLimit = 0
			}
			if acc.Next == "" && acc.Older == "" {
				break
			}
		}
		if len(seen) != 31 || len(heights) != 7 {
			t.Fatalf("limit %d: %d outputs, %d entries", limit, len(seen), len(heights))
		}
		for i := range heights {
			if heights[i] != uint64(6-i) {
				t.Fatalf("history in the order %v", heights)
			}
		}
	}
	for _, bad := range []Page{{Cursor: "zz"}, {Cursor: "00"}, {Older: "x"}, {Older: "0"}, {Older: "-1"}} {
		if _, err := s.Account(addressOf(0), bad); !errors.Is(err, ErrBadCursor) {
			t.Errorf("page %+v: %v", bad, err)
		}
	}
	if acc, err := s.Account(addressOf(77), Page{Limit: 5, HistoryLimit: 5}); err != nil || acc.Balance != 0 || len(acc.Outputs) != 0 {
		t.Errorf("an unknown address: %+v, %v", acc, err)
	}
}

func TestAFailedStoreStopsExecution(t *testing.T) {
	mem := kv.NewMem()
	s := open(t, mem, testConfig(1, 1, 1))
	broken := errors.New("input/output error")
	mem.Fail(broken)
	if _, err := s.Execute(CommittedBlock{Height: 1, TimeMS: genesisTime}); !errors.Is(err, broken) {
		t.Errorf("Execute returned %v", err)
	}
	if s.Height() != 0 {
		t.Error("the height changed")
	}
	if _, err := s.Audit(context.Background()); !errors.Is(err, broken) {
		t.Errorf("Audit returned %v", err)
	}
}

func TestAuditFindsAMissingOutput(t *testing.T) {
	store := kv.NewMem()
	s := open(t, store, testConfig(1, 9000, 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Audit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled audit: %v", err)
	}
	var b kv.Batch
	b.Delete(new(arena).outpointKey(keyOutput, genesisOut(0, 5)))
	if err := store.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if a, err := s.Audit(context.Background()); err != nil || a.Conserved() {
		t.Errorf("an output is missing, but the audit returned %+v, %v", a, err)
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

func TestReceiptProofs(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 9, 100))
	var txs []*Tx
	for k := range 9 {
		txs = append(txs, pay(t, 0, 100, []Outpoint{genesisOut(0, k)}, 0, Output{addressOf(1), 100}))
	}
	b := run(t, s, genesisTime, txs...)
	leaves := make([]digest.Digest, len(b.Receipts))
	for i := range b.Receipts {
		leaves[i] = b.Receipts[i].Leaf()
	}
	for i, r := range b.Receipts {
		proof := merkle.Prove(leaves, i)
		if !r.Prove(&b.Header, proof, 9) {
			t.Errorf("receipt %d does not verify", i)
		}
		r.TimeMS++
		if r.Prove(&b.Header, proof, 9) {
			t.Errorf("a changed receipt %d verifies", i)
		}
	}
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
