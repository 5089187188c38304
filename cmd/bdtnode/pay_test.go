package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

func TestSend(t *testing.T) {
	n := newNetwork(t, 30, 30)
	var answer api.TxAnswer
	r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "45", "--fee", "5", "-o", "json")
	r.json(t, &answer)
	if r.code != 0 || answer.State != api.StateSettled {
		t.Fatalf("%d %s%s", r.code, r.out, r.err)
	}
	for name, want := range map[string]uint64{"alice": 10, "bob": 45} { // two inputs, change back, fee burned
		var b balance
		n.run(t, "query", "balance", name, "-o", "json").json(t, &b)
		if b.Balance != want {
			t.Errorf("%s has %d, want %d", name, b.Balance, want)
		}
	}
	var got api.TxAnswer
	r = n.run(t, "tx", "get", answer.ID.String(), "-o", "json")
	r.json(t, &got)
	if r.code != 0 || !reflect.DeepEqual(got, answer) {
		t.Errorf("tx get: %d %+v", r.code, got)
	}
	if r := n.run(t, "tx", "get", strings.Repeat("0", 64), "-o", "json"); r.code != output.ExitNotFound {
		t.Errorf("unknown id: %d %s", r.code, r.err)
	}
	if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "11", "-o", "json"); r.code != output.ExitFailure || !strings.Contains(r.err, "not enough") {
		t.Errorf("too much: %d %s", r.code, r.err)
	}
	if r := n.run(t, "tx", "send", "--from", "ghost", "--to", "bob", "--amount", "1"); r.code != output.ExitNotFound {
		t.Errorf("unknown payer: %d %s", r.code, r.err)
	}
	if r := n.run(t, "tx", "send", "--from", "alice", "--to", strings.Repeat("z", 64), "--amount", "1"); r.code != output.ExitUsage {
		t.Errorf("bad address: %d %s", r.code, r.err)
	}
}

// TestSubmitAgain: a signed transaction may be submitted any number of times, with one effect and the same answer.
func TestSubmitAgain(t *testing.T) {
	n := newNetwork(t, 30)
	file := filepath.Join(t.TempDir(), "pay.tx")
	var signed struct{ ID, Signed string }
	r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10", "--dry-run", "--out", file, "-o", "json")
	r.json(t, &signed)
	if r.code != 0 || n.submits != 0 {
		t.Fatalf("dry run: %d, submitted %d times", r.code, n.submits)
	}
	var answers [3]api.TxAnswer
	n.run(t, "tx", "submit", file, "-o", "json").json(t, &answers[0])
	n.run(t, "tx", "submit", file, "-o", "json").json(t, &answers[1])
	n.run(t, "tx", "submit", "--raw", signed.Signed, "-o", "json").json(t, &answers[2])
	for _, a := range answers {
		if !reflect.DeepEqual(a, answers[0]) || a.State != api.StateSettled || a.ID.String() != signed.ID {
			t.Errorf("answers %+v", answers)
		}
	}
	var b balance
	n.run(t, "query", "balance", "bob", "-o", "json").json(t, &b)
	if b.Balance != 10 {
		t.Errorf("bob has %d, want 10", b.Balance)
	}
}

func TestRejected(t *testing.T) {
	n := newNetwork(t, 30)
	file := filepath.Join(t.TempDir(), "pay.tx")
	n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10", "--dry-run", "--out", file)
	n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "20") // spends the same output
	var answer api.TxAnswer
	r := n.run(t, "tx", "submit", file, "-o", "json")
	r.json(t, &answer)
	if code, message, _ := r.failure(t); r.code != output.ExitRejected || code != "rejected" || !strings.Contains(message, "consumed") || answer.State != api.StateRejected {
		t.Errorf("%d %s %s %+v", r.code, code, message, answer)
	}
}

