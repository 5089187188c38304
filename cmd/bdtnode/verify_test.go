package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	"bdtnode/node/client"
	"bdtnode/shard/proof"
)

// example is a file of the examples of proofs.
func example(name string) string {
	return filepath.Join("..", "..", "shard", "proof", "testdata", name)
}

// TestVerify: verify needs files alone, shows the result of a right proof, and ends with code 8 and the part of a wrong one.
func TestVerify(t *testing.T) {
	genesis, across := example("genesis.json"), example("across-settled.proof")
	var v verified
	r := bdtnode(t, "verify", across, "--genesis", genesis, "-o", "json")
	r.json(t, &v)
	if r.code != 0 || v.State != "settled" || v.Reason != "" || len(v.Results) != 3 || len(v.Outputs) != 1 || v.Outputs[0].Amount != 100 {
		t.Errorf("exit %d %s%s", r.code, r.out, r.err)
	}
	if r := bdtnode(t, "verify", across, "--genesis", genesis, "--tx", v.Tx); r.code != 0 || !strings.Contains(r.out, "proof    right\n") {
		t.Errorf("exit %d %s%s", r.code, r.out, r.err)
	}
	if r := bdtnode(t, "verify", example("returned.proof"), "--genesis", genesis); r.code != 0 || !strings.Contains(r.out, "reason   consumed") || !strings.Contains(r.out, "returned (consumed)") {
		t.Errorf("exit %d %s%s", r.code, r.out, r.err)
	}
	raw, err := os.ReadFile(across)
	if err != nil {
		t.Fatal(err)
	}
	file := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	of := func(at int) []byte { c := bytes.Clone(raw); c[len(c)+at] ^= 1; return c }
	other, err := os.ReadFile(genesis)
	if err != nil {
		t.Fatal(err)
	}
	otherGenesis := file(bytes.Replace(other, []byte(`"network"`), []byte(`"another"`), 1))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a changed path":      {[]string{file(of(-1)), "--genesis", genesis}, output.ExitBadProof, "bad proof: receipt: shard 1, block 2: no path"},
		"a changed signature": {[]string{file(of(-150)), "--genesis", genesis}, output.ExitBadProof, "bad proof: certificate: shard 1, block 2: the signature of replica 2"},
		"cut":                 {[]string{file(raw[:500]), "--genesis", genesis}, output.ExitBadProof, "bad proof: encoding: "},
		"no proof":            {[]string{genesis, "--genesis", genesis}, output.ExitBadProof, "bad proof: encoding: not a proof"},
		"empty":               {[]string{file(nil), "--genesis", genesis}, output.ExitBadProof, "bad proof: encoding: not a proof"},
		"too long":            {[]string{file(make([]byte, proof.MaxBytes+1)), "--genesis", genesis}, output.ExitBadProof, "at most 2097152 allowed"},
		"another genesis":     {[]string{across, "--genesis", otherGenesis}, output.ExitBadProof, "bad proof: network: the transaction is of network"},
		"another transaction": {[]string{across, "--genesis", genesis, "--tx", strings.Repeat("0", 64)}, output.ExitBadProof, "bad proof: transaction: the proof is right, but about transaction " + v.Tx},
		"no genesis":          {[]string{across}, output.ExitUsage, "--genesis"},
		"no such genesis":     {[]string{across, "--genesis", "none"}, output.ExitUsage, "none"},
		"a wrong genesis":     {[]string{across, "--genesis", across}, output.ExitUsage, "not valid JSON"},
		"no such proof":       {[]string{"none", "--genesis", genesis}, output.ExitUsage, "none"},
		"a wrong id":          {[]string{across, "--genesis", genesis, "--tx", "12"}, output.ExitUsage, "not a transaction id"},
	} {
		r := bdtnode(t, append([]string{"verify", "-o", "json"}, c.args...)...)
		_, message, _ := r.failure(t)
		if r.code != c.code || !strings.Contains(message, c.want) || r.out != "" {
			t.Errorf("%s: exit %d, %q; want %d, %q", name, r.code, message, c.code, c.want)
		}
	}
}

