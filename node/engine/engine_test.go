package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/p2p"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/shard/settlement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	replicas  = 4
	supply    = 64 // genesis outputs of the one account
	patience  = 20 * time.Second
	horizonMS = 10 * 60_000
)

// cluster is a shard of real engines on real goroutines, connected by links in memory.
type cluster struct {
	t         *testing.T
	committee *protocols.Committee
	signers   []*sig.Ed25519Key
	owner     *sig.Ed25519Key
	scheme    sig.Scheme
	genesis   uint64
	nodes     []*member
}

type member struct {
	c       *cluster
	index   protocols.Index
	store   *kv.Mem
	ledger  *kv.Mem
	state   *ledger.State
	engine  *Engine
	mu      sync.Mutex
	queues  map[link]chan []byte
	stop    context.CancelFunc
	done    chan error
	running sync.WaitGroup
	adjust  func(*driver.Config) // if not nil, changes the configuration of the next starts
}

type link struct {
	to    protocols.Index
	class p2p.Class
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, scheme: sig.NewEd25519(), genesis: uint64(time.Now().UnixMilli())}
	c.committee, c.signers = committeetest.Ed25519(t, replicas, digest.Of("test"), 0)
	var err error
	if c.owner, err = sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), 99)); err != nil {
		t.Fatal(err)
	}
	for i := range replicas {
		c.nodes = append(c.nodes, &member{c: c, index: protocols.Index(i), store: kv.NewMem(), ledger: kv.NewMem()})
	}
	return c
}

