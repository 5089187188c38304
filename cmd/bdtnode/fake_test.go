package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/apitest"
	"bdtnode/node/config"
	"bdtnode/shard"
)

// TestMain makes the test binary a bdtnode with fake replicas when its first argument is a command: net up starts its
// own program once for each replica.
func TestMain(m *testing.M) {
	takePlace()
	if len(os.Args) > 1 && slices.Contains([]string{"start", "net", "tx", "bench"}, os.Args[1]) {
		a := &app{in: os.Stdin}
		replicaOfTests(a)
		ctx, stop := signalled()
		a.print.Out, a.print.Err = output.NewPipe(os.Stdout, stop), output.NewPipe(os.Stderr, stop)
		code := a.run(ctx, os.Args[1:])
		stop()
		os.Exit(code)
	}
	if os.Getenv(placeEnv) != "" {
		go endWithParent()
	}
	// The tests do not touch the directories of the user.
	dir, err := os.MkdirTemp("", "bdtnode-test-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	os.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	os.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	os.Unsetenv(nodeEnv)
	os.Unsetenv(passphraseEnv)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// fakeReplica is a ledger of one replica. It settles each submitted transaction at once.
type fakeReplica struct {
	unconfirmed bool         // accounts are marked unconfirmed
	home        *config.Home // nil in tests of single commands
	started     time.Time
	mu          sync.Mutex
	status      api.Status
	network     digest.Digest
	outputs     map[ledger.Outpoint]ledger.Output
	owners      map[ledger.TxID]api.TxAnswer
	history     map[ledger.Address][]api.HistoryEntry
	proof       []byte

	// override, if set, returns the answers to a submission; if they are nil, the transactions settle.
	override func(n int, txs [][]byte, wait api.Wait) []api.TxAnswer
	submits  int

	behind map[ledger.Outpoint]ledger.Output // outputs that are listed instead of the current ones, if not nil
	asked  func()                            // called when outputs are listed, if not nil

	reports func(others bool) api.NetworkReports // answer to Network, if not nil
	traces  map[ledger.TxID]api.Trace

	rewritten bool   // block 2 differs from that of the other replicas
	ceded     uint64 // value ceded to other shards that no shard creates
	escrow    uint64 // value in escrow; each audit reduces it by 1
}

func newFake() *fakeReplica {
	network := digest.Of("test/network")
	return &fakeReplica{
		network: network, started: time.Now(),
		status: api.Status{Network: network.String(), NetworkName: "fake", Shards: 1, Replicas: 4, Faulty: 1, Ready: true, HorizonMS: 900_000,
			HeaderDigest: digest.Of("test/header").String()},
		outputs: make(map[ledger.Outpoint]ledger.Output),
		owners:  make(map[ledger.TxID]api.TxAnswer),
		history: make(map[ledger.Address][]api.HistoryEntry),
	}
}

func (f *fakeReplica) fund(a ledger.Address, amounts ...uint64) {
	for i, amount := range amounts {
		f.outputs[ledger.Outpoint{Tx: ledger.TxID(a), Index: uint16(i)}] = ledger.Output{Address: a, Amount: amount}
	}
}

// lag makes the replica list its current outputs from now on, without later changes, until catchUp.
func (f *fakeReplica) lag() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = maps.Clone(f.outputs)
}

// catchUp makes the replica list its current outputs again.
func (f *fakeReplica) catchUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = nil
}

func (f *fakeReplica) Submit(_ context.Context, _ string, txs [][]byte, wait api.Wait, _ bool) []api.TxAnswer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.submits++
	if f.override != nil {
		if answers := f.override(f.submits, txs, wait); answers != nil {
			return answers
		}
	}
	out := make([]api.TxAnswer, len(txs))
	for i, raw := range txs {
		out[i] = f.settle(raw)
	}
	return out
}

