package ledger

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// A transferBench executes blocks of transfers with one input and two outputs. Each transfer spends a random unspent
// output. The payloads are in a file, so that they take no memory of the measured process, and are decoded as they are
// executed, which is a part of the measured time.
type transferBench struct {
	people, outputs int // accounts, and genesis outputs of each
	blocks          int // of benchBlock transfers
	cached          int // outputs in memory
}

const benchAmount = 1 << 40

var transfersInterval = flag.Uint64("transfers.interval", 0, "heights from one state whose root is computed to the next in BenchmarkTransfers, 0 for none")

var transfersDir = flag.String("transfers.dir", "", "directory in which BenchmarkTransfers keeps its payloads for later runs")

func (t transferBench) config() Config {
	c := testConfig(t.people, uint32(t.outputs), benchAmount)
	c.HorizonMS, c.CachedOutputs, c.StateInterval = 15*60_000, t.cached, *transfersInterval
	return c
}

// payloads returns the name of the file of payloads, and makes it if there is none.
func (t transferBench) payloads(b *testing.B) string {
	dir := *transfersDir
	if dir == "" {
		dir = b.TempDir()
	}
	name := filepath.Join(dir, fmt.Sprintf("payloads-%d-%d-%d", t.people, t.outputs, t.blocks))
	if _, err := os.Stat(name); err == nil {
		return name
	}
	t.write(b, name+".part")
	if err := os.Rename(name+".part", name); err != nil {
		b.Fatal(err)
	}
	return name
}

// write makes the payloads and writes each behind its length.
func (t transferBench) write(b *testing.B, name string) {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	type owned struct {
		o      Outpoint
		amount uint64
		owner  int
	}
	unspent := make([]owned, 0, t.people*t.outputs+t.blocks*benchBlock)
	for p := range t.people {
		for k := range t.outputs {
			unspent = append(unspent, owned{genesisOut(p, k), benchAmount, p})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	raw := make([][]byte, benchBlock)
	for range t.blocks {
		var made []owned
		for i := range raw {
			at := random.IntN(len(unspent))
			from, to := unspent[at], random.IntN(t.people)
			unspent[at] = unspent[len(unspent)-1]
			unspent = unspent[:len(unspent)-1]
			half := from.amount / 2
			tx := signed(b, Body{Network: testNet, ExpiryMS: genesisTime + 600_000,
				Inputs:  []Input{{from.o, signer(from.owner).Public(), from.amount}},
				Outputs: []Output{{addressOf(to), half}, {addressOf(from.owner), from.amount - half}}}, from.owner)
			raw[i] = tx.Encode()
			made = append(made, owned{Outpoint{tx.ID(), 0}, half, to}, owned{Outpoint{tx.ID(), 1}, from.amount - half, from.owner})
		}
		unspent = append(unspent, made...)
		p := EncodePayload(raw)
		if _, err := f.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(p))), p...)); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

func (t transferBench) run(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the node
	name := t.payloads(b)
	for b.Loop() {
		b.StopTimer()
		st, err := kv.OpenWindow(b.TempDir(), kv.Options{CacheBytes: 128 << 20}, kv.WindowOptions{Groups: KeyGroups()})
		if err != nil {
			b.Fatal(err)
		}
		s := open(b, st, t.config())
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		wrote, used := st.Written(), st.DiskUse().Tables
		cpu := -cpuTime(b)
		ctx, cancel := context.WithCancel(b.Context())
		roots := make(chan error, 1)
		go func() { roots <- s.States().Run(ctx) }()
		b.StartTimer()
		var longest time.Duration
		for n := range t.blocks {
			var size [4]byte
			if _, err := io.ReadFull(f, size[:]); err != nil {
				b.Fatal(err)
			}
			raw := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(f, raw); err != nil {
				b.Fatal(err)
			}
			p, err := DecodePayload(nil, raw)
			if err != nil {
				b.Fatal(err)
			}
			in := CommittedBlock{Height: uint64(n + 1), TimeMS: genesisTime + uint64(n), Digest: digest.Of("b"), Payloads: []*Payload{p}}
			began := time.Now()
			out, err := s.Execute(in)
			if err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(began))
			if len(out.Receipts) != benchBlock || out.Receipts[0].Verdict != VerdictSettled {
				b.Fatal("a transfer did not settle")
			}
		}
		if err := s.Flush(); err != nil {
			b.Fatal(err)
		}
		for _, late := range s.States().Late() {
			if err := s.States().compute(ctx, late); err != nil {
				b.Fatal(err)
			}
		}
		cancel()
		if err := <-roots; err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		cpu += cpuTime(b)
		txs := float64(t.blocks * benchBlock)
		var heap runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&heap)
		b.ReportMetric(float64(cpu.Microseconds())/txs, "cpu-µs/tx") // of all threads, including compaction and garbage collection
		b.ReportMetric(float64(st.Written()-wrote)/txs, "written-B/tx")
		b.ReportMetric((float64(st.DiskUse().Tables)-float64(used))/txs, "disk-B/tx")
		b.ReportMetric(float64(heap.HeapAlloc)/(1<<20), "heap-MB")
		runtime.KeepAlive(s)
		b.ReportMetric(float64(longest.Milliseconds()), "longest-block-ms")
		b.ReportMetric(0, "ns/op")
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkTransfers measures the cost of a transfer with 100,000 and with a million unspent outputs at the start, and
// 600,000 more at the end. With the default cache, a part of the spent outputs is read from the store.
func BenchmarkTransfers(b *testing.B) {
	for _, t := range []transferBench{
		{2_000, 50, 600, DefaultCachedOutputs}, {2_000, 50, 600, 1 << 21},
		{200_000, 5, 600, DefaultCachedOutputs}, {200_000, 5, 600, 1 << 21},
	} {
		b.Run(fmt.Sprintf("outputs=%d/cached=%d", t.people*t.outputs, t.cached), t.run)
	}
}
