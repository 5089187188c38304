package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/pay"
	"bdtnode/cmd/bdtnode/registry"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/shard"
)

// balanceAt is the balance of an account.
func (n *fakeNetwork) balanceAt(t *testing.T, name string) uint64 {
	t.Helper()
	var b balance
	n.run(t, "query", "balance", name, "-o", "json").json(t, &b)
	return b.Balance
}

// send pays 10 from alice to bob.
func (n *fakeNetwork) send(t *testing.T, args ...string) (r result, answer api.TxAnswer) {
	t.Helper()
	r = n.run(t, append([]string{"tx", "send", "--from", "alice", "--to", "bob", "--amount", "10", "-o", "json"}, args...)...)
	if r.out != "" {
		r.json(t, &answer)
	}
	return r, answer
}

// TestSendTwice: the second of two payments spends other outputs than the first, although the replica that is asked
// does not know the first one yet.
func TestSendTwice(t *testing.T) {
	for _, amounts := range [][]uint64{{10, 20, 30}, {100}} {
		n := newNetwork(t, amounts...)
		n.lag() // as a replica that is behind does
		for range 3 {
			if r, _ := n.send(t, "--wait", "accepted"); r.code != 0 {
				t.Errorf("exit %d %s", r.code, r.err)
			}
		}
		n.catchUp()
		if got := n.balanceAt(t, "bob"); got != 30 {
			t.Errorf("outputs %v: bob has %d", amounts, got)
		}
	}
}

