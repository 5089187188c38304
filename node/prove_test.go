package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/protocols/committeetest"
	"bdtnode/shard/prove"
)

// TestPlacesOfProofs: a place is free again after a proof, and a request that finds none waits two seconds.
func TestPlacesOfProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := committeetest.Ideal(t, sig.NewIdeal(1), 0, 4, [32]byte{1}, 0)
		state, err := ledger.Open(kv.NewMem(), ledger.Config{
			Home: func(ledger.Address) uint16 { return 0 }, Allocations: []ledger.Allocation{{Amount: 1, Outputs: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p := proofs{shard: &shardBlocks{State: state, committee: c}, clients: make(chan struct{}, 1)}
		if _, err := p.part(t.Context(), p.clients, ledger.TxID{1}); !errors.Is(err, prove.ErrNoReceipt) {
			t.Fatal(err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		p.clients <- struct{}{} // the place is free again
		began := time.Now()
		if _, err := p.part(t.Context(), p.clients, ledger.TxID{1}); !errors.Is(err, api.ErrUnavailable) || time.Since(began) != proofWait {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.part(ctx, p.clients, ledger.TxID{1}); !errors.Is(err, api.ErrUnavailable) {
			t.Error(err)
		}
	})
}
