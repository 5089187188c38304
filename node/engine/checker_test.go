package engine

import (
	"sync"
	"testing"

	"bdtnode/internal/sig"
)

// countingScheme notes the length of each verified piece.
type countingScheme struct {
	sig.Scheme
	mu     sync.Mutex
	pieces []int
}

func (s *countingScheme) VerifyAll(checks []sig.Check) bool {
	s.mu.Lock()
	s.pieces = append(s.pieces, len(checks))
	s.mu.Unlock()
	return s.Scheme.VerifyAll(checks)
}

// TestPiecesVerifyAll: signatures that are verified in pieces have the result of verifying them together, for a bad one
// anywhere, and the pieces are of the intended sizes.
func TestPiecesVerifyAll(t *testing.T) {
	ideal := sig.NewIdeal(1)
	checks := make([]sig.Check, 3*maxPiece)
	for i := range checks {
		m := []byte{byte(i), byte(i >> 8)}
		k := ideal.Signer(uint64(i % 5))
		checks[i] = sig.Check{Key: k.Public(), Message: m, Signature: k.Sign(m)}
	}
	for _, n := range []int{0, 1, minPiece - 1, 2 * minPiece, 2*minPiece + 1, maxPiece, maxPiece + 1, 3 * maxPiece} {
		s := &countingScheme{Scheme: ideal}
		if !inPieces(s, checks[:n]) {
			t.Errorf("%d good signatures are refused", n)
		}
		sum := 0
		for _, size := range s.pieces {
			sum += size
			if size > maxPiece || len(s.pieces) > 1 && size < minPiece {
				t.Errorf("%d signatures: a piece of %d", n, size)
			}
		}
		if sum != n {
			t.Errorf("%d signatures: %d verified", n, sum)
		}
		for _, at := range []int{0, n / 2, n - 1} {
			if at < 0 || at >= n {
				continue
			}
			checks[at].Signature[3] ^= 1
			if inPieces(ideal, checks[:n]) {
				t.Errorf("%d signatures: a bad one at %d is accepted", n, at)
			}
			checks[at].Signature[3] ^= 1
		}
	}
}

func TestPieceCount(t *testing.T) {
	for _, c := range []struct{ signatures, processors, want int }{
		{0, 2, 1}, {minPiece, 8, 1}, {2*minPiece - 1, 8, 1}, {2 * minPiece, 8, 2}, {8 * minPiece, 2, 2}, {8 * minPiece, 64, 8},
		{maxPiece, 1, 1}, {maxPiece + 1, 1, 2}, {4 * maxPiece, 1, 4},
	} {
		if got := pieceCount(c.signatures, c.processors); got != c.want {
			t.Errorf("%d signatures on %d processors: %d pieces, want %d", c.signatures, c.processors, got, c.want)
		}
	}
}
