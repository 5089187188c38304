package netup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/node/api"
	"bdtnode/node/config"
)

func TestSampleHeights(t *testing.T) {
	for _, last := range []uint64{0, 1, 2, 19, 20, 21, 1000, 1<<63 + 7} {
		got := sampleHeights(last)
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) || len(got) > comparedHeights {
			t.Errorf("%d: %v", last, got)
		}
		if last == 0 && len(got) != 0 || last > 0 && (got[len(got)-1] != last || got[0] == 0) {
			t.Errorf("%d: %v does not end with the last, or begins with genesis", last, got)
		}
		if last > 0 && last <= comparedHeights && len(got) != int(last) {
			t.Errorf("%d: %v leaves heights out", last, got)
		}
	}
}

func TestCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	n := config.Network{Name: "x", Time: time.UnixMilli(1), Horizon: time.Minute, Places: [][]config.Place{nil, nil}}
	for i := range 8 {
		n.Places[i/4] = append(n.Places[i/4], config.Place{Listen: []string{"/ip4/127.0.0.1/tcp/4001"}, API: "127.0.0.1:0"})
	}
	made, err := Create(dir, n, People(), Funding{Dir: LoadDir, Names: []string{"load-0"}, Outputs: 3, Amount: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Homes) != 8 || len(made.Accounts) != 4 {
		t.Errorf("%+v", made)
	}
	for _, h := range made.Homes {
		got, err := config.Load(h.Dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Shard != h.Shard || int(got.Replica) != h.Replica || got.Genesis.ID().String() != made.ID {
			t.Errorf("%+v holds shard %d replica %d", h, got.Shard, got.Replica)
		}
		if supply := got.Genesis.Supply(0) + got.Genesis.Supply(1); supply != 4*1_000_000+6 {
			t.Errorf("supply %d", supply)
		}
	}
	for i, acc := range made.Accounts {
		if acc.Shard != uint16(i%2) {
			t.Errorf("account %s is at home in shard %d", acc.Name, acc.Shard)
		}
		stored, err := keystore.Open(filepath.Join(dir, AccountsDir)).Get(acc.Name)
		if err != nil || stored.Address != acc.Address {
			t.Errorf("%+v %v", stored, err)
		}
	}
	if _, err := Create(dir, n, People()); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("created over another network: %v", err)
	}
}

func TestUnbalanced(t *testing.T) {
	for _, c := range []struct {
		audit api.Audit
		want  string
	}{
		{api.Audit{Unspent: 90, Burned: 10, Genesis: 100, Conserved: true}, ""},
		{api.Audit{Unspent: 80, Escrow: 5, Burned: 10, Ceded: 20, Gained: 15, Genesis: 100, Conserved: true}, ""},
		{api.Audit{Unspent: 115, Gained: 15, Genesis: 100, Conserved: true}, ""},
		{api.Audit{Unspent: 90, Burned: 10, Genesis: 100}, "differs from the genesis supply"}, // the audit itself reports the error
		{api.Audit{Unspent: 91, Burned: 10, Genesis: 100, Conserved: true}, "differs from the genesis supply"},
		{api.Audit{Unspent: 90, Escrow: 1, Burned: 10, Genesis: 100, Conserved: true}, "differs from the genesis supply"},
		{api.Audit{Unspent: 90, Burned: 10, Ceded: 1, Genesis: 100, Conserved: true}, "differs from the genesis supply"},
		{api.Audit{Unspent: 90, Burned: 10, Gained: 1, Genesis: 100, Conserved: true}, "differs from the genesis supply"},
		{api.Audit{Unspent: 91, Burned: 10, Genesis: 101, Conserved: true}, "genesis value of 101"},
	} {
		if got := unbalanced(&c.audit, 100); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c.audit, got)
		}
	}
}

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		sums []total
		want string
	}{
		{[]total{{unspent: 100, genesis: 100}}, ""},
		{[]total{{unspent: 80, ceded: 20, genesis: 100}, {unspent: 65, burned: 5, gained: 20, genesis: 50}}, ""},
		{[]total{{unspent: 80, ceded: 20, genesis: 100}, {unspent: 50, genesis: 50}}, "all shards together"}, // ceded and not yet gained
		{[]total{{unspent: 100, genesis: 100}, {unspent: 51, gained: 1, genesis: 50}}, "all shards together"},
		{[]total{{unspent: 80, escrow: 20, genesis: 100}, {unspent: 50, genesis: 50}}, "20 is still in escrow"},
	} {
		if got := between(c.sums); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c.sums, got)
		}
	}
}

// TestStubbornReplica: a replica that does not stop on request is killed.
func TestStubbornReplica(t *testing.T) {
	p, err := spawn(t.TempDir(), "/bin/sh", nil, "-c", `trap "" TERM; echo up; while :; do sleep 0.01; done`)
	if err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(p.logTail(), "\n  up") { // the trap is set
		time.Sleep(time.Millisecond)
	}
	p.terminate()
	p.await(time.Now().Add(20 * time.Millisecond))
	if !p.gone() || !p.killed() {
		t.Errorf("gone %t, killed %t, %v", p.gone(), p.killed(), p.err)
	}
}

func TestLogTail(t *testing.T) {
	p := &process{home: t.TempDir()}
	if got := p.logTail(); !strings.Contains(got, "no log") {
		t.Error(got)
	}
	earlier := strings.Repeat("some line of a log\n", 10_000)
	os.WriteFile(filepath.Join(p.home, LogFile), []byte(earlier+"the\nend\n"), 0o600)
	got := strings.Split(p.logTail(), "\n")
	if len(got) != logTailLines+1 || got[len(got)-1] != "  end" {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	p.from = int64(len(earlier)) // output of an earlier run is not shown
	if got := p.logTail(); !strings.HasSuffix(got, ":\n  the\n  end") {
		t.Errorf("%q", got)
	}
}
