package kv

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// BenchmarkLargeValues writes values of 1 MiB, and reports the processor time for each in the user's and in the kernel's mode.
func BenchmarkLargeValues(b *testing.B) {
	p, err := OpenPebble(b.TempDir(), Options{LargeValues: 4 << 10, NoCompression: true})
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(value) // never fails
	user, kernel := processorTime(b)
	b.ResetTimer()
	for i := range b.N {
		var x Batch
		x.Set(fmt.Appendf(nil, "l/b%08d", i), value)
		if err := p.Apply(&x, i%4 == 3); err != nil {
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
