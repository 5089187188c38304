package appends

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/ledger"
	"bdtnode/node/admission"
)

func entries(t rapid.TB, count, size int) ledger.Opaque {
	t.Helper()
	var raw []byte
	for i := range count {
		p := make([]byte, size)
		copy(p, fmt.Append(nil, i))
		raw = ledger.AppendOpaque(raw, nil, p)
	}
	o, err := ledger.ReadOpaque(raw)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// client is a request with the number of calls of done.
type client struct {
	r     *Request
	ended int
}

func request(t rapid.TB, party admission.Party, o ledger.Opaque, stage admission.Stage) *client {
	c := &client{}
	c.r = NewRequest(party, o, stage, func() { c.ended++ })
	return c
}

func logOf(x ...ledger.LogBatch) []ledger.LogBatch { return x }

// TestStages: a request ends at its stage and not before, with the places of its payloads.
func TestStages(t *testing.T) {
	q := New(2, DefaultBytes, 0)
	accepted, ordered, certified := request(t, "a", entries(t, 3, 10), admission.Logged), request(t, "a", entries(t, 2, 10), admission.Ordered), request(t, "b", entries(t, 1, 10), admission.Certified)
	for _, c := range []*client{accepted, ordered, certified} {
		if !q.Add(c.r) {
			t.Fatal("no room")
		}
	}
	ends := func() string { return fmt.Sprint(accepted.ended, ordered.ended, certified.ended) }
	if parts := q.Take(1<<20, 100); len(parts) != 3 || ledger.CountOpaque(parts) != 6 || ends() != "0 0 0" {
		t.Fatalf("%d parts, ended %s", len(parts), ends())
	}
	if q.Logged(7); ends() != "1 0 0" {
		t.Errorf("logged: ended %s", ends())
	}
	q.Executed(4, logOf(ledger.LogBatch{Lane: 1, Seq: 7, Count: 6}, ledger.LogBatch{Lane: 2, Seq: 6, Count: 6}))
	if ends() != "1 0 0" {
		t.Errorf("batches of others: ended %s", ends())
	}
	q.Executed(5, logOf(ledger.LogBatch{Lane: 0}, ledger.LogBatch{Lane: 2, Seq: 7, Count: 6, Repeated: []ledger.LogRepeat{{Position: 4, Of: ledger.LogPlace{Height: 1}}}}))
	if ends() != "1 1 0" {
		t.Errorf("executed: ended %s", ends())
	}
	if q.Certified(4); ends() != "1 1 0" {
		t.Errorf("an earlier header: ended %s", ends())
	}
	if q.Certified(5); ends() != "1 1 1" {
		t.Errorf("certified: ended %s", ends())
	}
	if got, want := fmt.Sprintf("%+v", q.Close(accepted.r)), "{Count:3 Accepted:3 Dropped:0 Certified:false Placed:[] Repeated:[]}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := fmt.Sprintf("%+v", q.Close(ordered.r)),
		"{Count:2 Accepted:2 Dropped:0 Certified:false Placed:[{Index:0 Count:2 At:{Height:5 Batch:1 Position:3}}] Repeated:[{Index:1 Of:{Height:1 Batch:0 Position:0}}]}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if r := q.Close(certified.r); !r.Certified || r.Ordered() != 1 || r.Placed[0].At != (ledger.LogPlace{Height: 5, Batch: 1, Position: 5}) {
		t.Errorf("%+v", r)
	}
	empty(t, q)
}

func empty(t rapid.TB, q *Queue) {
	t.Helper()
	count, size := q.Waiting()
	waiting, inBatches := q.Requests()
	if count+size+waiting+inBatches != 0 || len(q.atHeight) != 0 || q.share.Parties() != 0 || q.share.Free() != DefaultBytes {
		t.Errorf("left: %d payloads of %d bytes, %d requests, %d in batches, %d heights, %d parties", count, size, waiting, inBatches, len(q.atHeight), q.share.Parties())
	}
}

