package ledger

import (
	"syscall"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// benchBlock is the number of transactions in a block of the benchmarks.
const benchBlock = 1000

// benchChain makes blocks of transfers with one input and two outputs, decoded as after verification. Each transfer
// spends an output of an earlier one.
func benchChain(b *testing.B, people, blocks int) (Config, []*Payload) {
	config := testConfig(people, 10, 1<<40)
	config.HorizonMS = 1 << 40
	type owned struct {
		o      Outpoint
		amount uint64
		owner  int
	}
	var unspent []owned
	for p := range people {
		for k := range 10 {
			unspent = append(unspent, owned{genesisOut(p, k), 1 << 40, p})
		}
	}
	var out []*Payload
	for n := range blocks {
		raw := make([][]byte, benchBlock)
		for i := range raw {
			from := unspent[0]
			unspent = unspent[1:]
			to := (from.owner*7 + n + i) % people
			body := Body{Network: testNet, ExpiryMS: genesisTime + 600_000, Fee: 1,
				Inputs:  []Input{{from.o, signer(from.owner).Public(), from.amount}},
				Outputs: []Output{{addressOf(to), from.amount / 2}, {addressOf(from.owner), from.amount - from.amount/2 - 1}}}
			tx := signed(b, body, from.owner)
			raw[i] = tx.Encode()
			unspent = append(unspent, owned{Outpoint{tx.ID(), 0}, from.amount / 2, to}, owned{Outpoint{tx.ID(), 1}, from.amount - from.amount/2 - 1, from.owner})
		}
		p, err := DecodePayload(nil, EncodePayload(raw))
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, p)
	}
	return config, out
}

func benchExecute(b *testing.B, store func() kv.Store) {
	const blocks = 100
	config, chain := benchChain(b, 2000, blocks)
	var cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		st := store()
		s := open(b, st, config)
		cpu -= cpuTime(b)
		b.StartTimer()
		for n, p := range chain {
			in := CommittedBlock{Height: uint64(n + 1), TimeMS: genesisTime + uint64(n), Digest: digest.Of("b"), Payloads: []*Payload{p}}
			if _, err := s.Execute(in); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		cpu += cpuTime(b)
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	txs := float64(b.N) * blocks * benchBlock
	b.ReportMetric(txs/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(cpu.Microseconds())/txs, "cpu-µs/tx") // of all threads, including compaction and garbage collection
}

// cpuTime is the processor time that the process has used. Other load on the machine changes it less than elapsed
// time.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkExecutePebble(b *testing.B) {
	benchExecute(b, func() kv.Store {
		st, err := kv.OpenPebble(b.TempDir(), kv.Options{NoLog: true})
		if err != nil {
			b.Fatal(err)
		}
		return st
	})
}

func BenchmarkExecuteMem(b *testing.B) {
	benchExecute(b, func() kv.Store { return kv.NewMem() })
}

func BenchmarkDecodeTx(b *testing.B) {
	raw := pay(b, 0, 10, []Outpoint{{}}, 1, Output{addressOf(1), 4}, Output{addressOf(0), 5}).Encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeTx(raw); err != nil {
			b.Fatal(err)
		}
	}
}
