package xshardnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/engine"
	"bdtnode/node/p2p"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	shards   = 3
	replicas = 4
	patience = 30 * time.Second
)

// world is three shards of real engines and services, joined in memory.
type world struct {
	t       *testing.T
	network *settlement.Network
	genesis uint64
	owners  [shards]*sig.Ed25519Key // one with outputs at home in each shard
	members [shards][replicas]*member
	deaf    atomic.Bool          // gossip is lost, all of it
	heard   [shards]atomic.Int64 // messages of gossip that all replicas of the shard have received
	stop    context.CancelFunc
	running sync.WaitGroup
}

type member struct {
	w       *world
	shard   uint16
	index   protocols.Index
	state   *ledger.State
	engine  *engine.Engine
	service *Service
	server  *Server
	client  *Client
	dead    atomic.Bool
	links   [replicas][2]chan []byte
}

func key(t *testing.T, b ...byte) *sig.Ed25519Key {
	t.Helper()
	seed := make([]byte, sig.SeedSize)
	copy(seed, b)
	k, err := sig.Ed25519FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, genesis: uint64(time.Now().UnixMilli())}
	id := digest.Of("test")
	var signers [shards][replicas]*sig.Ed25519Key
	var committees []*protocols.Committee
	for s := range shards {
		var keys []sig.PublicKey
		for i := range replicas {
			signers[s][i] = key(t, 1, byte(s), byte(i))
			keys = append(keys, signers[s][i].Public())
		}
		c, err := protocols.NewCommittee(id, uint16(s), keys)
		if err != nil {
			t.Fatal(err)
		}
		committees = append(committees, c)
	}
	w.network = settlement.NetworkOf(committees)
	var allocations []ledger.Allocation
	for s := range shards {
		for b := byte(0); w.owners[s] == nil; b++ {
			if k := key(t, 2, b); shard.Home(ledger.AddressOf(k.Public()), shards) == uint16(s) {
				w.owners[s] = k
			}
		}
		allocations = append(allocations, ledger.Allocation{Address: ledger.AddressOf(w.owners[s].Public()), Amount: 10, Outputs: 64})
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	for s := range shards {
		for i := range replicas {
			m := &member{w: w, shard: uint16(s), index: protocols.Index(i)}
			w.members[s][i] = m
			store := kv.NewMem()
			var err error
			m.state, err = ledger.Open(kv.NewMem(), ledger.Config{
				Network: id, Shard: m.shard, Home: w.network.Home, GenesisTimeMS: w.genesis, HorizonMS: 600_000,
				Allocations: allocations, Rules: settlement.Standard(),
			})
			if err != nil {
				t.Fatal(err)
			}
			tosses := coin.NewIdeal(1, committees[s].WeakQuorum())
			m.engine, err = engine.New(engine.Config{Store: store, Net: m, Config: driver.Config{
				Coin: tosses, Shares: tosses.Holder(m.index),
				Committee: committees[s], Self: m.index, Signer: signers[s][i], Scheme: sig.NewEd25519(), GenesisTimeMS: w.genesis,
				State: m.state, Limits: admission.StandardLimits(), Network: w.network,
			}})
			if err != nil {
				t.Fatal(err)
			}
			m.service, m.client = New(m.engine, m), NewClient(m)
			m.server = NewServer(m.service, func(_ context.Context, from Peer, call []byte) ([]byte, int) {
				return fmt.Appendf(nil, "%d/%d said %s", from.Shard, from.Replica, call), 0
			})
			for k := range m.links {
				m.links[k] = [2]chan []byte{make(chan []byte, 1<<12), make(chan []byte, 1<<12)}
			}
		}
	}
	for s := range shards {
		for i := range replicas {
			m := w.members[s][i]
			w.running.Go(func() { w.end(m.engine.Run(ctx)) })
			w.running.Go(func() { w.end(m.service.Run(ctx)) })
			for k := range replicas {
				for class := range 2 {
					w.running.Go(func() { m.carry(ctx, protocols.Index(k), p2p.Class(class)) })
				}
				if k != i {
					m.engine.Connected(protocols.Index(k))
				}
			}
		}
	}
	return w
}

func (w *world) end(err error) {
	if err != nil {
		w.t.Error(err)
	}
}