// TestSendFiveAtOnce: payments of concurrent processes all settle, with outputs of their own or with each other's
// change.
func TestSendFiveAtOnce(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, amounts := range [][]uint64{{10, 10, 10, 10, 10, 10}, {100}} {
		n := newNetwork(t, amounts...)
		n.lag()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				send := exec.Command(program, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10", "--node", n.url, "--keys", n.keys)
				if out, err := send.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		all.Wait()
		n.catchUp()
		if got := n.balanceAt(t, "bob"); got != 50 {
			t.Errorf("outputs %v: bob has %d", amounts, got)
		}
	}
}

// TestSendAfterAKilledPayment: a payment whose change is spent is submitted again, because its process may have been
// killed before it submitted it.
func TestSendAfterAKilledPayment(t *testing.T) {
	n := newNetwork(t, 100)
	key, err := n.accounts["alice"].Unlock(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := reservationsDir()
	if err != nil {
		t.Fatal(err)
	}
	w := pay.NewWallet(key)
	w.Add(pay.Coin{Outpoint: ledger.Outpoint{Tx: ledger.TxID(w.Address())}, Amount: 100})
	expiry := uint64(time.Now().Add(time.Minute).UnixMilli())
	lost, err := w.Transfer(pay.Terms{Network: n.network, ExpiryMS: expiry}, n.accounts["bob"].Address, 7)
	if err != nil {
		t.Fatal(err)
	}
	err = pay.Reserve(t.Context(), dir, n.network, w.Address(), 0, func(r *pay.Reservations) error { return r.Add(lost, true) })
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := n.send(t); r.code != 0 {
		t.Errorf("exit %d %s", r.code, r.err)
	}
	if got := n.balanceAt(t, "bob"); got != 17 {
		t.Errorf("bob has %d", got)
	}
}

// TestSendWaitsForChange: the change of a payment between shards is spent only after that payment has settled.
func TestSendWaitsForChange(t *testing.T) {
	n := newNetwork(t, 100)
	n.status.Shards = 2
	for shard.Home(n.accounts["alice"].Address, 2) == shard.Home(n.accounts["bob"].Address, 2) {
		os.Remove(n.keys + "/bob.json")
		bob, err := keystore.Open(n.keys).New("bob", "")
		if err != nil {
			t.Fatal(err)
		}
		n.accounts["bob"] = bob
	}
	var open []byte
	n.override = func(nth int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		if nth > 1 {
			return nil
		}
		open = txs[0]
		tx, _ := ledger.DecodeTx(open)
		return []api.TxAnswer{{ID: tx.ID(), State: api.StateAccepted}}
	}
	if r, _ := n.send(t, "--wait", "accepted"); r.code != 0 {
		t.Fatalf("exit %d %s", r.code, r.err)
	}
	if r, _ := n.send(t, "--timeout", "1ms"); r.code != output.ExitFailure || !strings.Contains(r.err, "not settled yet") || n.submits != 1 {
		t.Errorf("exit %d after %d submissions: %s", r.code, n.submits, r.err)
	}
	asked := 0
	n.asked = func() {
		if asked++; asked == 2 {
			n.settle(open)
		}
	}
	if r, _ := n.send(t); r.code != 0 || asked < 2 {
		t.Errorf("exit %d after %d queries: %s", r.code, asked, r.err)
	}
	if got := n.balanceAt(t, "bob"); got != 20 {
		t.Errorf("bob has %d", got)
	}
}

// TestSendRetriesWithOtherOutputs: outputs spent by another machine are replaced by others, and the exit code is that
// of the last payment.
func TestSendRetriesWithOtherOutputs(t *testing.T) {
	n := newNetwork(t, 10, 15, 40)
	n.lag()
	for i := range uint16(2) { // spent by another machine
		delete(n.outputs, ledger.Outpoint{Tx: ledger.TxID(n.accounts["alice"].Address), Index: i})
	}
	r, answer := n.send(t)
	if r.code != 0 || answer.State != api.StateSettled || n.submits != 3 || strings.Count(r.err, "is rejected: consumed. Paying with other outputs") != 2 {
		t.Errorf("exit %d after %d submissions: %+v %s", r.code, n.submits, answer, r.err)
	}
	n.catchUp()
	if got := n.balanceAt(t, "bob"); got != 10 {
		t.Errorf("bob has %d", got)
	}
}

// TestSendRetriesAreBounded: if all outputs are spent by another machine, the error is the last rejection.
func TestSendRetriesAreBounded(t *testing.T) {
	n := newNetwork(t, 10, 10)
	n.lag()
	clear(n.outputs)
	r, answer := n.send(t)
	if r.code != output.ExitRejected || answer.Reason != "consumed" || n.submits != 1+maxRebuilds {
		t.Errorf("exit %d after %d submissions: %s", r.code, n.submits, r.err)
	}
}

// TestSendDeniedRejection: a rejection that another replica denies is not final, and no other transaction is made.
func TestSendDeniedRejection(t *testing.T) {
	denied, n := newNetwork(t), newNetwork(t, 10, 10)
	denied.outputs = map[ledger.Outpoint]ledger.Output{}
	for at, o := range n.outputs {
		denied.outputs[at] = o
	}
	denied.override = func(_ int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		tx, _ := ledger.DecodeTx(txs[0])
		return []api.TxAnswer{{ID: tx.ID(), State: api.StateRejected, Reason: "consumed"}}
	}
	known, err := registry.Add(registry.Dir(), registry.Entry{
		Name: "net", Network: n.network.String(), Accounts: n.keys,
		Replicas: []registry.Replica{{Replica: 0, API: denied.url}, {Replica: 1, API: n.url}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer known.Remove()
	r := bdtnode(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10")
	if r.code != output.ExitUnknown || denied.submits != 1 {
		t.Errorf("exit %d after %d submissions: %s", r.code, denied.submits, r.err)
	}
	if got := n.balanceAt(t, "bob"); got != 10 {
		t.Errorf("bob has %d", got)
	}
}

// TestSendPaysLeastFee: the default fee is the least fee for the size of the transaction, and a lower --fee is refused.
func TestSendPaysLeastFee(t *testing.T) {
	n := newNetwork(t, 10_000)
	n.status.LeastFee = 3
	var tx *ledger.Tx
	n.override = func(_ int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		tx, _ = ledger.DecodeTx(txs[0])
		return nil
	}
	if r, _ := n.send(t, "--fee", "20"); r.code != output.ExitUsage || !strings.Contains(r.err, "--fee: the fee is too low: the network takes at least") {
		t.Errorf("exit %d %s", r.code, r.err)
	}
	if r, _ := n.send(t); r.code != 0 || tx.Fee != 3*uint64(len(tx.Encode())) {
		t.Errorf("exit %d: fee %d for %d bytes: %s", r.code, tx.Fee, len(tx.Encode()), r.err)
	}
	if r, _ := n.send(t, "--fee", "2000"); r.code != 0 || tx.Fee != 2000 {
		t.Errorf("exit %d: fee %d: %s", r.code, tx.Fee, r.err)
	}
	if r, s := sendFile(t, n, "alice,bob,10\nalice,bob,20\n"); r.code != 0 || s.Settled != 2 || tx.Fee < 3*uint64(len(tx.Encode())) {
		t.Errorf("%d %+v: %s", r.code, s, r.err)
	}
}

// TestSendFileNextToOtherPayments: a file does not spend outputs that another process has reserved. A transfer whose
// outputs were spent by another machine is made again.
func TestSendFileNextToOtherPayments(t *testing.T) {
	n := newNetwork(t, 10, 10, 10, 10)
	n.lag()
	if r, _ := n.send(t, "--wait", "accepted"); r.code != 0 {
		t.Fatal(r.err)
	}
	for at, o := range n.outputs { // spent by another machine
		if o.Address == n.accounts["alice"].Address {
			delete(n.outputs, at)
			break
		}
	}
	r, s := sendFile(t, n, "alice,bob,10\nalice,bob,10\n")
	if r.code != 0 || s.Settled != 2 || s.Rejected != 0 {
		t.Errorf("%d %+v %s", r.code, s, r.err)
	}
	n.catchUp()
	if got := n.balanceAt(t, "bob"); got != 30 {
		t.Errorf("bob has %d", got)
	}
}

// TestUnconfirmedListKeepsReservations: a list of outputs on which too few replicas agree does not end a reservation.
func TestUnconfirmedListKeepsReservations(t *testing.T) {
	n := newNetwork(t, 10, 10, 10)
	dir, err := reservationsDir()
	if err != nil {
		t.Fatal(err)
	}
	first := ledger.Outpoint{}
	for i, unconfirmed := range []bool{false, true, false} {
		n.unconfirmed = unconfirmed
		r, answer := n.send(t)
		if r.code != 0 {
			t.Fatalf("exit %d %s", r.code, r.err)
		}
		err := pay.Reserve(t.Context(), dir, n.network, n.accounts["alice"].Address, 0, func(r *pay.Reservations) error {
			if i == 0 {
				for index := range uint16(3) {
					if at := (ledger.Outpoint{Tx: ledger.TxID(n.accounts["alice"].Address), Index: index}); r.Taken(at) {
						first = at
					}
				}
			}
			if kept := r.Taken(first); kept != (i < 2) {
				t.Errorf("after payment %d, %s: reserved %t", i, answer.ID, kept)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSendWithoutReservations: if the directory of reservations cannot be created, payments are still made.
func TestSendWithoutReservations(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", writeFile(t, "")) // a file
	n := newNetwork(t, 10)
	if r, _ := n.send(t); r.code != 0 || !strings.Contains(r.err, "payments of other processes are not taken into account") {
		t.Errorf("exit %d %s", r.code, r.err)
	}
}

// TestRealPayments: on a network of real processes, concurrent payments all settle, although they are more than the
// outputs of the account, inside a shard and across, each through another replica.
func TestRealPayments(t *testing.T) {
	if apart(t) {
		return
	}
	n := startNet(t)
	n.ready(t)
	var all sync.WaitGroup
	for i := range 7 { // the first five spend all ten outputs
		all.Go(func() {
			r := bdtnode(t, "tx", "send", "--from", "dave", "--to", []string{"bob", "alice"}[i%2], "--amount", "130000", "--node", n.intro.Replicas[i].API)
			if r.code != 0 {
				t.Errorf("exit %d: %s", r.code, r.err)
			}
		})
	}
	all.Wait()
	for name, want := range map[string]uint64{"dave": 90_000, "bob": 1_520_000, "alice": 1_390_000} {
		for t.Context().Err() == nil && !t.Failed() {
			var b balance
			bdtnode(t, "query", "balance", name, "-o", "json").json(t, &b)
			if b.Balance == want {
				break
			}
			time.Sleep(20 * time.Millisecond) // the replica that is asked may be the last one to execute the block
		}
	}
	n.stop(t)
}
