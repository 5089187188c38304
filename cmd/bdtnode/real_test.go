package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/load"
	"bdtnode/node/api"
)

// realEnv makes tests start real replicas, see TestMain.
const realEnv = "TEST_REAL_REPLICAS"

// TestRealNetwork: on a network of real processes, payments across shards survive the end of each leader, and then the
// end of all replicas.
func TestRealNetwork(t *testing.T) {
	if apart(t) {
		return
	}
	home := filepath.Join(t.TempDir(), "net")
	n := startNet(t, "--home", home)
	n.ready(t)
	signed := filepath.Join(t.TempDir(), "pay.tx")
	pay := func(want api.State, args ...string) api.TxAnswer {
		t.Helper()
		var answer api.TxAnswer
		r := bdtnode(t, append([]string{"tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "-o", "json"}, args...)...)
		r.json(t, &answer)
		if r.code != 0 || answer.State != want {
			t.Fatalf("%d %s%s", r.code, r.out, r.err)
		}
		return answer
	}
	first := pay(api.StateCertified, "--out", signed, "--wait", "certified") // waits for the certificate in the input shard only
	everywhere(t, first)                                                     // so each shard has committed under its first leader
	for _, i := range []int{0, 4} {                                          // the leaders
		syscall.Kill(n.intro.Replicas[i].PID, syscall.SIGKILL)
	}
	for s := range 2 { // closing the first payment may have been pending
		n.awaitNote(t, fmt.Sprintf("shard %d: (no commit was pending when its leader, replica 0, stopped|commits resumed after)", s))
	}
	second := pay(api.StateSettled)
	everywhere(t, second)
	for s := range 2 {
		n.awaitNote(t, fmt.Sprintf(`shard %d: commits resumed after [0-9]+ ms; leader was replica 0, now replica [123]\n`, s))
	}
	for i, r := range n.intro.Replicas {
		if i != 0 && i != 4 {
			syscall.Kill(r.PID, syscall.SIGKILL)
		}
	}
	<-n.done
	if n.code == 0 {
		t.Error("exit code 0 after the loss of all replicas")
	}

	n = startNet(t, "--home", home)
	n.ready(t)
	for _, before := range []api.TxAnswer{first, second} {
		if now := everywhere(t, before); now.Height != before.Height {
			t.Errorf("after the restart %+v, before %+v", now, before)
		}
	}
	var again api.TxAnswer
	r := bdtnode(t, "tx", "submit", signed, "-o", "json")
	r.json(t, &again)
	if r.code != 0 || again.ID != first.ID || again.State != api.StateSettled || again.Height != first.Height {
		t.Errorf("submitted again: %d %+v, at first %+v", r.code, again, first)
	}
	everywhere(t, pay(api.StateSettled))
	// Any replica of any shard answers for the whole ledger, and reports the version of this program.
	for _, r := range n.intro.Replicas {
		for account, want := range map[string]balance{"alice": {Shard: 0, Balance: 999_985}, "bob": {Shard: 1, Balance: 1_000_015}} {
			// The replica that was down longest may still be catching up.
			for {
				var b balance
				bdtnode(t, "query", "balance", account, "--node", r.API, "-o", "json").json(t, &b)
				if b.Shard != want.Shard || b.Balance > max(1_000_000, want.Balance) {
					t.Errorf("replica %d of shard %d: %s has %d in shard %d", r.Replica, r.Shard, account, b.Balance, b.Shard)
				}
				if b.Balance == want.Balance || t.Failed() {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		var st api.Status
		bdtnode(t, "status", "--node", r.API, "-o", "json").json(t, &st)
		if st.Shard != r.Shard || st.Shards != 2 || st.Version != readVersion().Version {
			t.Errorf("status %+v", st)
		}
	}
	n.stop(t)
}

// everywhere waits until a payment from shard 0 to 1 is shown as settled in both, and returns that answer.
func everywhere(t *testing.T, paid api.TxAnswer) api.TxAnswer {
	t.Helper()
	for {
		var now api.TxAnswer
		r := bdtnode(t, "tx", "get", paid.ID.String(), "-o", "json")
		if r.code != 0 {
			t.Fatalf("exit %d %s", r.code, r.err)
		}
		r.json(t, &now)
		settled := 0
		for _, p := range now.Parts {
			if p.Stage == "settled" && p.Height > 0 && len(p.Verdicts) == 1 && p.Verdicts[0].Shard == 0 && p.Verdicts[0].Verdict == "spent" {
				settled++
			}
		}
		everywhere := len(now.Parts) == 2 && settled == 2
		if everywhere != (now.State == api.StateSettled) || now.State != api.StateSettled && now.State != api.Seen(now.Certified) {
			t.Fatalf("%+v", now)
		}
		if everywhere {
			return now
		}
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestRealFile: transfers of a file that spend each other's outputs settle in order, for any home shards.
func TestRealFile(t *testing.T) {
	if apart(t) {
		return
	}
	n := startNet(t)
	n.ready(t)
	csv := "from,to,amount\nalice,bob,1000000\nbob,carol,2000000\ncarol,dave,3000000\n"
	for range 20 {
		csv += "dave,alice,1000\ndave,bob,1000\n"
	}
	var s sendSummary
	r := bdtnode(t, "tx", "send", "--file", writeFile(t, csv), "-o", "json")
	r.json(t, &s)
	if r.code != 0 || s.Settled != 43 {
		t.Errorf("exit %d %+v\n%s", r.code, s, r.err)
	}
	n.stop(t)
}

// TestRealLoad: the report of a load on real replicas is consistent, in one shard and across two.
func TestRealLoad(t *testing.T) {
	if apart(t) {
		return
	}
	for _, c := range []struct {
		args     []string
		shards   int
		across   bool
		rejected uint64
	}{
		{[]string{"--shards", "1", "--load", "100", "--invalid", "0.1"}, 1, false, 20},
		{[]string{"--load", "100", "--cross", "0.3", "--invalid", "0.1"}, 2, true, 20},
		{[]string{"--shards", "3", "--load", "50", "--cross", "1"}, 3, true, 0},
	} {
		r := bdtnode(t, append([]string{"net", "up", "--for", "2s", "-o", "json"}, c.args...)...)
		var got report
		r.json(t, &got)
		all, invalid, conflicts := got.Settled+got.Rejected, uint64(0), uint64(0)
		for _, k := range got.Invalid {
			invalid += k.Submitted
			if k.Kind == load.Conflict {
				conflicts += k.Settled // one of each pair
			}
		}
		if r.code != 0 || got.Shards != c.shards || got.Submitted != all || got.Pending != 0 || got.Rejected+conflicts != c.rejected || invalid != c.rejected {
			t.Errorf("%v: exit %d %+v\n%s", c.args, r.code, got, r.err)
		}
		if (got.CrossSettled > 0) != c.across || (got.CrossLatency.P50 > 0) != c.across || (got.Latency.P50 > 0) != (got.CrossSettled < got.Settled) {
			t.Errorf("%v: %+v", c.args, got)
		}
		if ends := got.Cancelled + got.ReturnedByCL + got.ReturnedByVerdict; ends > c.rejected || (ends > 0) != (c.across && c.rejected > 0) {
			t.Errorf("%v: %d cancelled, %d returned by a CL, %d by a verdict, of %d rejected", c.args, got.Cancelled, got.ReturnedByCL, got.ReturnedByVerdict, got.Rejected)
		}
		if !got.HeadersAgree || !got.ValueConserved || got.TPS <= 0 || got.NodeCPUSeconds <= 0 || got.SyncsPerTx <= 0 {
			t.Errorf("%v: %+v", c.args, got)
		}
	}
}

func TestRealKilledLeaders(t *testing.T) {
	realFault(t, "kill-leader", `shard 0: commits resumed after [0-9]+ ms; leader was replica [0-3], now replica [0-3]\n`)
}

func TestRealFrozenLeaders(t *testing.T) {
	realFault(t, "freeze-leader", `shard 0: commits resumed after [0-9]+ ms; (leader was replica [0-3], now replica [0-3]|replica [0-3] still leads)\n`)
}

func TestRealFrozenFollowers(t *testing.T) {
	realFault(t, "freeze-followers", `shard 0: at most [0-9]+ ms without a commit during the suspension of replica [0-3]\n`)
}

// realFault: with a fault, every submitted transfer gets its answer, and the gaps are printed.
func realFault(t *testing.T, fault, printed string) {
	t.Helper()
	if apart(t) {
		return
	}
	// With this seed the first suspension lasts 1 to 2 seconds. A fault begins only when all replicas are
	// ready, which takes seconds on a busy machine, and none begins in the last 2 seconds of the run.
	r := bdtnode(t, "net", "up", "--shards", "1", "--for", "10s", "--load", "50", "--fault", fault, "--fault-every", "1s", "--seed", "4", "-o", "json")
	var got report
	r.json(t, &got)
	if r.code != 0 || got.Submitted != 500 || got.Settled != 500 || got.Pending != 0 || !got.HeadersAgree || !got.ValueConserved {
		t.Errorf("exit %d %+v\n%s", r.code, got, r.err)
	}
	notes := len(regexp.MustCompile(printed).FindAllString(r.err, -1))
	if g := got.Gaps; notes == 0 || g.Count != notes || g.P50 <= 0 || g.P50 > g.P95 || g.P95 > g.Max {
		t.Errorf("%d gaps printed, %+v\n%s", notes, g, r.err)
	}
}

// replicaOfTests sets the replica that start runs when a test started it.
func replicaOfTests(a *app) {
	a.open = openFake
	if os.Getenv(realEnv) != "" {
		a.open = openReplica
	}
}

// TestRealDelays: on a network of real processes with delays, the measured links have the round trip asked for, and half
// of the transfers of each replica take the least time that the delays permit, or longer.
func TestRealDelays(t *testing.T) {
	if apartAlone(t) {
		return
	}
	r := bdtnode(t, "net", "up", "--shards", "1", "--for", "4s", "--load", "40", "--wan", "uniform:100ms", "-o", "json")
	var got report
	r.json(t, &got)
	if r.code != 0 || got.WAN == nil || len(got.WAN.Replicas) != 4 {
		t.Fatalf("exit %d %+v %s", r.code, got, r.err)
	}
	if got.WAN.OffBy > 0.1 || got.WAN.Spec != "uniform:100ms" || got.WAN.RTT[0][0] != 100 {
		t.Errorf("%+v", got.WAN)
	}
	for _, x := range got.WAN.Replicas {
		least := 200.0
		if x.Leads {
			least = 150
		}
		if x.LeastMS != least || x.P50MS < least {
			t.Errorf("replica %d: p50 %v ms, least %v ms; want at least %v ms", x.Replica, x.P50MS, x.LeastMS, least)
		}
	}
}
