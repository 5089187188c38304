package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
)

// spend makes a transaction of the owner with one input, which pays the owner.
func (c *cluster) spend(o ledger.Outpoint, lifetime time.Duration, fee uint64) *ledger.Tx {
	c.t.Helper()
	tx, err := (&ledger.Body{
		Network: c.committee.Network(), ExpiryMS: uint64(time.Now().Add(lifetime).UnixMilli()), Fee: fee,
		Inputs:  []ledger.Input{{Outpoint: o, Key: c.owner.Public(), Amount: 10}},
		Outputs: []ledger.Output{{Address: ledger.AddressOf(c.owner.Public()), Amount: 10 - fee}},
	}).Sign(c.owner)
	if err != nil {
		c.t.Fatal(err)
	}
	return tx
}

// until polls until ok returns true.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// A transaction that a replica accepted, and that a block left out since another replica's transaction spent its input,
// gets its final answer from the first replica in an idle shard, also after a restart.
func TestAcceptedAndLeftOutGetsItsEnd(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			c := newCluster(t)
			c.nodes[0].start()
			c.nodes[1].start()
			coin := ledger.Outpoint{Tx: genesisTx(c, ledger.AddressOf(c.owner.Public())), Index: 3}
			parent, rival := c.spend(coin, time.Minute, 0), c.spend(coin, time.Minute, 1)
			child := c.spend(ledger.Outpoint{Tx: parent.ID()}, 3*time.Second, 0)
			for _, p := range c.submit(0, Logged, parent.Encode(), child.Encode()) { // at this replica alone, so that no block has them
				if !p.Logged {
					t.Fatalf("not accepted: %+v", p)
				}
			}
			c.nodes[0].kill()
			c.nodes[2].start()
			c.nodes[3].start()
			c.connect()
			if p := c.submit(1, Final, rival.Encode())[0]; p.Receipt.Verdict != ledger.VerdictSettled {
				t.Fatalf("%+v", p)
			}
			c.nodes[0].start()
			c.connect()
			c.until("the parent is rejected", func() bool {
				p, ok := c.nodes[0].up().Find(parent.ID())
				return ok && p.Receipt.Reason == ledger.ReasonConsumed
			})
			if p, ok := c.nodes[0].up().Find(child.ID()); !ok || !p.Logged && !p.Ended() {
				t.Fatalf("the accepted child is %v %+v", ok, p)
			}
			if restart {
				c.nodes[0].kill()
				c.nodes[0].start()
				c.connect()
				if p, ok := c.nodes[0].up().Find(child.ID()); !ok || !p.Logged && !p.Ended() {
					t.Fatalf("after a restart the accepted child is %v %+v", ok, p)
				}
			}
			c.until("the child has its final answer", func() bool {
				p, ok := c.nodes[0].up().Find(child.ID())
				return ok && p.Ended()
			})
			if p, _ := c.nodes[0].up().Find(child.ID()); p.Receipt.Reason != ledger.ReasonExpired && (p.Refusal == nil || p.Refusal.Reason != ledger.ReasonExpired) {
				t.Errorf("the answer is %+v, want expired", p)
			}
			c.stopAll()
		})
	}
}

// A replica whose clock is past an expiry gives no final answer: block time may still be before the expiry, so the
// transaction may settle.
func TestTheClockEndsNothing(t *testing.T) {
	c := newCluster(t)
	c.genesis -= 60_000
	c.nodes[0].start()
	c.nodes[1].start()
	defer c.stopAll()
	h, _, _ := c.nodes[0].state.Tip()
	tx := c.spend(ledger.Outpoint{Tx: genesisTx(c, ledger.AddressOf(c.owner.Public())), Index: 3}, -30*time.Second, 0)
	p := c.submit(0, Logged, tx.Encode())[0]
	if p.Refusal == nil || p.Refusal.Final() {
		t.Fatalf("%+v, want a refusal that is not final", p)
	}
	b, err := c.nodes[0].state.Execute(ledger.CommittedBlock{Height: h.Height + 1, Epoch: 1, Digest: digest.Of("b"), TimeMS: h.TimeMS + 10, Payloads: []*ledger.Payload{{Txs: []*ledger.Tx{tx}}}})
	if err != nil || len(b.Receipts) != 1 || b.Receipts[0].Verdict != ledger.VerdictSettled {
		t.Errorf("%+v, %v", b, err)
	}
}

// Transactions of keys without outputs take no place from others, and are in no batch.
func TestJunkFillsNothing(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	c.settle(0, 2, 0, 1)
	var junk [][]byte
	for i := range 1000 {
		junk = append(junk, c.spend(ledger.Outpoint{Tx: ledger.TxID(digest.Of("none", []byte(fmt.Sprint(i))))}, time.Minute, 0).Encode())
	}
	for _, p := range c.submit(0, Logged, junk...) {
		if !p.Waiting || p.Logged || p.Refusal != nil {
			t.Fatalf("%+v, want it to wait", p)
		}
	}
	c.settle(2, 10, 0, 1, 2, 3)
	c.agree()
	if a := c.nodes[0].up().Holding(); a.Mempool != 0 || a.Orphans != 1000 {
		t.Errorf("admission holds %+v", a)
	}
	for h := uint64(1); h <= c.nodes[0].state.Height(); h++ {
		if txs, ok, err := c.nodes[0].state.BlockTxs(h); err != nil || !ok || len(txs) > 8 {
			t.Errorf("block %d has %d transactions, %v", h, len(txs), err)
		}
	}
}

// counting counts the signatures that are verified.
type counting struct {
	sig.Scheme
	items atomic.Int64
}

func (s *counting) VerifyAll(items []sig.Check) bool {
	s.items.Add(int64(len(items)))
	return s.Scheme.VerifyAll(items)
}

// Many posts of one transaction with an input that never appears cost one signature and one wait each, have one place
// together, and cost nothing after their clients have left.
func TestRepeatedPostsCostLittle(t *testing.T) {
	const posts = 250
	c := newCluster(t)
	scheme := &counting{Scheme: c.scheme}
	c.scheme = scheme
	c.startAll()
	defer c.stopAll()
	e := c.nodes[0].up()
	junk := c.spend(ledger.Outpoint{Tx: ledger.TxID(digest.Of("none"))}, time.Minute, 0).Encode()
	ctx, leave := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range posts {
		wg.Go(func() {
			for _, p := range e.Submit(ctx, "attacker", c.decoded(junk), Final) {
				if p.Logged || p.Receipt.Height > 0 {
					t.Errorf("%+v", p)
				}
			}
		})
	}
	c.until("all posts wait", func() bool { return e.Holding().Waits == posts })
	if got := scheme.items.Load(); got > posts {
		t.Errorf("%d signatures verified for %d posts of one transaction", got, posts)
	}
	if a := e.Holding(); a.Orphans != 1 || a.Mempool != 0 {
		t.Errorf("admission holds %+v for one transaction", a)
	}
	c.settle(1, 9, 0, 1, 2, 3)
	leave()
	wg.Wait()
	if a := e.Holding(); a.Waits != 0 {
		t.Errorf("%d waits of clients that are gone", a.Waits)
	}
}