func (w *world) close() {
	w.stop()
	w.running.Wait()
}

// Send implements engine.Sender.
func (m *member) Send(to protocols.Index, class p2p.Class, frame []byte) {
	select {
	case m.links[to][class] <- frame:
	default:
		m.w.t.Error("a link is full")
	}
}

func (m *member) carry(ctx context.Context, to protocols.Index, class p2p.Class) {
	for {
		select {
		case frame := <-m.links[to][class]:
			peer := m.w.members[m.shard][to]
			if m.dead.Load() || peer.dead.Load() {
				continue
			}
			if err := peer.engine.Receive(m.index, class, frame); err != nil {
				m.w.t.Errorf("refused: %v", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// Publish implements Network.
func (m *member) Publish(shard uint16, data []byte) {
	if m.w.deaf.Load() || m.dead.Load() {
		return
	}
	for _, peer := range m.w.members[shard] {
		if !peer.dead.Load() {
			if err := peer.service.Gossip(data); err != nil && !errors.Is(err, driver.ErrHeld) {
				m.w.t.Errorf("gossip refused: %v", err)
			}
		}
	}
	m.w.heard[shard].Add(1)
}

// Request implements Network.
func (m *member) Request(ctx context.Context, shard uint16, to protocols.Index, request []byte, _ int64, each func([]byte) error) error {
	peer := m.w.members[shard][to]
	if m.dead.Load() || peer.dead.Load() {
		return errors.New("out of reach")
	}
	return peer.server.Serve(ctx, Peer{Shard: m.shard, Replica: m.index}, request, each)
}

// pay makes a transaction with an input of each shard in from and an output in each in to. It picks output n of those that
// replica 1 of the shard has, which is the one that settles waits for.
func (w *world) pay(n int, from, to []int) *ledger.Tx {
	w.t.Helper()
	body := ledger.Body{Network: w.network.ID(), ExpiryMS: uint64(time.Now().Add(time.Minute).UnixMilli())}
	var signers []sig.Signer
	for _, s := range from {
		owner := w.owners[s]
		page, err := w.members[s][1].state.Account(ledger.AddressOf(owner.Public()), ledger.Page{Limit: 64})
		if err != nil {
			w.t.Fatal(err)
		}
		body.Inputs = append(body.Inputs, ledger.Input{Outpoint: page.Outputs[n].Outpoint, Key: owner.Public(), Amount: 10})
		signers = append(signers, owner)
	}
	left := uint64(10 * len(from))
	for k, s := range to {
		amount := uint64(1)
		if k == len(to)-1 {
			amount = left
		}
		left -= amount
		body.Outputs = append(body.Outputs, ledger.Output{Address: ledger.AddressOf(w.owners[s].Public()), Amount: amount})
	}
	tx, err := body.Sign(signers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return tx
}

// settles submits a transaction at one shard only and waits until the others involved have their part.
func (w *world) settles(at int, tx *ledger.Tx, where []int, want ledger.Stage) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if p := w.members[at][1].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Final)[0]; !p.Reached(engine.Final) || p.Refusal != nil {
		for s := range shards {
			for _, m := range w.members[s] {
				channels, _ := m.state.Channels()
				w.t.Logf("shard %d replica %d dead %v: %+v executed %d next LD %d, channels %+v", s, m.index, m.dead.Load(), m.engine.Status(), m.state.Height(), m.engine.Exchange().Position(uint16((s+1)%shards)), channels)
			}
		}
		w.t.Fatalf("no final answer at shard %d: %+v", at, p)
	}
	for _, s := range where {
		for ctx.Err() == nil {
			part, ok, err := w.members[s][1].state.Part(tx.ID())
			if err != nil {
				w.t.Fatal(err)
			}
			if ok && part.Stage == want {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	if ctx.Err() != nil {
		w.t.Fatalf("transaction is not %s everywhere", want)
	}
}

func TestShardsSettle(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.settles(0, w.pay(0, []int{0}, []int{1}), []int{0, 1}, ledger.StageSettled)
	// Shard 1 is never told by a client.
	w.settles(0, w.pay(1, []int{0, 1}, []int{0, 1}), []int{0, 1}, ledger.StageSettled)
	w.settles(1, w.pay(2, []int{1}, []int{0}), []int{0, 1}, ledger.StageSettled)
}

func TestGossipIsOnlyAHint(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.deaf.Store(true)
	w.settles(0, w.pay(0, []int{0, 1}, []int{1}), []int{0, 1}, ledger.StageSettled)
	w.deaf.Store(false)
	w.settles(1, w.pay(1, []int{1}, []int{0}), []int{0, 1}, ledger.StageSettled)
}

// A burst is lost, then one LD arrives: the gap is pulled by number.
func TestGapsArePulled(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	w.deaf.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for n := range 5 {
		tx := w.pay(10+n, []int{0}, []int{1})
		if p := w.members[0][n%replicas].engine.Submit(ctx, "", []*ledger.Tx{tx}, engine.Ordered)[0]; !p.Reached(engine.Ordered) {
			t.Fatalf("not ordered: %+v", p)
		}
	}
	w.deaf.Store(false)
	w.settles(0, w.pay(0, []int{0}, []int{1}), []int{0, 1}, ledger.StageSettled)
}

func TestOneReplicaOfEachShardIsDead(t *testing.T) {
	for dead := 2; dead < replicas; dead++ { // not the leader, nor the one that answers
		w := newWorld(t)
		w.members[0][dead].dead.Store(true)
		w.members[1][dead].dead.Store(true)
		for n := range 4 {
			w.settles(n%2, w.pay(n, []int{0, 1}, []int{0, 1}), []int{0, 1}, ledger.StageSettled)
		}
		w.close()
	}
}

// A call reaches the replica that it is for, which is told whose call it is. One that is too large is not answered.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, server := w.members[0][3].client, w.members[0][3].server
	if answer, err := r.Call(ctx, 1, 2, []byte("hello"), 100); err != nil || string(answer) != "0/3 said hello" {
		t.Errorf("%q, %v", answer, err)
	}
	w.members[1][2].dead.Store(true)
	if _, err := r.Call(ctx, 1, 2, []byte("hello"), 100); err == nil {
		t.Error("a replica out of reach answered")
	}
	large := make([]byte, maxCall+1)
	if _, err := r.Call(ctx, 1, 1, large, 100); err == nil {
		t.Error("a call that is too large was sent")
	}
	if err := server.Serve(ctx, Peer{Shard: 1, Replica: 0}, append([]byte{askCall}, large...), func([]byte) error { return nil }); err == nil {
		t.Error("a call that is too large was answered")
	}
}

// A replica has a few requests of a kind in service, and another one has its own.
func TestPlacesOfRequests(t *testing.T) {
	const places = 8 // for questions of one replica for the position
	w := newWorld(t)
	defer w.close()
	r := w.members[0][0].server
	ask := func(peer Peer, w func([]byte) error) error {
		return r.Serve(context.Background(), peer, []byte{askNext}, w)
	}
	block, entered, done := make(chan struct{}), make(chan struct{}), make(chan error)
	for range places {
		go func() {
			done <- ask(Peer{Shard: 1, Replica: 2}, func([]byte) error { entered <- struct{}{}; <-block; return nil })
		}()
		<-entered
	}
	none := func([]byte) error { return nil }
	if ask(Peer{Shard: 1, Replica: 2}, none) == nil {
		t.Errorf("more than %d are served", places)
	}
	if err := ask(Peer{Shard: 1, Replica: 3}, none); err != nil {
		t.Errorf("another replica: %v", err)
	}
	close(block)
	for range places {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := ask(Peer{Shard: 1, Replica: 2}, none); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestGarbage(t *testing.T) {
	w := newWorld(t)
	defer w.close()
	m := w.members[0][0]
	for _, data := range [][]byte{nil, []byte("x"), make([]byte, 4000)} {
		if m.service.Gossip(data) == nil {
			t.Errorf("%d bytes of garbage were taken from gossip", len(data))
		}
	}
	none := func([]byte) error { return nil }
	for _, request := range [][]byte{nil, {0}, {99}, {askLDs}, {askLDs, 1}, {giveLD}, {giveLD, 1, 2, 3}} {
		if err := m.server.Serve(context.Background(), Peer{Shard: 1, Replica: 0}, request, none); err == nil {
			t.Errorf("request %v was answered", request)
		}
	}
}
