package admission

import (
	"fmt"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
)

func someIDs(n int) []ledger.TxID {
	ids := make([]ledger.TxID, n)
	for i := range ids {
		ids[i] = ledger.TxID(digest.Of("id", []byte(fmt.Sprint(i))))
	}
	return ids
}

// TestDuplicateIDsCostOneWait: a request with many copies of one id registers, is notified and is removed at the cost
// of one wait.
func TestDuplicateIDsCostOneWait(t *testing.T) {
	w := newWaits(1<<17, 0, nil, nil)
	id := someIDs(1)[0]
	var requests []*Request
	for range 250 {
		r := NewRequest("attacker", slices.Repeat([]ledger.TxID{id}, 1000), Final, true, start, func() {})
		w.enter(r)
		requests = append(requests, r)
	}
	if w.shares.items != 250 || len(w.byID[id]) != 250 {
		t.Fatalf("%d waits, %d for the id, want one for each request", w.shares.items, len(w.byID[id]))
	}
	w.notify(Progress{ID: someIDs(2)[1], Logged: true}, start)
	if w.visited != 0 {
		t.Errorf("a notification of another transaction visited %d waits", w.visited)
	}
	w.notify(Progress{ID: id, Logged: true}, start)
	if w.visited != 250 {
		t.Errorf("a notification of the transaction visited %d waits, want 250", w.visited)
	}
	for _, r := range requests {
		w.leave(r)
	}
	if w.shares.items != 0 || len(w.byID) != 0 || len(w.shares.of) != 0 {
		t.Errorf("%d waits left, %d ids", w.shares.items, len(w.byID))
	}
}

// TestWaitsAreShared: a party may have as many waits as are free. A party that comes later still gets some, and waits
// beyond the share are refused as busy.
func TestWaitsAreShared(t *testing.T) {
	w := newWaits(1000, 0, nil, nil)
	ids := someIDs(1000)
	busy := func(r *Request) (n int) {
		for _, id := range r.IDs() {
			if p := r.Progress(id); p.Refusal != nil && p.Refusal.Reason == ledger.ReasonBusy {
				n++
			}
		}
		return n
	}
	many := NewRequest("party with many", ids, Final, true, start, func() {})
	w.enter(many)
	if got := busy(many); got != 500 {
		t.Errorf("%d of 1000 refused to a single party, want half", got)
	}
	ended := false
	few := NewRequest("party with few", ids[:100], Final, true, start, func() { ended = true })
	w.enter(few)
	if got := busy(few); got != 0 || ended {
		t.Errorf("%d of 100 refused to a second party", got)
	}
	again := NewRequest("party with many", ids[:10], Final, true, start, func() { ended = true })
	w.enter(again)
	if busy(again) != 10 || !ended {
		t.Errorf("%d of 10 refused beyond the share, ended: %v", busy(again), ended)
	}
	w.leave(many)
	w.leave(few)
	w.leave(again)
	if w.shares.items != 0 {
		t.Errorf("%d waits left", w.shares.items)
	}
}

func TestStages(t *testing.T) {
	ids := someIDs(2)
	spent := Progress{ID: ids[0], Receipt: ledger.Receipt{Tx: ids[0], Height: 3, Verdict: ledger.VerdictSpent}}
	settled := Progress{ID: ids[0], Receipt: ledger.Receipt{Tx: ids[0], Height: 5, Verdict: ledger.VerdictSettled}}
	notFinal := Progress{ID: ids[0], Refusal: &ledger.Refusal{Reason: ledger.ReasonBookFull}}
	for _, c := range []struct {
		name    string
		stage   Stage
		submits bool
		news    []Progress
		height  uint64 // height whose header is certified last
		ends    int    // number of the notification that ends the request; the certified header comes last
	}{
		{"accepted", Logged, true, []Progress{{ID: ids[0], Logged: true}}, 0, 1},
		{"waiting", Logged, true, []Progress{{ID: ids[0], Waiting: true}}, 0, 1},
		{"ordered", Ordered, true, []Progress{{ID: ids[0], Logged: true}, spent}, 0, 2},
		{"final", Final, true, []Progress{spent, settled}, 0, 2},
		{"certified", Certified, true, []Progress{spent}, 3, 2},
		{"certified before", Certified, true, []Progress{{ID: ids[1], Logged: true}, spent}, 3, 3},
		{"refused", Final, true, []Progress{notFinal}, 0, 1},
		{"a refusal that is not final does not end a request that does not submit", Final, false, []Progress{notFinal, settled}, 0, 2},
		{"a refusal does not replace a receipt", Final, true, []Progress{spent, notFinal, settled}, 0, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWaits(100, 0, nil, nil)
			ended := 0
			r := NewRequest("a", ids[:1], c.stage, c.submits, start, func() { ended++ })
			w.enter(r)
			steps := 0
			for _, p := range c.news {
				w.notify(p, start)
				if steps++; ended > 0 != (steps >= c.ends) {
					t.Fatalf("ended %d times upon notification %d", ended, steps)
				}
			}
			if c.height > 0 {
				w.certified(c.height)
				if !r.Progress(ids[0]).Certified {
					t.Error("not certified")
				}
			}
			if ended != 1 || w.shares.items != 0 || len(w.byID)+len(w.atHeight) != 0 {
				t.Errorf("ended %d times, %d waits left", ended, w.shares.items)
			}
			w.leave(r)
		})
	}
}

// TestClientParties: clients are one party if their addresses are one origin, and no client is the party of a replica.
func TestClientParties(t *testing.T) {
	for in, want := range map[string]Party{
		"127.0.0.5:81": "client 127.0.0.5/32", "[::ffff:127.0.0.5]:9": "client 127.0.0.5/32",
		"[2001:db8::1]:5": "client 2001:db8::/64", "[2001:db8::ffff]:6": "client 2001:db8::/64", "pipe": ClientParty("@"),
	} {
		if got := ClientParty(in); got != want || got == PeerParty(0, 0) || got == "" {
			t.Errorf("%s is %q, want %q", in, got, want)
		}
	}
}
