package ledger

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

func TestGenesisSurvivesCrashes(t *testing.T) {
	c := Config{Network: testNet, Home: oneShard, GenesisTimeMS: genesisTime, HorizonMS: horizon}
	c.Allocations = []Allocation{{addressOf(0), 3, 70_000}, {addressOf(1), 5, 2}, {addressOf(0), 7, 1}}
	const supply = 3*70_000 + 10 + 7
	store := kv.NewMem()
	s := open(t, store, c)
	if store.Unsynced() != 0 {
		t.Error("the genesis is not flushed")
	}
	want, _, _ := s.Tip()
	a, err := s.Audit(context.Background())
	if err != nil || !a.Conserved() || a.Genesis != supply || a.Unspent != supply || a.Outputs != 70_003 || a.HeaderDigest != want.Digest() {
		t.Fatalf("audit %+v, %v", a, err)
	}
	acc, err := s.Account(addressOf(0), Page{HistoryLimit: 10})
	if err != nil || acc.Balance != 3*70_000+7 || acc.Count != 70_001 || len(acc.History) != 3 || acc.History[1].Received != 3*(70_000-65_536) {
		t.Fatalf("account %+v, %v", acc, err)
	}
	for _, o := range []Outpoint{
		{genesisID(testNet, 0, addressOf(0), 0), 65_535},
		{genesisID(testNet, 0, addressOf(0), 1), 70_000 - 65_536 - 1},
		{genesisID(testNet, 2, addressOf(0), 0), 0},
	} {
		if _, ok, err := s.Output(addressOf(0), o); !ok || err != nil {
			t.Errorf("output %v is missing: %v", o, err)
		}
	}
	// After a crash at any point of writing the genesis, Open writes the same genesis.
	for keep := 0; ; keep += 3 {
		half := kv.NewMem()
		stop := &applyLimit{Mem: half, left: keep}
		if _, err := Open(stop, c); err == nil {
			break
		}
		again := open(t, half.Crash(keep), c)
		if got, _, _ := again.Tip(); got != want {
			t.Fatalf("genesis after a crash at batch %d: %+v", keep, got)
		}
		a2, err := again.Audit(context.Background())
		if err != nil || a2 != a {
			t.Fatalf("after a crash at batch %d: %+v, %v", keep, a2, err)
		}
	}
	if again := open(t, store, c); again.Height() != 0 {
		t.Error("opened again at another height")
	}
}

// applyLimit is a store that fails after a number of batches.
type applyLimit struct {
	*kv.Mem
	left int
}

func (l *applyLimit) Apply(b *kv.Batch, sync bool) error {
	if l.left--; l.left < 0 {
		return errors.New("no space left on device")
	}
	return l.Mem.Apply(b, sync)
}

func TestOpenRefusesStateOfAnotherLedger(t *testing.T) {
	store := kv.NewMem()
	c := testConfig(1, 1, 1)
	open(t, store, c)
	other := c
	other.Network = digest.Of("another")
	if _, err := Open(store, other); err == nil || !strings.Contains(err.Error(), "check its home and genesis") {
		t.Errorf("another network: %v", err)
	}
	other = c
	other.Shard = 1
	if _, err := Open(store, other); err == nil || !strings.Contains(err.Error(), "this replica is in shard 1") {
		t.Errorf("another shard: %v", err)
	}
	var b kv.Batch
	b.Set([]byte{keyIdentity}, append([]byte{0, 0, 0, 9}, make([]byte, 34)...))
	if err := store.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(store, c); err == nil || !strings.Contains(err.Error(), "has version 9, this program reads version 6") {
		t.Errorf("another version: %v", err)
	}
}

func TestAFailedStoreStopsExecution(t *testing.T) {
	mem := kv.NewMem()
	s := open(t, mem, testConfig(1, 1, 1))
	broken := errors.New("input/output error")
	mem.Fail(broken)
	if _, err := s.Execute(CommittedBlock{Height: 1, TimeMS: genesisTime}); !errors.Is(err, broken) {
		t.Errorf("Execute returned %v", err)
	}
	if s.Height() != 0 {
		t.Error("the height changed")
	}
	if _, err := s.Audit(context.Background()); !errors.Is(err, broken) {
		t.Errorf("Audit returned %v", err)
	}
}
