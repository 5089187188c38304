package engine

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"bdtnode/internal/sig"
)

// Signatures of one multi-scalar multiplication. Below minPiece a signature costs noticeably more, and above maxPiece the
// tables of the multiplication leave the cache.
const (
	minPiece = 1024
	maxPiece = 4096
)

// runChecker checks the signatures of batches, on a goroutine of its own. The driver decides which, see
// [execution.Execution.CheckBatches].
func (e *Engine) runChecker(ctx context.Context) error {
	for {
		select {
		case <-e.check:
		case <-ctx.Done():
			return nil
		}
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = e.driver.Execution().CheckBatches(); err != nil {
				return err
			}
		}
	}
}

// inPieces verifies signatures in pieces of minPiece to maxPiece, on up to as many goroutines as there are processors. The
// result is that of the scheme for all of them.
func inPieces(scheme sig.Scheme, checks []sig.Check) bool {
	pieces := pieceCount(len(checks), runtime.GOMAXPROCS(0))
	if pieces == 1 {
		return scheme.VerifyAll(checks)
	}
	var bad atomic.Bool
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(pieces, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < pieces && !bad.Load(); i = int(next.Add(1)) - 1 {
				if !scheme.VerifyAll(checks[len(checks)*i/pieces : len(checks)*(i+1)/pieces]) {
					bad.Store(true)
				}
			}
		})
	}
	all.Wait()
	return !bad.Load()
}

// pieceCount is the number of pieces for so many signatures on so many processors.
func pieceCount(signatures, processors int) int {
	least := (signatures + maxPiece - 1) / maxPiece
	return max(1, least, min(signatures/minPiece, processors))
}
