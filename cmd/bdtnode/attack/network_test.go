package attack

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/load"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/proctest"
	"bdtnode/internal/sig"
	"bdtnode/node/client"
	"bdtnode/node/config"
)

var (
	attacks = flag.Bool("attacks", false, "run each attack against a live network under load")
	before  = flag.Duration("attacks.before", 10*time.Second, "duration of the load before the attack")
	during  = flag.Duration("attacks.during", 20*time.Second, "duration of the load during the attack")
)

// Limits on the latency of honest clients and on memory during an attack.
const (
	loadRate   = 100       // transfers a second
	loadCross  = 0.3       // share of them that involves several shards
	maxRatio   = 3         // largest ratio of p95 during the attack to p95 before
	maxMemory  = 300 << 20 // resident bytes of a replica
	maxLog     = 64 << 10  // bytes that a replica's log grows by
	sampleRSS  = 50 * time.Millisecond
	shards     = 2
	perShard   = 4
	loadFunds  = 8
	fundAmount = 1000
)

var built string // directory of the binary

// program is the binary of the replicas, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bdtnode-attack")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "bdtnode")
	out, err := exec.Command("go", "build", "-o", path, "bdtnode/cmd/bdtnode").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// network is a running network and the keys of its load.
type network struct {
	t       *testing.T
	dir     string
	cluster *netup.Cluster
	funds   []sig.Signer
}

func startNetwork(t *testing.T) *network {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, dir: filepath.Join(t.TempDir(), "net")}
	places := make([][]config.Place, shards)
	for s := range places {
		for range perShard {
			places[s] = append(places[s], config.Place{Listen: []string{"/ip4/127.0.0.1/tcp/0"}, API: "127.0.0.1:0"})
		}
	}
	places[0][0].Listen[0] = fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", freePort(t))
	funding := netup.Funding{Dir: netup.LoadDir, Outputs: 1000, Amount: fundAmount}
	for i := range loadFunds {
		funding.Names = append(funding.Names, fmt.Sprintf("load-%d", i))
	}
	made := config.Network{Name: "attacked", Time: time.Now(), Horizon: config.DefaultHorizon, Places: places}
	if _, err := netup.Create(n.dir, made, netup.People(), funding); err != nil {
		t.Fatal(err)
	}
	accounts, err := keystore.Open(filepath.Join(n.dir, netup.LoadDir)).List()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accounts {
		key, err := a.Unlock(func() (string, error) { return "", errors.New("the accounts of a load are not encrypted") })
		if err != nil {
			t.Fatal(err)
		}
		n.funds = append(n.funds, key)
	}
	n.cluster, err = netup.Start(t.Context(), netup.Options{Dir: n.dir, Program: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.cluster.Stop)
	return n
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// replica returns a replica of the network.
func (n *network) replica(shard, index int) *netup.Replica {
	return n.cluster.Replicas[shard*perShard+index]
}

// load runs the honest clients for d against the replicas that are alive. The test fails if a transfer does not settle.
func (n *network) load(d time.Duration, seed uint64) load.Result {
	n.t.Helper()
	cfg := load.Config{
		Network: n.cluster.Genesis.ID(), Horizon: time.Duration(n.cluster.Genesis.HorizonMS) * time.Millisecond, Funds: n.funds,
		Shards: make([][]*client.Client, shards), Rate: loadRate, For: d, Cross: loadCross, Seed: seed,
	}
	for _, r := range n.cluster.Alive() {
		cl, err := r.Connect(client.Options{})
		if err != nil {
			n.t.Fatal(err)
		}
		defer cl.Close()
		cfg.Shards[r.Shard] = append(cfg.Shards[r.Shard], cl)
	}
	result, err := load.Run(n.t.Context(), cfg)
	if err != nil {
		n.t.Fatalf("the load failed: %v", err)
	}
	if result.Settled != result.Submitted {
		n.t.Errorf("of %d transfers %d settled, %d were rejected, %d are pending: %v", result.Submitted, result.Settled, result.Rejected, result.Pending, result.Reasons)
	}
	return result
}

// logs returns the bytes of each replica's log.
func (n *network) logs() map[string]int64 {
	sizes := make(map[string]int64)
	for _, r := range n.cluster.Replicas {
		if st, err := os.Stat(filepath.Join(r.Home, "replica.log")); err == nil {
			sizes[r.Name()] = st.Size()
		}
	}
	return sizes
}

// watchMemory samples the resident memory of the replicas that run, see [proctest.WatchMemory].
func (n *network) watchMemory() func() (most uint64, name string) {
	return proctest.WatchMemory(sampleRSS, func(yield func(string, int) bool) {
		for _, r := range n.cluster.Alive() {
			if !yield(r.Name(), r.PID()) {
				return
			}
		}
	})
}

// kill ends the process of a replica by its id.
func (n *network) kill(r *netup.Replica) {
	n.t.Helper()
	p, err := os.FindProcess(r.PID())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	for death := range n.cluster.Deaths() {
		if death.Replica == r {
			return
		}
		n.t.Fatalf("%s ended too: %s", death.Replica.Name(), death.Replica.Ended())
	}
}
