package settlement

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// generator draws transactions from outputs that exist, existed or may be created later.
type generator struct {
	w     *world
	known []ledger.Unspent // owned by person 0 of the shard at the same index of owner
	owner []uint16
	pool  []*ledger.Tx
	late  uint64 // the latest expiry
}

func (g *generator) learn(u ledger.Unspent, s uint16) {
	g.known, g.owner = append(g.known, u), append(g.owner, s)
}

// draw makes a transaction over any number of shards. It may spend an output that another transaction spends too, or
// that does not exist yet or never will, and it may declare a wrong amount or owner.
func (g *generator) draw(t *rapid.T) *ledger.Tx {
	now := slices.Max(g.w.time[:])
	b := ledger.Body{Network: network, ExpiryMS: now + uint64(rapid.SampledFrom([]int{0, 30_000, 200_000, horizon, horizon + 90_000}).Draw(t, "expiry"))}
	var signers []sig.Signer
	total := uint64(0)
	for range rapid.IntRange(1, 4).Draw(t, "inputs") {
		i := rapid.IntRange(0, len(g.known)-1).Draw(t, "coin")
		u, s := g.known[i], g.owner[i]
		owner := 0
		switch rapid.IntRange(0, 24).Draw(t, "wrong") {
		case 0:
			u.Amount++
		case 1:
			owner = 1
		case 2:
			u.Outpoint.Index += 1000
		}
		if slices.ContainsFunc(b.Inputs, func(in ledger.Input) bool { return in.Outpoint == u.Outpoint }) {
			continue
		}
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: u.Outpoint, Key: person(s, owner).Public(), Amount: u.Amount})
		signers = append(signers, person(s, owner))
		total += u.Amount
	}
	for n := rapid.IntRange(1, 4).Draw(t, "outputs"); n > 0 && total > 0; n-- {
		amount := rapid.Uint64Range(1, total).Draw(t, "amount")
		b.Outputs = append(b.Outputs, ledger.Output{Address: address(rapid.Uint16Range(0, shards-1).Draw(t, "to"), 0), Amount: amount})
		total -= amount
	}
	b.Fee = total
	tx, err := b.Sign(signers...)
	if err != nil {
		t.Fatal(err)
	}
	if tx.Shards(home).All().Len() > 1 {
		g.w.watch(tx)
	}
	for i, out := range tx.Outputs {
		g.learn(ledger.Unspent{Outpoint: ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}, Amount: out.Amount}, home(out.Address))
	}
	for _, in := range tx.Inputs {
		g.learn(ledger.Unspent{Outpoint: ledger.ReturnedOutpoint(tx.ID(), in.Outpoint), Amount: in.Amount}, home(ledger.AddressOf(in.Key)))
	}
	g.late = max(g.late, b.ExpiryMS)
	g.pool = append(g.pool, tx)
	return tx
}

// block draws the next block of a shard: some of the deliveries under way, in order, replays of others, and a batch
// of old and new transactions.
func (g *generator) block(t *rapid.T) event {
	w := g.w
	e := event{shard: rapid.Uint16Range(0, shards-1).Draw(t, "shard")}
	e.timeMS = w.time[e.shard] + uint64(rapid.SampledFrom([]int{0, 0, 1, 70_000, 300_000}).Draw(t, "pass"))
	for from := range uint16(shards) {
		for range rapid.IntRange(0, min(3, len(w.queues[from][e.shard]))).Draw(t, "delivered") {
			e.deliver = append(e.deliver, from)
		}
		if all := w.sent[from][e.shard]; len(all) > 0 && rapid.IntRange(0, 5).Draw(t, "replay") == 0 {
			e.extra = append(e.extra, all[rapid.IntRange(0, len(all)-1).Draw(t, "which")])
		}
	}
	for range rapid.IntRange(0, 4).Draw(t, "txs") {
		if len(g.pool) > 0 && rapid.IntRange(0, 2).Draw(t, "again") > 0 {
			e.txs = append(e.txs, g.pool[rapid.IntRange(0, len(g.pool)-1).Draw(t, "tx")])
		} else {
			e.txs = append(e.txs, g.draw(t))
		}
	}
	return e
}

// TestRandomWorlds runs three shards with random transactions, duplicates, replays, crashes and small limits. Every
// guarantee holds after every block. At the end no delivery is under way and every record is closed.
func TestRandomWorlds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Standard()
		if rapid.Bool().Draw(t, "narrow") {
			rules = Rules{MaxOutstanding: rapid.Uint64Range(1, 4).Draw(t, "outstanding"), MaxWaiting: rapid.Uint64Range(1, 4).Draw(t, "waiting"), AnswerAfter: 2}
		}
		start := newWorld(rules, 4)
		g := &generator{w: &start}
		w := g.w
		w.keep, w.busy = true, true
		for s := range uint16(shards) {
			for _, u := range allCoins(w.states[s], s, 4) {
				g.learn(u, s)
			}
		}
		for range rapid.IntRange(20, 80).Draw(t, "blocks") {
			e := g.block(t)
			if _, err := w.do(e); err != nil {
				t.Fatal(err)
			}
			if err := w.check(); err != nil {
				t.Fatal(err)
			}
			if s := rapid.Uint16Range(0, 6*shards).Draw(t, "crash"); s < shards {
				if err := w.crash(s, rapid.IntRange(0, w.stores[s].Unsynced()).Draw(t, "keep")); err != nil {
					t.Fatal(err)
				}
			}
		}
		settleDown(t, w, 0)
		settleDown(t, w, g.late+2*minute)
		checkChannels(t, w)
		checkPast(t, w)
	})
}

