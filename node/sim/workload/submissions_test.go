package workload

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/rig"
	"bdtnode/protocols"
)

// notes are the checks of a run. They record the answers that clients got.
type notes struct {
	Checks
	accepted, refused map[ledger.TxID][]protocols.Index // replicas, in the order of their answers
	reasons           map[ledger.TxID]ledger.Reason
	never             map[ledger.TxID]bool
	reviewed          int
}

func (c *notes) Accepted(n observe.Replica, tx *ledger.Tx) {
	c.accepted[tx.ID()] = append(c.accepted[tx.ID()], n.ID())
	c.Checks.Accepted(n, tx)
}

func (c *notes) Refused(n observe.Replica, id ledger.TxID, reason ledger.Reason) {
	c.refused[id], c.reasons[id] = append(c.refused[id], n.ID()), reason
	c.Checks.Refused(n, id, reason)
}

func (c *notes) Never(shard uint16, id ledger.TxID) {
	c.never[id] = true
	c.Checks.Never(shard, id)
}

func (c *notes) Review(n observe.Replica) {
	c.reviewed++
	c.Checks.Review(n)
}

// clientRig is a shard with clients that do nothing by themselves.
type clientRig struct {
	*rig.Rig
	*notes
	t       *testing.T
	clients *Workload
}

func newClients(t *testing.T, cfg Config) *clientRig {
	t.Helper()
	r, err := rig.New(4)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Coins = []uint32{0}
	c := &clientRig{r, &notes{
		Checks: r.Checks, accepted: make(map[ledger.TxID][]protocols.Index), refused: make(map[ledger.TxID][]protocols.Index),
		reasons: make(map[ledger.TxID]ledger.Reason), never: make(map[ledger.TxID]bool),
	}, t, New(r.System, cfg)}
	c.clients.SetChecks(c.notes)
	c.clients.Start(r.Now().Add(time.Hour))
	return c
}

// plays carries out the events of a time, and requires that no check fails.
func (c *clientRig) plays(d time.Duration) {
	c.t.Helper()
	if c.For(d); c.Violation != nil {
		c.t.Fatal(c.Violation)
	}
}

// answers are the answers that clients got from a replica for a transaction.
func (c *clientRig) answers(n *machine.Machine, id ledger.TxID) (out []string) {
	for _, e := range c.Events {
		if e.What == "answer tx" && e.Who == int(n.ID()) {
			if a, ok := e.Detail.(answer); ok && a.ID == id {
				out = append(out, a.String())
			}
		}
	}
	return out
}

// payment is a payment of a new coin.
func (c *clientRig) payment() *ledger.Tx { return c.clients.Payment(0) }

// unknown is a payment of an output that does not exist.
func (c *clientRig) unknown(number byte) *ledger.Tx {
	x := coin{ledger.Outpoint{Tx: ledger.TxID(digest.Of("test output", []byte{number}))}, 0, coinValue}
	return c.clients.clients[0].spend(x, c.Now().Add(Lifetime).Millis(), false)
}

// TestAnswers: clients read the answers of a replica, and report acceptances and final refusals.
func TestAnswers(t *testing.T) {
	c := newClients(t, Config{})
	n, tx := c.Machines[1], c.payment()
	c.clients.Submit(n, tx)
	c.plays(5 * time.Second)
	if got := c.accepted[tx.ID()]; !slices.Equal(got, []protocols.Index{1}) {
		t.Errorf("accepted by %v", got)
	}
	if got := c.answers(n, tx.ID()); len(got) != 2 || got[0] != "accepted" || got[1] != "settled at 1" {
		t.Errorf("answers %q", got)
	}
	if r, ok, err := c.Machines[2].Receipt(tx.ID()); err != nil || !ok || r.Verdict != ledger.VerdictSettled {
		t.Errorf("receipt %+v", r)
	}
	double := c.clients.clients[0].spend(coin{tx.Inputs[0].Outpoint, 0, coinValue}, c.Now().Add(time.Minute).Millis(), false)
	if double.ID() == tx.ID() {
		t.Fatal("both are one transaction")
	}
	c.clients.Submit(n, double)
	c.plays(5 * time.Second)
	if len(c.accepted[double.ID()]) > 0 || c.reasons[double.ID()] != ledger.ReasonConsumed {
		t.Errorf("a double spend is accepted by %v, refused for %v", c.accepted[double.ID()], c.reasons[double.ID()])
	}
	if open := c.clients.submissions.open; len(open) > 0 {
		t.Errorf("%d submissions are open; of the first: %+v, %+v", len(open), open[0].final.Progress(open[0].tx.ID()), *open[0])
	}
	if c.reviewed == 0 {
		t.Error("no replica was asked for the transactions that it accepted")
	}
}

