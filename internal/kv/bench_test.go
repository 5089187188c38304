package kv

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// BenchmarkLargeValues writes values of 1 MiB together, and reports the processor time for each MiB in the user's and in the
// kernel's mode.
func BenchmarkLargeValues(b *testing.B) {
	for _, parts := range []int{1, 4, 8} {
		b.Run(fmt.Sprintf("%d_KiB", 1024/parts), func(b *testing.B) { writeMiB(b, parts) })
	}
}

func writeMiB(b *testing.B, parts int) {
	b.Helper()
	p, err := OpenPebble(b.TempDir(), Options{LargeValues: 4 << 10, NoCompression: true})
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 1<<20/parts-1<<10)
	rand.NewChaCha8([32]byte{}).Read(value) // never fails
	user, kernel := processorTime(b)
	b.ResetTimer()
	for i := range b.N * parts {
		var x Batch
		x.Set(fmt.Appendf(nil, "l/b%08d", i), value)
		if err := p.Apply(&x, i%(4*parts) == 0); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	u, k := processorTime(b)
	b.ReportMetric(float64(u-user)/1e3/float64(b.N), "user-µs/op")
	b.ReportMetric(float64(k-kernel)/1e3/float64(b.N), "kernel-µs/op")
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}

func processorTime(b *testing.B) (user, kernel time.Duration) {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// BenchmarkApply measures writes of one small batch, without a sync.
func BenchmarkApply(b *testing.B) {
	p, err := OpenPebble(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	i := 0
	for b.Loop() {
		batch := &Batch{}
		batch.Set([]byte(fmt.Sprintf("key %d", i)), make([]byte, 200))
		if err := p.Apply(batch, false); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