func (f *fakeReplica) settle(raw []byte) api.TxAnswer {
	verified, err := ledger.VerifyTx(sig.NewEd25519(), f.network, raw)
	var refused *ledger.Refusal
	if errors.As(err, &refused) {
		return api.TxAnswer{State: api.StateRejected, Reason: refused.Reason.String(), Detail: refused.Detail}
	}
	tx := verified.Tx()
	if known, ok := f.owners[tx.ID()]; ok {
		return known
	}
	f.status.Height++
	answer := api.TxAnswer{ID: tx.ID(), State: api.StateSettled, Height: f.status.Height, Certified: true}
	for _, in := range tx.Inputs {
		if _, ok := f.outputs[in.Outpoint]; !ok {
			answer.State, answer.Reason = api.StateRejected, ledger.ReasonConsumed.String()
		}
	}
	f.owners[tx.ID()] = answer
	if answer.State == api.StateRejected {
		return answer
	}
	f.status.TxsOrdered++
	for _, in := range tx.Inputs {
		delete(f.outputs, in.Outpoint)
		a := ledger.AddressOf(in.Key)
		f.history[a] = append([]api.HistoryEntry{{Tx: tx.ID(), Height: f.status.Height, Spent: in.Amount}}, f.history[a]...)
	}
	for i, o := range tx.Outputs {
		f.outputs[ledger.Outpoint{Tx: tx.ID(), Index: uint16(i)}] = o
	}
	return answer
}

func (f *fakeReplica) Tx(_ context.Context, id ledger.TxID) (api.TxAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, ok := f.owners[id]; ok {
		return a, nil
	}
	return api.TxAnswer{}, api.ErrNotFound
}

func (f *fakeReplica) Trace(_ context.Context, id ledger.TxID, _ bool) (api.Trace, error) {
	if t, ok := f.traces[id]; ok {
		return t, nil
	}
	return api.Trace{}, api.ErrNotFound
}

func (f *fakeReplica) Account(_ context.Context, a ledger.Address, _ string, limit int, older string, historyLimit int) (api.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked != nil {
		f.asked()
	}
	acc := api.Account{Address: a, Height: f.status.Height, Shard: shard.Home(a, f.status.Shards)}
	outputs := f.outputs
	if f.behind != nil {
		outputs = f.behind
	}
	for at, o := range outputs {
		if o.Address != a {
			continue
		}
		acc.Balance += o.Amount
		acc.Count++
		if limit > 0 {
			acc.Outputs = append(acc.Outputs, api.Output{Tx: at.Tx, Index: at.Index, Amount: o.Amount})
		}
	}
	from := len(older) // the length of a cursor is the number of entries before it
	entries := f.history[a][min(from, len(f.history[a])):]
	if len(entries) > historyLimit {
		entries = entries[:historyLimit]
		acc.Older = strings.Repeat("x", from+historyLimit)
	}
	acc.History = entries
	acc.Unconfirmed = f.unconfirmed
	return acc, nil
}

func (f *fakeReplica) Block(_ context.Context, _ uint16, height uint64) (api.Block, error) {
	if height == 2 && f.rewritten {
		return api.Block{HeaderHash: digest.Of("test/rewritten").String()}, nil
	}
	return api.Block{HeaderHash: f.status.HeaderDigest}, nil
}

func (f *fakeReplica) Status() api.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// Network returns a report of this replica alone.
func (f *fakeReplica) Network(_ context.Context, others bool) api.NetworkReports {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reports != nil {
		return f.reports(others)
	}
	s := f.status
	size := api.ShardSize{Replicas: s.Replicas, Needed: s.Replicas - s.Faulty}
	n := api.NetworkReports{Network: s.Network, Name: s.NetworkName, Reports: []api.Report{{
		Shard: s.Shard, Replica: s.Replica, Height: s.Height, Ready: s.Ready, NotReady: s.NotReady, Answering: s.Replicas,
	}}}
	for range s.Shards {
		n.Shards = append(n.Shards, size)
	}
	return n
}

func (f *fakeReplica) Peers() []api.Peer {
	return []api.Peer{{Replica: 0, Self: true}, {Replica: 1, Connected: true, RTTMicros: 150}}
}

// Events returns one commit, of the current height, at the start of the replica and with replica 0 as leader, and a block
// for each height.
func (f *fakeReplica) Events(q api.EventQuery) (api.EventStream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []api.Event
	for height := uint64(1); height <= f.status.Height; height++ {
		all = append(all, api.Event{Kind: api.EventBlock, Height: height, Block: &api.BlockEvent{HeaderDigest: f.status.HeaderDigest, Epoch: 1}})
	}
	all = append(all, api.Event{Kind: api.EventCommit, Height: f.status.Height, Commit: &api.CommitEvent{Epoch: 1, AtUS: f.started.UnixMicro()}})
	return apitest.Listed(q, all...), nil
}

func (f *fakeReplica) Proof(context.Context, ledger.TxID) ([]byte, error) { return f.proof, nil }

