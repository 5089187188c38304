package admission

import (
	"syscall"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// BenchmarkAdmission measures the cost of a transaction in the Admission, without reading the ledger and verifying signatures:
// waiting, admission, batch, acceptance, decision and answer.
func BenchmarkAdmission(b *testing.B) {
	const block = 1000
	scheme := sig.NewIdeal(1)
	owner := scheme.Signer(1)
	var txs []*ledger.Tx
	for i := range block {
		tx, err := (&ledger.Body{
			Network: digest.Of("test"), ExpiryMS: start.Add(time.Hour).Millis(),
			Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("coin")), Index: uint16(i)}, Key: owner.Public(), Amount: 10}},
			Outputs: []ledger.Output{{Address: ledger.AddressOf(owner.Public()), Amount: 10}},
		}).Sign(owner)
		if err != nil {
			b.Fatal(err)
		}
		txs = append(txs, tx)
	}
	ids := idsOf(txs...)
	verified, _ := ledger.VerifyTxs(scheme, digest.Of("test"), nil, txs)
	now := Instant{start, start.Millis()}
	d := New(Config{Limits: StandardLimits()})
	found := ledger.Inspection{Inside: true, Own: []int{0}}
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuNow(b)
	for n := 0; b.Loop(); n++ {
		r := NewRequest("client", ids, Final, true, now.Now, func() {})
		d.AddRequest(r)
		for _, tx := range verified {
			d.Admit(r, tx, Lookup{Height: d.height, Found: found}, now)
		}
		if got := d.TakeForBatch(1<<20, block); len(got) != block {
			b.Fatal(len(got))
		}
		d.Logged(uint64(n+1), txs, now)
		executed := &ledger.Block{Header: ledger.Header{Height: uint64(n + 1), TimeMS: start.Millis()}}
		for i, id := range ids {
			executed.Receipts = append(executed.Receipts, ledger.Receipt{Tx: id, Height: uint64(n + 1), Position: uint32(i), Verdict: ledger.VerdictSettled})
		}
		d.Executed(executed, uint64(n+1), now)
		d.RemoveRequest(r)
		d.Checkpoint()
	}
	b.ReportMetric(float64(cpuNow(b)-cpu)/float64(b.N*block), "cpu-ns/tx")
}

// cpuNow returns the processor time of the process so far in nanoseconds. Other load on the machine changes it less
// than elapsed time.
func cpuNow(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
