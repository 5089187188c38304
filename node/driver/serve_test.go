package driver

import (
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// TestServedRate: the data that one peer is served in a time is at most 4 MiB, one answer, and 8 MiB for each second. A
// peer with less is not delayed by it. Each request wakes the server.
func TestServedRate(t *testing.T) {
	const (
		seconds = 3
		size    = lanes.MaxPayload / 2
		rate    = 8 << 20
		atOnce  = 4 << 20
		most    = atOnce + size + seconds*rate
	)
	b := newBench(t)
	x := b.batch(2, 1, 1, make([]byte, size))
	var records kv.Batch
	replica.Apply(&records, []protocols.Record{{Key: lanes.StoredKey(2, x.Tip()), Value: x.Stored()}})
	if err := b.store.Apply(&records, false); err != nil {
		t.Fatal(err)
	}
	ask := func(peer protocols.Index) {
		r := lanes.BatchRange{Lane: 2, Tip: x.Tip()}
		b.d.Send(&Action{Step: replica.Step{Reads: []protocols.Read{{To: peer, Range: r}}}})
	}
	served := make(map[protocols.To]int)
	serve := func() (again protocols.Time) {
		peer, r, again := b.d.NextRequest()
		if r == nil {
			return again
		}
		if err := b.d.Answer(peer, r); err != nil {
			t.Fatal(err)
		}
		for _, m := range b.host.sent {
			served[m.to] += len(m.Message.(*lanes.Batch).Payload)
		}
		b.host.sent = nil
		return 0
	}
	for end := t0.Add(seconds * time.Second); b.host.now < end; {
		ask(1)
		if again := serve(); again != 0 {
			if again <= b.host.now {
				t.Fatal("a request that is due is not served")
			}
			b.host.now = min(again, end)
		}
		if served[1] > most {
			t.Fatalf("%d bytes in %v, want at most %d in %d s", served[1], b.host.now.Sub(t0), most, seconds)
		}
	}
	if served[1] < most*9/10 {
		t.Errorf("%d bytes in %d s, want nearly %d", served[1], seconds, most)
	}
	ask(1)
	ask(3)
	for range 2 {
		serve()
	}
	if served[3] != size {
		t.Errorf("a peer without earlier requests is served %d bytes at once, want %d", served[3], size)
	}
	if b.host.serves == 0 {
		t.Error("requests do not wake the server")
	}
}
