package coin

import (
	"fmt"
	"io"

	"github.com/gtank/ristretto255"

	"bdtnode/protocols"
)

// Deal shares a fresh secret among n replicas: any threshold of them can toss, fewer cannot. random is
// crypto/rand.Reader in production. The dealer could keep the secret, so Deal is for generating the keys of a network in
// one trusted place; only the return values keep anything of the secret. It returns an error if n is above
// [protocols.MaxReplicas], if threshold is not in 1..n, or if random fails.
func Deal(random io.Reader, n, threshold int) ([]PublicKey, []*Secret, error) {
	if n > protocols.MaxReplicas || threshold < 1 || threshold > n {
		return nil, nil, fmt.Errorf("cannot deal a coin to %d replicas with threshold %d", n, threshold)
	}
	polynomial := make([]*ristretto255.Scalar, threshold)
	for k := range polynomial {
		var wide [64]byte
		if _, err := io.ReadFull(random, wide[:]); err != nil {
			return nil, nil, fmt.Errorf("read randomness for a coin: %w", err)
		}
		x, err := ristretto255.NewScalar().SetUniformBytes(wide[:])
		if err != nil {
			return nil, nil, fmt.Errorf("make a scalar for a coin: %w", err)
		}
		polynomial[k] = x
	}
	public := make([]PublicKey, n)
	secrets := make([]*Secret, n)
	zero := ristretto255.NewScalar()
	for i := range n {
		x, y := small(i+1), ristretto255.NewScalar()
		for k := threshold - 1; k >= 0; k-- {
			y.Multiply(y, x).Add(y, polynomial[k])
		}
		if y.Equal(zero) == 1 { // once in 2^252 dealings
			return Deal(random, n, threshold)
		}
		secrets[i] = newSecret(protocols.Index(i), y)
		public[i] = secrets[i].public
	}
	return public, secrets, nil
}
