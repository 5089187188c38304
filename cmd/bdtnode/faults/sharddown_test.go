package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/proctest"
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admin"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/node/config"
	"bdtnode/shard"
	"bdtnode/shard/settlement"
)

// The funding of the payments to a shard that is down: each spends one output, so that all are independent.
const (
	crossings   = 2_000 // more than the bound of LDs, because a block may have several
	crossAmount = 3
	maxMemory   = 300 << 20 // resident bytes of a replica
)

// TestShardDownForLong: all replicas of a shard are suspended, and the other shard makes LDs for it up to the bound. Then it
// refuses payments to the shard, and the API and the command name the shard, since when it is behind, and when to try again.
// Payments inside the other shard settle, and its replicas stay small. When the shard is back, it settles every payment that
// was accepted, in the order of the other shard.
func TestShardDownForLong(t *testing.T) {
	if !*everything {
		t.Log("not run without -faults")
		return
	}
	fund := netup.Funding{Dir: netup.LoadDir, Names: []string{"payer"}, Outputs: crossings, Amount: crossAmount}
	n := start(t, options{shards: 2, fundings: []netup.Funding{fund}})
	n.well()
	up, down := n.replicas[:perShard], n.replicas[perShard:]
	cl := n.client(up[0])
	most := watchMemory(up)
	began := time.Now()
	for _, r := range down {
		r.suspend()
	}
	txs := n.crossings(cl)
	accepted, refused := payUntilBusy(t, cl, txs)
	outstanding := n.channel(up[0])
	t.Logf("%d payments accepted in %v; %d LDs are not acknowledged", len(accepted), time.Since(began).Round(time.Second), outstanding)
	bound := settlement.Standard().MaxOutstanding
	if outstanding < bound || outstanding > bound+perShard {
		t.Errorf("%d LDs are not acknowledged, and the bound is %d", outstanding, bound)
	}
	isBusy(t, refused, began)
	// The command says the same, and nothing else waits for the shard.
	args := []string{"tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "--node", up[1].url(), "--keys", n.keys(), "--timeout", "5s"}
	n.await("every replica has reached the bound", func() error { return n.sendIsBusy(began, args) })
	code, out, errs := n.cli("", "tx", "send", "--from", "alice", "--to", "carol", "--amount", "5", "--node", up[2].url(), "--keys", n.keys(), "-o", "json")
	if code != 0 || !strings.Contains(out, `"settled"`) {
		t.Errorf("a payment inside the shard: exit %d %s%s", code, out, errs)
	}
	for range 20 { // more load changes nothing
		answers, err := cl.Submit(t.Context(), txs[len(accepted):][:100], api.WaitAccepted, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for i := range answers {
			isBusy(t, answers[i], began)
		}
	}
	if now := n.channel(up[0]); now > bound+perShard {
		t.Errorf("%d LDs are not acknowledged, and the bound is %d", now, bound)
	}
	for _, r := range down {
		r.resume()
	}
	n.ready(down...)
	n.await("the LDs are acknowledged", func() error {
		if left := n.channel(up[0]); left >= settlement.Standard().AnswerAfter { // fewer wait for the next block that the shard makes
			return fmt.Errorf("%d are not", left)
		}
		return nil
	})
	sameOrder(t, n.settled(down[3], accepted), accepted)
	n.await("payments to the shard are accepted again", func() error {
		code, out, errs := n.cli("", append(args, "-o", "json")...)
		if code != 0 || !strings.Contains(out, `"settled"`) {
			return fmt.Errorf("exit %d %s%s", code, out, errs)
		}
		return nil
	})
	if bytes, name := most(); bytes > maxMemory {
		t.Errorf("%s had %d MiB resident, more than %d", name, bytes>>20, maxMemory>>20)
	} else {
		t.Logf("%s had %d MiB resident, the most of all", name, bytes>>20)
	}
	n.well()
}

// client is a client of a replica.
func (n *network) client(r *replica) *client.Client {
	n.t.Helper()
	cl, err := client.New(r.url(), client.Options{})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(cl.Close)
	return cl
}

// crossings are payments of the funded account to bob, whose shard is another one, one for each output.
func (n *network) crossings(cl *client.Client) (txs [][]byte) {
	t := n.t
	t.Helper()
	account, key := n.funded()
	accounts, err := keystore.Open(n.keys()).List()
	if err != nil {
		t.Fatal(err)
	}
	bob := accounts[1].Address
	genesis, err := shard.ReadGenesis(config.GenesisPath(n.dir))
	if err != nil {
		t.Fatal(err)
	}
	for q := (client.AccountQuery{Outputs: api.MaxPage}); ; {
		page, err := cl.Account(t.Context(), account, q)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Outputs {
			txs = append(txs, crossing(t, genesis.ID(), key, &page.Outputs[i], bob))
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if to := genesis.Home(bob); len(txs) != crossings || to != 1 {
		t.Fatalf("%d payments to shard %d", len(txs), to)
	}
	return txs
}

// funded is the first account of the load, with its key.
func (n *network) funded() (ledger.Address, sig.Signer) {
	n.t.Helper()
	accounts, err := keystore.Open(filepath.Join(n.dir, netup.LoadDir)).List()
	if err != nil {
		n.t.Fatal(err)
	}
	key, err := accounts[0].Unlock(func() (string, error) { return "", errors.New("it is not encrypted") })
	if err != nil {
		n.t.Fatal(err)
	}
	return accounts[0].Address, key
}

func crossing(t *testing.T, network digest.Digest, key sig.Signer, spent *api.Output, to ledger.Address) []byte {
	t.Helper()
	body := ledger.Body{
		Network:  network,
		ExpiryMS: uint64(time.Now().Add(10 * time.Minute).UnixMilli()),
		Inputs:   []ledger.Input{{Outpoint: ledger.Outpoint{Tx: spent.Tx, Index: spent.Index}, Key: key.Public(), Amount: spent.Amount}},
		Outputs:  []ledger.Output{{Address: to, Amount: spent.Amount}},
	}
	tx, err := body.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return tx.Encode()
}

// payUntilBusy submits one payment after the other, each when the one before is ordered, until one is refused. It returns
// those that were ordered, in their order, and the refusal.
func payUntilBusy(t *testing.T, cl *client.Client, txs [][]byte) (accepted []ledger.TxID, refused api.TxAnswer) {
	t.Helper()
	for _, raw := range txs[:len(txs)-100] {
		answers, err := cl.Submit(t.Context(), [][]byte{raw}, api.WaitOrdered, within)
		if err != nil || len(answers) != 1 {
			t.Fatalf("%v, %v", answers, err)
		}
		switch a := answers[0]; a.State {
		case api.StateOrdered, api.StateCertified:
			accepted = append(accepted, a.ID)
		case api.StateUnknown:
			return accepted, a
		default:
			t.Fatalf("%+v", a)
		}
	}
	t.Fatal("no payment was refused")
	return nil, refused
}

// isBusy fails unless an answer names shard 1, since when it is behind, and when to try again.
func isBusy(t *testing.T, a api.TxAnswer, began time.Time) {
	t.Helper()
	if err := busy(a, began); err != nil {
		t.Error(err)
	}
}

func busy(a api.TxAnswer, began time.Time) error {
	since := time.UnixMilli(int64(a.BusySince))
	if a.State != api.StateUnknown || a.Reason != ledger.ReasonShardBusy.String() || a.BusyShard == nil || *a.BusyShard != 1 || a.RetryMS <= 0 ||
		since.Before(began.Add(-time.Minute)) || since.After(time.Now().Add(time.Minute)) || !strings.Contains(a.Detail, "shard 1 ") {
		return fmt.Errorf("%+v, since %v; the shard is down since %v", a, since, began)
	}
	return nil
}

// sendIsBusy fails unless tx send, as text and as JSON, says that shard 1 is too far behind.
func (n *network) sendIsBusy(began time.Time, args []string) error {
	var a api.TxAnswer
	code, out, errs := n.cli("", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != output.ExitUnknown {
		return fmt.Errorf("exit %d %v: %s%s", code, err, out, errs)
	}
	if err := busy(a, began); err != nil {
		return err
	}
	code, out, errs = n.cli("", args...)
	if text := out + errs; code != output.ExitUnknown || !strings.Contains(text, "shard_busy") || !strings.Contains(text, "shard 1 ") || !strings.Contains(text, "since ") {
		return fmt.Errorf("exit %d %s", code, text)
	}
	return nil
}

// channel is the number of LDs to shard 1 that a replica of shard 0 has not seen acknowledged.
func (n *network) channel(r *replica) uint64 {
	n.t.Helper()
	var s admin.Settlement
	c, err := admin.Dial(r.home)
	if err == nil {
		err = c.Get(n.t.Context(), "/v1/settlement", &s)
	}
	if err != nil || s.Ledger == nil || len(s.Ledger.Channels) != 1 {
		n.t.Fatalf("%+v, %v", s.Ledger, err)
	}
	return s.Ledger.Channels[0].Sent - s.Ledger.Channels[0].Shown
}

// settled are the transactions that a replica has settled, in its order. It waits for that many.
func (n *network) settled(r *replica, accepted []ledger.TxID) (ids []ledger.TxID) {
	t := n.t
	t.Helper()
	cl := n.client(r)
	n.await("the shard that was down has settled all payments", func() error {
		ids = ids[:0]
		_, err := cl.Events(t.Context(), client.EventQuery{From: "0", Kinds: []api.EventKind{api.EventSettlement}}, func(e api.Event) error {
			if e.Settlement != nil {
				if e.Settlement.Result != "settled" {
					t.Errorf("%+v", e.Settlement)
				}
				ids = append(ids, e.Settlement.Tx)
			}
			return nil
		})
		if err == nil && len(ids) < len(accepted) {
			err = fmt.Errorf("%d of %d", len(ids), len(accepted))
		}
		return err
	})
	return ids
}

// sameOrder fails unless the settled transactions are those that were accepted, in their order.
func sameOrder(t *testing.T, settled, accepted []ledger.TxID) {
	t.Helper()
	if len(settled) != len(accepted) {
		t.Fatalf("%d settled, %d accepted", len(settled), len(accepted))
	}
	for i := range accepted {
		if settled[i] != accepted[i] {
			t.Fatalf("payment %d is %s in the shard that was down, and %s in the other", i, settled[i], accepted[i])
		}
	}
}

// watchMemory samples the resident memory of replicas, see [proctest.WatchMemory].
func watchMemory(of []*replica) func() (most uint64, name string) {
	return proctest.WatchMemory(pollWait, func(yield func(string, int) bool) {
		for _, r := range of {
			if !yield(r.name(), r.cmd.Process.Pid) {
				return
			}
		}
	})
}