// alone cuts a replica from the others until the returned function is called, so that it accepts transactions and no block
// has them.
func (c *clientRig) alone(n *machine.Machine) (join func()) {
	side := make([]bool, len(c.Machines))
	side[n.Place()] = true
	return c.Network.Part(side)
}

// TestLostTransaction: the check of promises fails if a replica forgets an accepted transaction, at its next start and when
// clients ask.
func TestLostTransaction(t *testing.T) {
	for _, again := range []bool{true, false} {
		c := newClients(t, Config{})
		n, tx := c.Machines[1], c.payment()
		c.alone(n)
		before := n.CopyStores()
		c.clients.Submit(n, tx)
		c.plays(2 * time.Second)
		if len(c.accepted[tx.ID()]) != 1 {
			t.Fatalf("accepted by %v", c.accepted[tx.ID()])
		}
		n.Crash()
		if !again {
			n.SetStores(before, false)
		}
		n.Start()
		c.For(10 * time.Second)
		if failed := c.Violation != nil; failed == again {
			t.Errorf("its store has the transaction: %v; violation %v", again, c.Violation)
		} else if failed {
			var check string
			if _, err := fmt.Sscanf(c.Violation.Error(), "%s", &check); err != nil || check != "promises:" {
				t.Errorf("%v, want a violation of promises", c.Violation)
			}
		}
	}
}

// TestCrashBeforeAnswer: a client brings a transaction again if its replica crashed before the answer, unless clients
// submit once.
func TestCrashBeforeAnswer(t *testing.T) {
	for _, once := range []bool{false, true} {
		c := newClients(t, Config{Once: once})
		n, tx := c.Machines[1], c.payment()
		before := n.CopyStores()
		c.SyncMean = time.Hour
		c.clients.Submit(n, tx)
		n.Fall(time.Second)
		n.SetStores(before, false) // nothing of it was on disk
		c.SyncMean = time.Millisecond
		c.plays(20 * time.Second)
		if got := len(c.accepted[tx.ID()]) > 0; got == once {
			t.Errorf("clients submit once: %v; accepted: %v; up %v, running %v", once, got, n.Alive(), n.Running())
		}
	}
}

// TestDeadReplica: if the replica failed for good, and none has accepted the transaction, the client brings it to another
// one.
func TestDeadReplica(t *testing.T) {
	c := newClients(t, Config{})
	n, tx := c.Machines[1], c.payment()
	c.SyncMean = time.Hour
	c.clients.Submit(n, tx)
	n.Kill()
	c.SyncMean = time.Millisecond
	c.plays(10 * time.Second)
	if got := c.accepted[tx.ID()]; len(got) != 1 || got[0] == 1 {
		t.Errorf("accepted by %v", got)
	}
}

// TestPauses: a transaction with an unknown input is brought again after longer and longer pauses, and no more when the load
// has ended.
func TestPauses(t *testing.T) {
	c := newClients(t, Config{})
	n, tx := c.Machines[1], c.unknown(1)
	c.clients.Submit(n, tx)
	c.plays(4 * time.Minute)
	var at []time.Duration
	for _, e := range c.Events {
		if a, ok := e.Detail.(answer); ok && e.What == "answer tx" && a.ID == tx.ID() && a.Refusal != nil {
			at = append(at, e.At)
		}
	}
	if len(at) < 5 || len(at) > 12 {
		t.Fatalf("refused %d times in 4 minutes", len(at))
	}
	for i := 2; i < len(at); i++ {
		if before, now := at[i-1]-at[i-2], at[i]-at[i-1]; now < before-pollEvery || now > longestPause+20*time.Second {
			t.Errorf("refused at %v", at)
		}
	}
	c.Active = false
	c.plays(5 * time.Minute)
	if n := len(c.clients.submissions.open); n > 0 {
		t.Errorf("%d submissions are open after the end of the load", n)
	}
}

// TestUnknownInputAppears: a transaction that waits for its input is accepted once the input exists, also if the replica
// refused the transaction before.
func TestUnknownInputAppears(t *testing.T) {
	for _, late := range []time.Duration{time.Second, 30 * time.Second} {
		c := newClients(t, Config{})
		first := c.payment()
		owner := 0
		for c.clients.clients[0].address(owner) != first.Outputs[0].Address {
			owner++
		}
		second := c.clients.clients[0].spend(coin{ledger.Outpoint{Tx: first.ID()}, owner, first.Outputs[0].Amount}, c.Now().Add(Lifetime).Millis(), false)
		c.clients.Submit(c.Machines[1], second)
		c.plays(late)
		if len(c.accepted[second.ID()]) > 0 {
			t.Error("accepted before its input exists")
		}
		c.clients.Submit(c.Machines[2], first)
		c.plays(time.Minute)
		if r, ok, err := c.Machines[0].Receipt(second.ID()); err != nil || !ok || r.Verdict != ledger.VerdictSettled {
			t.Errorf("its input came after %v: receipt %+v", late, r)
		}
	}
}