// open opens the ledger in a store.
func (c *cluster) open(store kv.Store) *ledger.State {
	c.t.Helper()
	state, err := ledger.Open(store, ledger.Config{
		Network: c.committee.Network(), Home: func(ledger.Address) uint16 { return 0 },
		GenesisTimeMS: c.genesis, HorizonMS: horizonMS,
		Allocations: []ledger.Allocation{{Address: ledger.AddressOf(c.owner.Public()), Amount: 10, Outputs: supply}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}

// start starts a replica from its stores.
func (m *member) start() {
	t := m.c.t
	t.Helper()
	m.state = m.c.open(m.ledger)
	tosses := coin.NewIdeal(1, m.c.committee.WeakQuorum())
	cfg := driver.Config{
		Committee: m.c.committee, Self: m.index, Signer: m.c.signers[m.index], Scheme: m.c.scheme,
		Coin: tosses, Shares: tosses.Holder(m.index),
		GenesisTimeMS: m.c.genesis, State: m.state, Limits: admission.StandardLimits(), Vouched: 1,
		Network: settlement.NetworkOf([]*protocols.Committee{m.c.committee}),
	}
	if m.adjust != nil {
		m.adjust(&cfg)
	}
	engine, err := New(Config{Store: m.store, Config: cfg, Net: m})
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.engine = engine
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.done, m.queues = cancel, make(chan error, 1), make(map[link]chan []byte)
	for i := range replicas {
		if protocols.Index(i) == m.index {
			continue
		}
		for _, class := range []p2p.Class{p2p.Control, p2p.Bulk} {
			q := make(chan []byte, 1<<14)
			m.queues[link{protocols.Index(i), class}] = q
			m.running.Go(func() { m.carry(ctx, protocols.Index(i), class, q) })
		}
	}
	done := m.done
	m.running.Go(func() { done <- engine.Run(ctx) })
}

// Send implements Sender.
func (m *member) Send(to protocols.Index, class p2p.Class, frame []byte) {
	select {
	case m.queues[link{to, class}] <- frame:
	default:
		m.c.t.Errorf("link from %d to %d is full", m.index, to)
	}
}

func (m *member) carry(ctx context.Context, to protocols.Index, class p2p.Class, q chan []byte) {
	for {
		select {
		case frame := <-q:
			if peer := m.c.nodes[to].up(); peer != nil {
				if err := peer.Receive(m.index, class, frame); err != nil {
					m.c.t.Errorf("replica %d refused a frame of replica %d: %v", to, m.index, err)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

func (m *member) up() *Engine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.engine
}

// kill ends a replica at once: data that its stores had not synced is lost.
func (m *member) kill() {
	m.stop()
	m.running.Wait()
	if err := <-m.done; err != nil {
		m.c.t.Errorf("replica %d: %v", m.index, err)
	}
	m.mu.Lock()
	m.engine = nil
	m.mu.Unlock()
	m.store, m.ledger = m.store.Crash(0), m.ledger.Crash(0)
}

func (c *cluster) connect() {
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if a != b && a.up() != nil && b.up() != nil {
				a.up().Connected(b.index)
			}
		}
	}
}

func (c *cluster) startAll() {
	for _, m := range c.nodes {
		m.start()
	}
	c.connect()
}

func (c *cluster) stopAll() {
	for _, m := range c.nodes {
		if m.up() != nil {
			m.kill()
		}
	}
}

// transfer spends genesis output i.
func (c *cluster) transfer(i int, amount, fee uint64) []byte {
	c.t.Helper()
	owner := ledger.AddressOf(c.owner.Public())
	page, err := c.nodes[1].state.Account(owner, ledger.Page{HistoryLimit: 1})
	if err != nil || len(page.History) == 0 {
		c.t.Fatalf("genesis is not to be found: %v", err)
	}
	body := ledger.Body{
		Network: c.committee.Network(), ExpiryMS: uint64(time.Now().Add(time.Minute).UnixMilli()),
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: genesisTx(c, owner), Index: uint16(i)}, Key: c.owner.Public(), Amount: 10}},
		Outputs: []ledger.Output{{Address: ledger.Address(digest.Of("payee", []byte{byte(i)})), Amount: amount}},
		Fee:     fee,
	}
	tx, err := body.Sign(c.owner)
	if err != nil {
		c.t.Fatal(err)
	}
	return tx.Encode()
}

func genesisTx(c *cluster, owner ledger.Address) ledger.TxID {
	page, err := c.nodes[1].state.Account(owner, ledger.Page{Limit: 1})
	if err == nil && len(page.Outputs) > 0 {
		return page.Outputs[0].Outpoint.Tx
	}
	c.t.Fatalf("no genesis output left: %v", err)
	return ledger.TxID{}
}

// decoded decodes transactions, as the node does before it submits them.
func (c *cluster) decoded(raws ...[]byte) []*ledger.Tx {
	txs := make([]*ledger.Tx, len(raws))
	for i, raw := range raws {
		var err error
		if txs[i], err = ledger.DecodeTx(raw); err != nil {
			c.t.Error(err)
			panic(err)
		}
	}
	return txs
}

func (c *cluster) submit(at int, stage Stage, txs ...[]byte) []Progress {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.nodes[at].up().Submit(ctx, "", c.decoded(txs...), stage)
}

// settle submits transfers of genesis outputs from..to-1 round-robin and fails unless each settles.
func (c *cluster) settle(from, to int, at ...int) {
	c.t.Helper()
	var wg sync.WaitGroup
	for i := from; i < to; i++ {
		raw, where := c.transfer(i, 9, 1), at[i%len(at)]
		wg.Go(func() {
			for _, p := range c.submit(where, Certified, raw) {
				if !p.Certified || p.Receipt.Verdict != ledger.VerdictSettled {
					c.t.Errorf("transfer %d at replica %d: %+v", i, where, p)
				}
			}
		})
	}
	wg.Wait()
}

// agree waits until all running replicas have the same height, and compares their headers.
func (c *cluster) agree() {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		seen := make(map[string]bool)
		for _, m := range c.nodes {
			if m.up() != nil {
				h, d, _ := m.state.Tip()
				seen[fmt.Sprintf("%d %s", h.Height, d)] = true
			}
		}
		if len(seen) == 1 {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("replicas do not come to one height: %v", seen)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestShardOrdersAndAnswers(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	c.settle(0, 24, 0, 1, 2, 3)
	c.agree()

	again := c.transfer(30, 10, 0)
	first := c.submit(2, Ordered, again)[0]
	for at := range replicas {
		if p := c.submit(at, Ordered, again)[0]; p.Receipt != first.Receipt {
			t.Errorf("replica %d answers %+v to the same transaction, first it was %+v", at, p, first)
		}
	}
	if p := c.submit(1, Ordered, c.transfer(30, 8, 2))[0]; p.Refusal == nil || p.Refusal.Reason != ledger.ReasonConsumed {
		t.Errorf("a spent output was accepted: %+v", p)
	}
	forged := slices.Clone(c.transfer(31, 9, 1))
	forged[len(forged)-1] ^= 1
	if p := c.submit(0, Ordered, forged)[0]; p.Refusal == nil || p.Refusal.Reason != ledger.ReasonBadSignature {
		t.Errorf("garbage was accepted: %+v", p)
	}
}

func TestDoubleSpendAtTwoReplicas(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	outcomes := make([]Progress, 2)
	var wg sync.WaitGroup
	for k := range outcomes {
		raw := c.transfer(0, uint64(9-k), uint64(1+k))
		wg.Go(func() { outcomes[k] = c.submit(k+1, Final, raw)[0] })
	}
	wg.Wait()
	settled := 0
	for _, p := range outcomes {
		if p.Refusal == nil && p.Receipt.Verdict == ledger.VerdictSettled {
			settled++
		} else if p.Refusal != nil && p.Refusal.Reason != ledger.ReasonConsumed || p.Refusal == nil && p.Receipt.Reason != ledger.ReasonConsumed {
			t.Errorf("the loser was told %+v", p)
		}
	}
	if settled != 1 {
		t.Errorf("%d of two conflicting transactions settled", settled)
	}
	c.agree()
}

func TestOneAwayCatchesUp(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	c.settle(0, 8, 0, 1, 2, 3)
	c.nodes[3].kill()
	c.settle(8, 24, 0, 1, 2)
	c.nodes[3].start()
	c.connect()
	c.agree()
	c.settle(24, 32, 3)
}

func TestAllKilledGoOn(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	for round := range 3 {
		c.settle(8*round, 8*round+8, 0, 1, 2, 3)
		kept := c.transfer(40+round, 10, 0)
		if p := c.submit(round, Logged, kept)[0]; !p.Reached(Logged) {
			t.Fatalf("not accepted: %+v", p)
		}
		c.stopAll()
		c.startAll()
		deadline := time.Now().Add(patience)
		tx, err := ledger.DecodeTx(kept)
		if err != nil {
			t.Fatal(err)
		}
		for {
			if p, ok := c.nodes[1].up().Find(tx.ID()); ok && p.Reached(Final) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("an accepted transaction was lost when all replicas were killed")
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	c.agree()
	c.stopAll()
}

func TestStopsWhenTheDiskFails(t *testing.T) {
	c := newCluster(t)
	for _, m := range c.nodes {
		m.start()
	}
	c.connect()
	broken := errors.New("the disk is gone")
	c.nodes[2].store.Fail(broken)
	c.submitBrief(2, c.transfer(0, 10, 0))
	m := c.nodes[2]
	if err := <-m.done; !errors.Is(err, broken) {
		t.Errorf("the engine ended with %v, want the disk's error", err)
	}
	m.stop()
	m.running.Wait()
	m.mu.Lock()
	m.engine = nil
	m.mu.Unlock()
	c.stopAll()
}

func (c *cluster) submitBrief(at int, raw []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	c.nodes[at].up().Submit(ctx, "", c.decoded(raw), Logged)
}