// checkPast: the receipts of every block can still be read in full or in parts, although the store keeps the newest
// receipt of each transaction only. Each entry of an account's history belongs to a receipt of its block, and entries
// are in the order of their receipts.
func checkPast(t *rapid.T, w *world) {
	t.Helper()
	for s := range uint16(shards) {
		state := w.states[s]
		for i, made := range w.made[s] {
			height := uint64(i + 1)
			var read []ledger.Receipt
			for more := true; more; {
				part, further, ok, err := state.BlockReceipts(height, len(read), 3)
				if err != nil || !ok || len(part) > 3 || further && len(part) == 0 {
					t.Fatalf("shard %d, block %d: %d receipts, %v, %v", s, height, len(part), ok, err)
				}
				read, more = append(read, part...), further
			}
			if !slices.Equal(read, made) {
				t.Fatalf("shard %d, block %d has receipts %+v, read %+v", s, height, made, read)
			}
		}
		checkHistory(t, state, address(s, 0))
		checkHistory(t, state, address(s, 1))
	}
}

func checkHistory(t *rapid.T, state *ledger.State, a ledger.Address) {
	t.Helper()
	var all []ledger.HistoryEntry
	for {
		part, err := state.Changes(a, uint64(len(all)), 5)
		if err != nil || len(part) > 5 {
			t.Fatal(len(part), err)
		}
		if len(part) == 0 {
			break
		}
		all = append(all, part...)
	}
	page, err := state.Account(a, ledger.Page{HistoryLimit: ledger.MaxPage})
	slices.Reverse(page.History)
	if err != nil || !slices.Equal(page.History, all) {
		t.Fatalf("%d entries by page, %d in order, %v", len(page.History), len(all), err)
	}
	for height := range state.Height() + 2 {
		first, err := state.FirstChange(a, height)
		if want := slices.IndexFunc(all, func(h ledger.HistoryEntry) bool { return h.Height >= height }); err != nil || want >= 0 && first != uint64(want) || want < 0 && first != uint64(len(all)) {
			t.Fatalf("the first change from height %d on is number %d, want %d: %v", height, first, want, err)
		}
	}
	var last ledger.Receipt
	for _, h := range all {
		if h.Height == 0 {
			continue // genesis
		}
		ids, _, err := state.BlockTxs(h.Height)
		at, ok := ledger.PositionsOf(ids).Of(&h)
		if err != nil || !ok || ids[at] != h.Tx {
			t.Fatalf("block %d has no receipt for %+v: %v", h.Height, h, err)
		}
		list, _, _, err := state.BlockReceipts(h.Height, at, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(len(list), err)
		}
		r := list[0]
		if (h.Spent > 0) != (r.Verdict == ledger.VerdictSpent) && r.Verdict != ledger.VerdictSettled || r.Verdict == ledger.VerdictRejected {
			t.Fatalf("entry %+v has receipt %+v", h, r)
		}
		if r.Height < last.Height || r.Height == last.Height && r.Position <= last.Position {
			t.Fatalf("%+v is after %+v", r, last)
		}
		last = r
	}
}

// settleDown makes blocks until no delivery is under way, at the given block time, or at the present one if it is 0.
func settleDown(t *rapid.T, w *world, timeMS uint64) {
	t.Helper()
	for round := 0; ; round++ {
		for s := range uint16(shards) {
			e := event{shard: s}
			if timeMS > w.time[s] {
				e.timeMS = timeMS
			}
			for from := range uint16(shards) {
				for range w.queues[from][s] {
					e.deliver = append(e.deliver, from)
				}
			}
			if _, err := w.do(e); err != nil {
				t.Fatal(err)
			}
			if err := w.check(); err != nil {
				t.Fatal(err)
			}
		}
		if w.quiet() && round > 4 { // some more blocks, since each closes only a few lists of expired records
			return
		}
		if round > 100 {
			t.Fatal("deliveries are still under way")
		}
	}
}

// checkChannels compares the channels of the shards with each other and with the deliveries made, and the sum of all
// value with the genesis, after all records are closed.
func checkChannels(t *rapid.T, w *world) {
	t.Helper()
	var total, genesis, gained, ceded uint64
	for s := range uint16(shards) {
		a := w.audit(s)
		if a.Open != 0 || a.Escrow != 0 {
			t.Fatalf("shard %d: %d records open and %d in escrow at the end", s, a.Open, a.Escrow)
		}
		total, genesis = total+a.Unspent+a.Burned, genesis+a.Genesis
		gained, ceded = gained+a.Gained, ceded+a.Ceded
		channels, err := w.states[s].Channels()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range channels {
			sent := w.sent[s][c.Peer]
			if c.Frozen || c.Waiting != 0 || c.Escrow != 0 || int(c.Sent) != len(sent) || int(c.Applied) != len(w.sent[c.Peer][s]) {
				t.Fatalf("shard %d: channel %+v, %d deliveries sent, %d received", s, c, len(sent), len(w.sent[c.Peer][s]))
			}
			if c.Sent-c.Acked >= w.rules.(Rules).AnswerAfter {
				t.Fatalf("shard %d: the last %d deliveries to %d are not acknowledged", s, c.Sent-c.Acked, c.Peer)
			}
			for i, d := range sent {
				o, kept, err := w.states[s].Outgoing(c.Peer, d.Number)
				if err != nil || kept != (uint64(i) >= c.Acked) || kept && o.Delivery.Digest() != d.Digest() {
					t.Fatalf("shard %d: delivery %d of %d, %d acknowledged: kept %v, %v", s, d.Number, c.Sent, c.Acked, kept, err)
				}
			}
		}
	}
	if total != genesis || gained != ceded {
		t.Fatalf("value %d, at genesis %d; %d gained, %d ceded", total, genesis, gained, ceded)
	}
}