// TestOutcomeUnknown: at the timeout the id is printed, and the exit code means that the outcome is unknown.
func TestOutcomeUnknown(t *testing.T) {
	n := newNetwork(t, 30)
	n.override = func(_ int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		tx, err := ledger.DecodeTx(txs[0])
		if err != nil {
			t.Error(err)
		}
		return []api.TxAnswer{{ID: tx.ID(), State: api.StateAccepted, TimedOut: true}}
	}
	var answer api.TxAnswer
	r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10", "--timeout", "200ms", "-o", "json")
	r.json(t, &answer)
	code, message, hint := r.failure(t)
	if r.code != output.ExitUnknown || code != "outcome_unknown" || !strings.Contains(message, answer.ID.String()) || !strings.Contains(hint, "tx get "+answer.ID.String()) {
		t.Errorf("%d %s %s %s", r.code, code, message, hint)
	}
	if answer.ID == (ledger.TxID{}) {
		t.Error("no id")
	}
	if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10", "--wait", "accepted"); r.code != 0 {
		t.Errorf("--wait accepted: exit %d, want 0: %s", r.code, r.err)
	}
}

// TestDecimalAmounts: leading zeros do not make a number octal, in a flag or a file.
func TestDecimalAmounts(t *testing.T) {
	n := newNetwork(t, 100, 100)
	if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "010"); r.code != 0 {
		t.Errorf("%d %s", r.code, r.err)
	}
	if r, s := sendFile(t, n, "\ufefffrom,to,amount\r\nalice,bob,0020\r\n"); r.code != 0 || s.Settled != 1 {
		t.Errorf("%d %+v %s", r.code, s, r.err)
	}
	var b balance
	n.run(t, "query", "balance", "bob", "-o", "json").json(t, &b)
	if b.Balance != 30 {
		t.Errorf("bob has %d, want 30", b.Balance)
	}
}

// TestExpiryBeyondHorizon: an expiry that the network never accepts is refused at once, and the error contains the
// bound.
func TestExpiryBeyondHorizon(t *testing.T) {
	n := newNetwork(t, 100)
	for _, args := range [][]string{{"--from", "alice", "--to", "bob", "--amount", "1"}, {"--file", writeFile(t, "alice,bob,1\n")}} {
		r := n.run(t, append([]string{"tx", "send", "--expires-in", "15m1s"}, args...)...)
		if r.code != output.ExitUsage || !strings.Contains(r.err, "--expires-in 15m1s: this network accepts at most 15m0s") || n.submits > 0 {
			t.Errorf("exit %d after %d submissions: %s", r.code, n.submits, r.err)
		}
	}
	file := filepath.Join(t.TempDir(), "pay.tx")
	if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "1", "--expires-in", "15m", "--dry-run", "--out", file); r.code != 0 {
		t.Errorf("%d %s", r.code, r.err)
	}
	n.status.HorizonMS = 600_000
	if r := n.run(t, "tx", "submit", file); r.code != output.ExitUsage || !strings.Contains(r.err, "accepts at most 10m0s from now") || n.submits > 0 {
		t.Errorf("exit %d after %d submissions: %s", r.code, n.submits, r.err)
	}
	n.status.HorizonMS = 900_000
	if r := n.run(t, "tx", "submit", file); r.code != 0 {
		t.Errorf("%d %s", r.code, r.err)
	}
}