// TestShares: a party that has as much waiting as it may have is refused; another one is not.
func TestShares(t *testing.T) {
	q := New(0, 4<<20, 0)
	big := entries(t, 1, 1<<20)
	var held []*client
	for range 4 {
		c := request(t, "a", big, admission.Logged)
		if !q.Add(c.r) {
			break
		}
		held = append(held, c)
	}
	if len(held) == 0 || len(held) == 4 {
		t.Fatalf("one party has %d payloads of 1 MiB waiting, of 4 MiB", len(held))
	}
	if !q.Add(request(t, "b", entries(t, 1, 1<<10), admission.Logged).r) {
		t.Error("another party has no room")
	}
	q.Close(held[0].r)
	if !q.Add(request(t, "a", big, admission.Logged).r) {
		t.Error("there is no room after a request was dropped")
	}
}

// TestQueue: for random requests, batches, blocks and clients that leave, the payloads of batches are those of the requests
// in their order, each once; every request has the places of its payloads; and nothing is left at the end.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := New(0, DefaultBytes, 0)
		type sent struct {
			seq   uint64
			count uint32
		}
		var clients []*client
		var want, got [][]byte // payloads
		var unlogged []uint32
		var unexecuted []sent
		seq, height := uint64(0), uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				o := entries(t, rapid.IntRange(1, 9).Draw(t, "count"), rapid.SampledFrom([]int{4, 100}).Draw(t, "size"))
				c := request(t, "a", o, rapid.SampledFrom([]admission.Stage{admission.Logged, admission.Ordered, admission.Certified}).Draw(t, "stage"))
				if !q.Add(c.r) {
					t.Fatal("no room")
				}
				clients = append(clients, c)
				for _, e := range o.Each() {
					want = append(want, e.Payload)
				}
			case 1:
				size, most := rapid.IntRange(5, 500).Draw(t, "bytes"), rapid.IntRange(1, 12).Draw(t, "most")
				parts := q.Take(size, most)
				raw := bytes.Join(parts, nil)
				o, err := ledger.ReadOpaque(raw)
				if err != nil || o.Len() > most || o.Len() > 1 && len(raw) > size {
					t.Fatalf("a batch of %d entries and %d bytes, at most %d and %d: %v", o.Len(), len(raw), most, size, err)
				}
				if o.Len() == 0 {
					continue
				}
				for _, e := range o.Each() {
					got = append(got, e.Payload)
				}
				unlogged = append(unlogged, uint32(o.Len()))
			case 2:
				if len(unlogged) > 0 {
					seq++
					q.Logged(seq)
					unexecuted = append(unexecuted, sent{seq, unlogged[0]})
					unlogged = unlogged[1:]
				}
			case 3:
				height++
				var log []ledger.LogBatch
				for _, b := range unexecuted[:rapid.IntRange(0, len(unexecuted)).Draw(t, "batches")] {
					log = append(log, ledger.LogBatch{Seq: b.seq, Count: b.count})
				}
				unexecuted = unexecuted[len(log):]
				q.Executed(height, log)
			default:
				q.Certified(height)
			}
		}
		for n, x := want, got; len(x) > 0; n, x = n[1:], x[1:] {
			if !bytes.Equal(n[0], x[0]) {
				t.Fatalf("%q in a batch, want %q", x[0], n[0])
			}
		}
		for _, c := range clients {
			r := q.Close(c.r)
			index := 0
			for _, p := range r.Placed {
				if p.Index != index {
					t.Fatalf("places %+v", r.Placed)
				}
				index += p.Count
			}
			if index > r.Accepted || r.Accepted+r.Dropped > r.Count || c.ended > 1 {
				t.Errorf("%+v, ended %d times", r, c.ended)
			}
		}
		for range unlogged {
			seq++
			q.Logged(seq)
			unexecuted = append(unexecuted, sent{seq: seq})
		}
		for _, b := range unexecuted {
			height++
			q.Executed(height, logOf(ledger.LogBatch{Seq: b.seq}))
		}
		q.Certified(height)
		for h := range height {
			q.Certified(h)
		}
		empty(t, q)
	})
}
