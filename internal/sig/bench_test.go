package sig

import (
	"crypto/rand"
	"fmt"
	"testing"
)

// BenchmarkVerify measures VerifyAll in microseconds a signature, for the numbers of signatures that occur: one, the
// votes of a block, batches of transactions.
func BenchmarkVerify(b *testing.B) {
	s := NewEd25519()
	for _, n := range []int{1, 3, 8, 32, 128, 1024} {
		checks := make([]Check, n)
		for i := range checks {
			k, err := GenerateEd25519(rand.Reader)
			if err != nil {
				b.Fatal(err)
			}
			m := []byte(fmt.Sprintf("message %d", i))
			checks[i] = Check{Key: k.Public(), Message: m, Signature: k.Sign(m)}
		}
		b.Run(fmt.Sprintf("all/%d", n), func(b *testing.B) {
			for b.Loop() {
				if !s.VerifyAll(checks) {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/sig")
		})
	}
	k, _ := GenerateEd25519(rand.Reader)
	m := []byte("message")
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			k.Sign(m)
		}
	})
}