// TestInterruptedWait: Ctrl-C ends the wait. The error contains the time waited and the number of open transfers.
func TestInterruptedWait(t *testing.T) {
	n := newNetwork(t, 10, 10, 10, 10) // one output is left for the second payment
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	n.override = func(_ int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		interrupt()
		var out []api.TxAnswer
		for _, raw := range txs {
			tx, _ := ledger.DecodeTx(raw)
			out = append(out, api.TxAnswer{ID: tx.ID(), State: api.StateAccepted, TimedOut: true})
		}
		return out
	}
	common := []string{"--node", n.url, "--keys", n.keys, "-o", "json", "--timeout", "59m"}
	r := bdtnodeUntil(ctx, append(common, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10")...)
	if _, message, hint := r.failure(t); r.code != output.ExitUnknown || !strings.HasPrefix(message, "interrupted after ") || strings.Contains(message, "59m") || !strings.Contains(hint, "tx get") {
		t.Errorf("exit %d %q %q", r.code, message, hint)
	}
	ctx, interrupt = context.WithCancel(t.Context())
	defer interrupt()
	r = bdtnodeUntil(ctx, append(common, "tx", "send", "--file", writeFile(t, "alice,bob,10\nalice,bob,20\nalice,bob,5\n"))...)
	if _, message, _ := r.failure(t); r.code != output.ExitUnknown || !strings.HasPrefix(message, "interrupted after ") || !strings.Contains(message, "1 were not sent") {
		t.Errorf("exit %d %q", r.code, message)
	}
}

// TestFullMempool: a transaction refused by a full mempool is submitted again until it settles.
func TestFullMempool(t *testing.T) {
	n := newNetwork(t, 30)
	n.override = func(nth int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		if nth > 2 {
			return nil
		}
		tx, _ := ledger.DecodeTx(txs[0])
		return []api.TxAnswer{{ID: tx.ID(), State: api.StateRejected, Reason: api.ReasonBookFull, RetryMS: 1}}
	}
	if r := n.run(t, "tx", "send", "--from", "alice", "--to", "bob", "--amount", "10"); r.code != 0 || n.submits != 3 {
		t.Errorf("exit %d after %d submissions: %s", r.code, n.submits, r.err)
	}
}

// TestFullMempoolForSome: transactions refused by a full mempool are submitted again, settled ones are not.
func TestFullMempoolForSome(t *testing.T) {
	n := newNetwork(t, 10, 10)
	n.override = func(nth int, txs [][]byte, _ api.Wait) []api.TxAnswer {
		if nth > 1 {
			if len(txs) != 1 {
				t.Errorf("%d transactions sent again, want 1", len(txs))
			}
			return nil
		}
		full, _ := ledger.DecodeTx(txs[1])
		return []api.TxAnswer{n.settle(txs[0]), {ID: full.ID(), State: api.StateRejected, Reason: api.ReasonBookFull, RetryMS: 1}}
	}
	if r, s := sendFile(t, n, "alice,bob,10\nalice,bob,10\n"); r.code != 0 || s.Settled != 2 || n.submits != 2 {
		t.Errorf("%d %+v after %d submissions", r.code, s, n.submits)
	}
}

func sendFile(t *testing.T, n *fakeNetwork, csv string) (result, sendSummary) {
	t.Helper()
	return sendFileWithin(t, n, csv, "2s")
}

func sendFileWithin(t *testing.T, n *fakeNetwork, csv, timeout string) (result, sendSummary) {
	t.Helper()
	r := n.run(t, "tx", "send", "--file", writeFile(t, csv), "-o", "json", "--timeout", timeout)
	var s sendSummary
	r.json(t, &s)
	return r, s
}

func TestSendFile(t *testing.T) {
	n := newNetwork(t, 100) // one output: every transfer but the first spends the change of the one before
	csv := "from,to,amount\n"
	for range 20 {
		csv += "alice,bob,4\n"
	}
	r, s := sendFile(t, n, csv+"bob,alice,50\n") // bob has only the amounts that the earlier lines paid to him
	if r.code != 0 || s.Settled != 21 || s.Transfers != 21 {
		t.Fatalf("%d %+v %s", r.code, s, r.err)
	}
	for name, want := range map[string]uint64{"alice": 70, "bob": 30} {
		var b balance
		n.run(t, "query", "balance", name, "-o", "json").json(t, &b)
		if b.Balance != want {
			t.Errorf("%s has %d, want %d", name, b.Balance, want)
		}
	}
}

// TestSendFileAtOnce: transfers with outputs of their own are sent in one request.
func TestSendFileAtOnce(t *testing.T) {
	amounts := make([]uint64, 500)
	csv := ""
	for i := range amounts {
		amounts[i] = 10
		csv += "alice,bob,10\n"
	}
	n := newNetwork(t, amounts...)
	if r, s := sendFile(t, n, csv); r.code != 0 || s.Settled != 500 || n.submits != 1 {
		t.Errorf("%d %+v in %d requests", r.code, s, n.submits)
	}
}

func TestSendFileOutcomes(t *testing.T) {
	t.Run("unfunded", func(t *testing.T) {
		n := newNetwork(t, 10)
		r, s := sendFile(t, n, "alice,bob,11\nbob,alice,3\nalice,bob,5\n")
		// Bob has no output yet when his line is due, so it waits for the line that pays him.
		if r.code != output.ExitFailure || s.Settled != 2 || s.Unfunded != 1 || len(s.Problems) != 1 || s.Problems[0].Line != 1 {
			t.Errorf("%d %+v", r.code, s)
		}
	})
	t.Run("rejected", func(t *testing.T) {
		n := newNetwork(t, 10, 20)
		n.override = func(nth int, txs [][]byte, _ api.Wait) []api.TxAnswer {
			if nth > 1 {
				return nil
			}
			var out []api.TxAnswer
			for range txs {
				out = append(out, api.TxAnswer{State: api.StateRejected, Reason: "expired"})
			}
			return out
		}
		r, s := sendFile(t, n, "alice,bob,15\nalice,bob,10\nalice,bob,10\n")
		// The first two are rejected; the third settles with an output fetched afterwards.
		if r.code != output.ExitRejected || s.Rejected != 2 || s.Settled != 1 {
			t.Errorf("%d %+v", r.code, s)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		n := newNetwork(t, 10, 20)
		n.override = func(_ int, txs [][]byte, _ api.Wait) []api.TxAnswer {
			out := []api.TxAnswer{}
			for i, raw := range txs {
				tx, _ := ledger.DecodeTx(raw)
				state := api.StateAccepted
				if i == 0 && len(txs) > 1 {
					state = api.StateSettled
				}
				out = append(out, api.TxAnswer{ID: tx.ID(), State: state, TimedOut: true})
			}
			return out
		}
		r := n.run(t, "tx", "send", "--file", writeFile(t, "alice,bob,10\nalice,bob,20\n"), "-o", "json", "--timeout", "200ms")
		var s sendSummary
		r.json(t, &s)
		if r.code != output.ExitUnknown || s.Settled != 1 || s.Unknown != 1 || s.Problems[0].ID == "" {
			t.Errorf("%d %+v", r.code, s)
		}
	})
	t.Run("names are checked first", func(t *testing.T) {
		n := newNetwork(t, 10)
		r := n.run(t, "tx", "send", "--file", writeFile(t, "alice,bob,1\nalice,nobody,1\n"))
		if r.code != output.ExitNotFound || !strings.Contains(r.err, "line 2") || n.submits != 0 {
			t.Errorf("%d %s, %d submissions", r.code, r.err, n.submits)
		}
	})
}

// TestSendFileOfShards: outputs needed by a later line are settled in all shards before it is sent, also if --wait
// names an earlier stage.
func TestSendFileOfShards(t *testing.T) {
	for _, wait := range []api.Wait{api.WaitAccepted, api.WaitOrdered, api.WaitCertified, api.WaitSettled} {
		n := newNetwork(t, 100)
		n.status.Shards = 2
		var waits []api.Wait
		n.override = func(_ int, txs [][]byte, wait api.Wait) []api.TxAnswer {
			waits = append(waits, wait)
			if wait == api.WaitSettled {
				return nil
			}
			tx, err := ledger.DecodeTx(txs[0])
			if err != nil {
				t.Error(err)
			}
			return []api.TxAnswer{{ID: tx.ID(), State: api.StateCertified, Certified: true}} // not settled in any shard
		}
		r := n.run(t, "tx", "send", "--file", writeFile(t, "alice,bob,60\nbob,alice,50\n"), "-o", "json", "--wait", string(wait))
		var s sendSummary
		r.json(t, &s)
		if r.code != 0 || s.Settled != 2 {
			t.Errorf("%s: %d %+v %s", wait, r.code, s, r.err)
		}
		want := []api.Wait{api.WaitSettled, api.WaitSettled}
		if wait == api.WaitCertified {
			want = []api.Wait{wait, api.WaitSettled, wait, api.WaitSettled}
		}
		if !slices.Equal(waits, want) {
			t.Errorf("%s: waited for %v, want %v", wait, waits, want)
		}
	}
}

// TestTxGetParts: tx get prints the part of a transaction in each of its shards.
func TestTxGetParts(t *testing.T) {
	n := newNetwork(t)
	id := ledger.TxID{5}
	n.owners[id] = api.TxAnswer{ID: id, State: api.StateRejected, Reason: "consumed", Shard: 1, Height: 7, Parts: []api.Part{
		{Shard: 1, Stage: "returned", Height: 7, Reason: "cancelled", Verdicts: []api.PartVerdict{{Shard: 1, Verdict: "spent", Height: 4}, {Shard: 2, Verdict: "rejected", Reason: "consumed", Height: 7}}},
		{Shard: 2, Stage: "rejected", Height: 9, Verdicts: []api.PartVerdict{{Shard: 1, Verdict: "spent", Height: 9}, {Shard: 2, Verdict: "rejected", Reason: "consumed", Height: 9}}},
		{Shard: 0, Stage: "pending", Verdicts: []api.PartVerdict{{Shard: 1, Verdict: "spent", Height: 3}, {Shard: 2, Verdict: "unknown"}}},
		{Shard: 3, Stage: api.StageUnreachable},
	}}
	var got api.TxAnswer
	r := n.run(t, "tx", "get", id.String(), "-o", "json")
	r.json(t, &got)
	if r.code != 0 || !reflect.DeepEqual(got, n.owners[id]) {
		t.Errorf("%d %+v", r.code, got)
	}
	r = n.run(t, "tx", "get", id.String())
	_, table, _ := strings.Cut(r.out, "\n\n")
	var rows []string
	for line := range strings.Lines(table) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"SHARD STAGE HEIGHT KNOWN VERDICTS",
		"0 pending - shard 1 spent at 3; shard 2 unknown",
		"1 returned (cancelled) 7 shard 1 spent at 4; shard 2 rejected (consumed) at 7",
		"2 rejected 9 shard 1 spent at 9; shard 2 rejected (consumed) at 9",
		"3 unreachable -",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%s", r.out)
	}
}

func TestSendManyRounds(t *testing.T) {
	amounts := make([]uint64, 1500)
	var csv strings.Builder
	for i := range amounts {
		amounts[i] = 1
		fmt.Fprintln(&csv, "alice,bob,1")
	}
	n := newNetwork(t, amounts...)
	if r, s := sendFileWithin(t, n, csv.String(), "1m"); r.code != 0 || s.Settled != 1500 || n.submits != 2 {
		t.Errorf("%d, settled %d in %d requests: %s", r.code, s.Settled, n.submits, r.err)
	}
}

func TestEncryptedPayer(t *testing.T) {
	n := newNetwork(t)
	t.Setenv(passphraseEnv, "words")
	if r := n.run(t, "keys", "new", "erin"); r.code != 0 {
		t.Fatal(r.err)
	}
	var shown shownAccount
	n.run(t, "keys", "show", "erin", "-o", "json").json(t, &shown)
	n.fund(shown.Address, 9)
	if r := n.run(t, "tx", "send", "--from", "erin", "--to", "bob", "--amount", "9"); r.code != 0 {
		t.Errorf("%d %s", r.code, r.err)
	}
	os.Unsetenv(passphraseEnv)
	if r := n.run(t, "tx", "send", "--from", "erin", "--to", "bob", "--amount", "9"); r.code != output.ExitUsage {
		t.Errorf("without the passphrase: %d %s", r.code, r.err)
	}
}
