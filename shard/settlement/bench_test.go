package settlement

import (
	"testing"

	"bdtnode/ledger"
)

// BenchmarkAcross settles transactions with one input and one output in different shards, in blocks of 500: one shard
// spends, the other settles. It reports the transactions per second of both shards together.
func BenchmarkAcross(b *testing.B) {
	const count, block = 5000, 500
	total := 0
	for b.Loop() {
		b.StopTimer()
		w := newWorld(Standard(), count)
		var txs []*ledger.Tx
		var page ledger.Page
		for page.Limit = ledger.MaxPage; len(txs) < count; {
			a, err := w.states[0].Account(address(0, 0), page)
			if err != nil {
				b.Fatal(err)
			}
			page.Cursor = a.Next
			for _, u := range a.Outputs {
				tx := transfer(masks{0b001, 0b010}, txExpiry, func(uint16) (ledger.Outpoint, uint64) { return u.Outpoint, u.Amount })
				w.watch(tx)
				txs = append(txs, tx)
			}
		}
		b.StartTimer()
		for ; len(txs) > 0; txs = txs[block:] {
			if _, err := w.do(event{shard: 0, txs: txs[:block]}); err != nil {
				b.Fatal(err)
			}
			for len(w.queues[0][1]) > 0 {
				if _, err := w.do(event{shard: 1, deliver: []uint16{0}}); err != nil {
					b.Fatal(err)
				}
			}
		}
		total += count
	}
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "tx/s")
}