// TestWriteProof: tx get --prove writes the proof of the replica, and writes nothing if the replica sends no proof.
func TestWriteProof(t *testing.T) {
	n := newNetwork(t, 100)
	_, paid := n.send(t)
	path := filepath.Join(t.TempDir(), "pay.proof")
	if r := n.run(t, "tx", "get", paid.ID.String(), "--prove", path); r.code != output.ExitFailure || !strings.Contains(r.err, "not a proof") {
		t.Errorf("exit %d %s", r.code, r.err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was written")
	}
	want, err := os.ReadFile(example("three-settled.proof"))
	if err != nil {
		t.Fatal(err)
	}
	n.proof = want
	r := n.run(t, "tx", "get", paid.ID.String(), "--prove", path, "-o", "json")
	var answer api.TxAnswer
	r.json(t, &answer)
	if got, err := os.ReadFile(path); r.code != 0 || err != nil || !bytes.Equal(got, want) || answer.ID != paid.ID {
		t.Errorf("exit %d %s %v", r.code, r.err, err)
	}
}

// TestRealProofs: on a network of real replicas, transactions of every kind have proofs, from every replica of every shard,
// and verify accepts them with the genesis of the network only.
func TestRealProofs(t *testing.T) {
	if apart(t) {
		return
	}
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home)
	n.ready(t)
	p := &proofs{t: t, net: n, genesis: filepath.Join(home, "genesis.json"), keys: make(map[string]*sig.Ed25519Key)}
	for _, name := range []string{"alice", "bob", "carol"} {
		a, err := keystore.Open(filepath.Join(home, "accounts")).Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.keys[name], err = a.Unlock(nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range n.intro.Replicas {
		c, err := client.New(r.API, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.clients = append(p.clients, c)
	}
	inside := p.pay("carol")
	p.check(inside, "settled", "", "0 settled")
	p.check(p.pay("bob"), "settled", "", "0 spent, 0 settled, 1 settled")
	p.check(p.returned(), "rejected", "unknown_input", "0 spent, 0 returned, 1 rejected")
	p.check(p.rejected(), "rejected", "consumed", "0 rejected")
	p.refusedElsewhere(inside)
	p.none()
	n.stop(t)
}

// proofs makes transactions on a real network of two shards, and checks their proofs.
type proofs struct {
	t       *testing.T
	net     *runningNet
	genesis string
	clients []*client.Client // of the replicas of shard 0, then of shard 1
	keys    map[string]*sig.Ed25519Key
}

// pay pays 5 from alice, whose shard is 0.
func (p *proofs) pay(to string) ledger.TxID {
	p.t.Helper()
	var answer api.TxAnswer
	r := bdtnode(p.t, "tx", "send", "--from", "alice", "--to", to, "--amount", "5", "-o", "json")
	r.json(p.t, &answer)
	if r.code != 0 || answer.State != api.StateSettled {
		p.t.Fatalf("exit %d %s%s", r.code, r.out, r.err)
	}
	return answer.ID
}

// coin is an unspent output of an account.
func (p *proofs) coin(name string) ledger.Input {
	p.t.Helper()
	key := p.keys[name].Public()
	a, err := p.clients[0].Account(p.t.Context(), ledger.AddressOf(key), client.AccountQuery{Outputs: 1})
	if err != nil || len(a.Outputs) == 0 {
		p.t.Fatal(a, err)
	}
	o := a.Outputs[0]
	return ledger.Input{Outpoint: ledger.Outpoint{Tx: o.Tx, Index: o.Index}, Key: key, Amount: o.Amount}
}

// tx spends inputs of accounts in favour of carol.
func (p *proofs) tx(fee uint64, inputs []ledger.Input, from ...string) *ledger.Tx {
	p.t.Helper()
	st, err := p.clients[0].Status(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	network, err := digest.Parse(st.Network)
	if err != nil {
		p.t.Fatal(err)
	}
	var sum uint64
	for _, in := range inputs {
		sum += in.Amount
	}
	var signers []sig.Signer
	for _, name := range from {
		signers = append(signers, p.keys[name])
	}
	body := ledger.Body{
		Network: network, ExpiryMS: uint64(time.Now().Add(time.Minute).UnixMilli()), Inputs: inputs, Fee: fee,
		Outputs: []ledger.Output{{Address: ledger.AddressOf(p.keys["carol"].Public()), Amount: sum - fee}},
	}
	tx, err := body.Sign(signers...)
	if err != nil {
		p.t.Fatal(err)
	}
	return tx
}

// returned is a transaction with inputs in both shards, of which the one in shard 1 does not exist. Shard 0 puts its own
// input into escrow and returns it.
func (p *proofs) returned() ledger.TxID {
	p.t.Helper()
	missing := ledger.Input{Outpoint: ledger.Outpoint{Tx: ledger.TxID{1}}, Key: p.keys["bob"].Public(), Amount: 10}
	tx := p.tx(0, []ledger.Input{p.coin("alice"), missing}, "alice", "bob")
	if _, err := p.clients[0].Submit(p.t.Context(), [][]byte{tx.Encode()}, api.WaitOrdered, 20*time.Second); err != nil {
		p.t.Fatal(err)
	}
	return tx.ID()
}

// rejected is a transaction that a block rejected, because another one had spent its input. Two such transactions go to two
// replicas at the same time, again with other ones if a replica refuses the second before it is in a block.
func (p *proofs) rejected() ledger.TxID {
	p.t.Helper()
	for fee := uint64(1); p.t.Context().Err() == nil; fee += 2 {
		in := []ledger.Input{p.coin("alice")}
		answers := make([][]api.TxAnswer, 2)
		var wg sync.WaitGroup
		for i := range answers {
			tx := p.tx(fee+uint64(i), in, "alice")
			wg.Go(func() {
				var err error
				if answers[i], err = p.clients[1+i].Submit(p.t.Context(), [][]byte{tx.Encode()}, api.WaitSettled, 20*time.Second); err != nil {
					p.t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, a := range answers {
			if len(a) == 1 && a[0].State == api.StateRejected && a[0].Height > 0 {
				return a[0].ID
			}
		}
	}
	p.t.Fatal("no block rejected one of two transactions with the same input")
	return ledger.TxID{}
}

// prove waits until a replica has the proof of a transaction, and returns the file.
func (p *proofs) prove(id ledger.TxID, node string) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "tx.proof")
	for {
		r := bdtnode(p.t, "tx", "get", id.String(), "--prove", path, "--node", node)
		if r.code == 0 {
			return path
		}
		// A shard may not have its last receipt yet, or not its certificate.
		if r.code != output.ExitNotFound && r.code != output.ExitUnhealthy || p.t.Context().Err() != nil {
			p.t.Fatalf("exit %d %s", r.code, r.err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// check checks the proofs that all replicas give of a transaction.
func (p *proofs) check(id ledger.TxID, state, reason, results string) {
	p.t.Helper()
	for _, r := range p.net.intro.Replicas {
		var v verified
		got := bdtnode(p.t, "verify", p.prove(id, r.API), "--genesis", p.genesis, "--tx", id.String(), "-o", "json")
		got.json(p.t, &v)
		var all []string
		for _, x := range v.Results {
			if len(x.Signers) != 2 || x.Height == 0 {
				p.t.Errorf("%+v", x)
			}
			all = append(all, fmt.Sprintf("%d %s", x.Shard, x.Verdict))
		}
		if text := strings.Join(all, ", "); got.code != 0 || v.State != state || v.Reason != reason || text != results {
			p.t.Errorf("replica %d of shard %d: exit %d, %s %s: %s; want %s %s: %s", r.Replica, r.Shard, got.code, v.State, v.Reason, text, state, reason, results)
		}
	}
}

// refusedElsewhere checks that the genesis of another network refuses a proof, also if all its keys are the same.
func (p *proofs) refusedElsewhere(id ledger.TxID) {
	p.t.Helper()
	raw, err := os.ReadFile(p.genesis)
	if err != nil {
		p.t.Fatal(err)
	}
	var g map[string]any
	if err := json.Unmarshal(raw, &g); err != nil {
		p.t.Fatal(err)
	}
	g["name"] = "another"
	if raw, err = json.Marshal(g); err != nil {
		p.t.Fatal(err)
	}
	other := filepath.Join(p.t.TempDir(), "genesis.json")
	if err := os.WriteFile(other, raw, 0o600); err != nil {
		p.t.Fatal(err)
	}
	path := p.prove(id, p.net.intro.Replicas[0].API)
	for _, genesis := range []string{other, example("genesis.json")} {
		if r := bdtnode(p.t, "verify", path, "--genesis", genesis); r.code != output.ExitBadProof || !strings.Contains(r.err, "bad proof: network: ") {
			p.t.Errorf("%s: exit %d %s", genesis, r.code, r.err)
		}
	}
}

// none checks that an unknown transaction has no proof.
func (p *proofs) none() {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "none.proof")
	for _, r := range p.net.intro.Replicas[:5] {
		if got := bdtnode(p.t, "tx", "get", strings.Repeat("ab", 32), "--prove", path, "--node", r.API); got.code != output.ExitNotFound {
			p.t.Errorf("exit %d %s", got.code, got.err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		p.t.Error("a file was written")
	}
}
