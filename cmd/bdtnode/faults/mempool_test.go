package faults

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/keystore"
	"bdtnode/cmd/bdtnode/netup"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/node/why"
)

// The funding with which a mempool of 32 MiB is filled: each transaction spends one output and has as many outputs as
// one may have, which counts as about 5 KiB.
const (
	fillers    = 8_000
	fillAmount = 10_000
	fillFee    = 9_000 // more for each byte than a payment of a test, which therefore replaces none
	fillAtOnce = 500
)

// mempoolFull: without a quorum nothing leaves the mempool, and a client fills it.
func mempoolFull(t *testing.T) {
	fund := netup.Funding{Dir: netup.LoadDir, Names: []string{"filler"}, Outputs: fillers, Amount: fillAmount}
	n := start(t, options{fundings: []netup.Funding{fund}})
	n.well()
	r := n.replicas[0]
	cl, err := client.New(r.url(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	txs := n.fillers(cl)
	n.replicas[2].suspend()
	n.replicas[3].suspend()
	taken := fill(t, cl, txs)
	t.Logf("%d transactions filled the mempool", taken)
	// A replica counts as full while it refuses transactions, so a client goes on.
	ctx, cancel := context.WithCancel(t.Context())
	var more sync.WaitGroup
	more.Go(func() {
		for ctx.Err() == nil {
			_, _ = cl.Submit(ctx, txs[taken:taken+1], api.WaitAccepted, 200*time.Millisecond) // refused
			time.Sleep(time.Second)
		}
	})
	defer more.Wait()
	defer cancel()
	n.shows("the full mempool", n.replicas[:2], func(s *state) error {
		x := s.row(r)
		if x.Health != api.HealthNotReady {
			return fmt.Errorf("%+v", x)
		}
		return s.line(r, api.HealthNotReady, "the mempool is full, or the share of it that one client may have: it has ")
	})
	r.logs("the mempool is full", map[string]string{"transactions": fmt.Sprint(taken)[:2]})
	last, err := ledger.DecodeTx(txs[taken-1])
	if err != nil {
		t.Fatal(err)
	}
	r.explains(last.ID(), want{why.NoQuorum, []int{2, 3}, nil})
	file := n.signed("alice", "carol", "5m")
	code, out, errs := n.cli("", "tx", "submit", file, "--node", r.url(), "--timeout", "2s", "-o", "json")
	if code == 0 || !bytes.Contains([]byte(out+errs), []byte("full")) {
		t.Errorf("a payment: exit %d, %s%s", code, out, errs)
	}
	refused, err := ledger.DecodeTx(readTx(t, file))
	if err != nil {
		t.Fatal(err)
	}
	r.explains(refused.ID(), want{why.Unknown, nil, []string{"does not have it", "Its mempool is full, or the share of it"}})
	n.replicas[2].resume()
	n.replicas[3].resume()
	cancel()
	r.logs("the mempool has room again", nil)
}

// fillers are transactions of the funded account, one for each output.
func (n *network) fillers(cl *client.Client) (txs [][]byte) {
	t := n.t
	t.Helper()
	accounts, err := keystore.Open(filepath.Join(n.dir, netup.LoadDir)).List()
	if err != nil {
		t.Fatal(err)
	}
	account := accounts[0]
	key, err := account.Unlock(func() (string, error) { return "", errors.New("it is not encrypted") })
	if err != nil {
		t.Fatal(err)
	}
	st, err := cl.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var q client.AccountQuery
	q.Outputs = api.MaxPage
	for {
		page, err := cl.Account(t.Context(), account.Address, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Outputs {
			txs = append(txs, filler(t, st.Network, key, &o))
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return txs
		}
	}
}

func filler(t *testing.T, network string, key sig.Signer, spent *api.Output) []byte {
	t.Helper()
	id, err := ledger.ParseTxID(network) // a digest in the same form
	if err != nil {
		t.Fatal(err)
	}
	body := ledger.Body{
		ExpiryMS: uint64(time.Now().Add(10 * time.Minute).UnixMilli()),
		Inputs:   []ledger.Input{{Outpoint: ledger.Outpoint{Tx: spent.Tx, Index: spent.Index}, Key: key.Public(), Amount: spent.Amount}},
		Fee:      fillFee,
	}
	copy(body.Network[:], id[:])
	left := spent.Amount - fillFee
	for i := range uint64(ledger.MaxOutputs) {
		amount := uint64(1)
		if i == 0 {
			amount = left - ledger.MaxOutputs + 1
		}
		body.Outputs = append(body.Outputs, ledger.Output{Address: ledger.AddressOf(key.Public()), Amount: amount})
	}
	tx, err := body.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return tx.Encode()
}

// fill submits transactions until the mempool takes none any more, and returns the number of those that it took.
func fill(t *testing.T, cl *client.Client, txs [][]byte) (taken int) {
	t.Helper()
	for taken < len(txs) {
		part := txs[taken:min(taken+fillAtOnce, len(txs))]
		answers, err := cl.Submit(t.Context(), part, api.WaitAccepted, 200*time.Millisecond)
		var full *client.ErrBookFull
		if errors.As(err, &full) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			if a.Reason == ledger.ReasonBookFull.String() {
				return taken
			}
			taken++
		}
	}
	t.Fatalf("%d transactions do not fill the mempool", taken)
	return 0
}

// readTx is the encoding of a transaction in a file of tx send --out.
func readTx(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