func (f *fakeReplica) Audit(context.Context) (api.Audit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := api.Audit{Conserved: true, Height: f.status.Height, Escrow: f.escrow, Ceded: f.ceded}
	for _, o := range f.outputs {
		if f.home == nil || f.home.Genesis.Home(o.Address) == f.home.Shard {
			a.Unspent += o.Amount
		}
	}
	a.Unspent -= f.escrow + f.ceded
	f.escrow -= min(f.escrow, 1)
	if f.home != nil {
		a.Genesis = f.home.Genesis.Supply(f.home.Shard)
	}
	return a, nil
}

// openFake opens the fake replica of a home. Files in the home select its misbehaviour.
func openFake(home *config.Home) (replica, error) {
	if _, err := os.Stat(filepath.Join(home.Dir, "fail")); err == nil {
		return nil, errors.New("the file fail is in the home")
	}
	f := newFake()
	f.home, f.network = home, home.Genesis.ID()
	f.status.Network, f.status.Replica, f.status.Height = f.network.String(), uint16(home.Replica), 3
	f.status.Shard, f.status.Shards = home.Shard, len(home.Genesis.Shards)
	for _, a := range home.Genesis.Allocations {
		for i := range a.Outputs {
			f.outputs[ledger.Outpoint{Tx: ledger.TxID(a.Address), Index: uint16(i)}] = ledger.Output{Address: a.Address, Amount: a.Amount}
		}
	}
	if _, err := os.Stat(filepath.Join(home.Dir, "fork")); err == nil {
		f.status.HeaderDigest = digest.Of("test/fork").String()
	}
	if _, err := os.Stat(filepath.Join(home.Dir, "rewrite")); err == nil {
		f.rewritten = true
	}
	if _, err := os.Stat(filepath.Join(home.Dir, "forge")); err == nil {
		f.fund(home.Genesis.Allocations[home.Shard].Address, 1) // home of this address is this shard
	}
	if _, err := os.Stat(filepath.Join(home.Dir, "cede")); err == nil {
		f.ceded = 1
	}
	if _, err := os.Stat(filepath.Join(home.Dir, "hold")); err == nil {
		f.escrow = 3
	}
	return f, nil
}

// Run implements replica.
func (f *fakeReplica) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", f.home.Config.API.Address)
	if err != nil {
		return err
	}
	if err := f.home.Publish(nil, "http://"+l.Addr().String()); err != nil {
		return err
	}
	err = api.New(api.Config{}, f).Run(ctx, l)
	if _, serr := os.Stat(filepath.Join(f.home.Dir, "stubborn")); serr == nil {
		time.Sleep(time.Hour)
	}
	return err
}

// result is the exit code and the output of a command line.
type result struct {
	code     int
	out, err string
}

func (r result) json(t *testing.T, v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(r.out))
	if err := dec.Decode(v); err != nil || dec.More() {
		t.Fatalf("exit %d, standard output is not one JSON value: %v\n%s%s", r.code, err, r.out, r.err)
	}
}

// failure parses the error object on the last line of standard error.
func (r result) failure(t *testing.T) (code, message, hint string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	var v struct {
		Error struct{ Code, Message, Hint string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &v); err != nil || v.Error.Code == "" {
		t.Fatalf("no JSON error: %v\n%s", err, r.err)
	}
	return v.Error.Code, v.Error.Message, v.Error.Hint
}

func bdtnode(t *testing.T, args ...string) result {
	t.Helper()
	return bdtnodeUntil(t.Context(), args...)
}

func bdtnodeUntil(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := run(ctx, args, strings.NewReader(""), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// fakeNetwork is a replica that commands can talk to, with accounts on it.
type fakeNetwork struct {
	*fakeReplica
	url, keys string
	accounts  map[string]keystore.Account
}

// newNetwork serves a fake replica. The account alice has outputs of the given amounts, bob has none.
func newNetwork(t *testing.T, amounts ...uint64) *fakeNetwork {
	t.Helper()
	n := &fakeNetwork{fakeReplica: newFake(), keys: filepath.Join(t.TempDir(), "keys"), accounts: make(map[string]keystore.Account)}
	for _, name := range []string{"alice", "bob"} {
		acc, err := keystore.Open(n.keys).New(name, "")
		if err != nil {
			t.Fatal(err)
		}
		n.accounts[name] = acc
	}
	n.fund(n.accounts["alice"].Address, amounts...)
	s := httptest.NewServer(api.New(api.Config{}, n))
	t.Cleanup(s.Close)
	n.url = s.URL
	return n
}

// run runs a command on the network.
func (n *fakeNetwork) run(t *testing.T, args ...string) result {
	t.Helper()
	return bdtnode(t, append(args, "--node", n.url, "--keys", n.keys)...)
}
