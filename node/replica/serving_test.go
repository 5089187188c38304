package replica

import (
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// TestServingTakesTurns: a peer with more requests than are kept loses its own requests, and others wait for one answer
// to it each. A copy of a waiting request is dropped, and of requests for certified blocks the newest counts.
func TestServingTakesTurns(t *testing.T) {
	s := NewServing(4)
	for k := range uint64(10 * maxWaiting) {
		s.Put(3, HistoryRange{From: 1 + k})
		s.Put(3, lanes.BatchRange{Lane: protocols.Index(k % 4), Tip: lanes.Tip{Seq: k}})
		s.Put(3, inbound.LDRange{Source: uint16(k % 64), Tip: lanes.Tip{Seq: 1 + k%128}})
	}
	s.Put(1, lanes.BatchRange{Lane: 1, Tip: lanes.Tip{Seq: 7}})
	s.Put(1, lanes.BatchRange{Lane: 1, Tip: lanes.Tip{Seq: 7}})
	s.Put(1, HistoryRange{From: 8})
	given := make(map[protocols.Index]int)
	for range 4 {
		to, m, _ := s.Next(t0)
		if m == nil {
			t.Fatal("nothing waits")
		}
		if x, ok := m.(HistoryRange); ok && to == 3 && x.From != 10*maxWaiting {
			t.Errorf("answers an old question, from %d", x.From)
		}
		given[to]++
	}
	if given[1] != 2 || given[3] != 2 {
		t.Errorf("of four answers %v", given)
	}
	rest := 0
	for _, m, _ := s.Next(t0); m != nil; _, m, _ = s.Next(t0) {
		rest++
	}
	if want := 1 + 4*maxOfSubject + 64*2 - 2; rest != min(want, maxWaiting-2) {
		t.Errorf("%d more wait for the peer that asked too much, want %d", rest, want)
	}
}

// TestServingAnswersOnce: requests for LDs that arrive together are answered once for each number, as their peer accepts the
// LDs of each request once. Repeated later they are answered again, and the same request of another peer is answered too.
func TestServingAnswersOnce(t *testing.T) {
	s, now := NewServing(2), t0
	answers := func(peer protocols.Index, after, tip uint64) (n uint64) {
		s.Put(peer, inbound.LDRange{Source: 1, Tip: lanes.Tip{Seq: tip}, After: after})
		for _, r, _ := s.Next(now); r != nil; _, r, _ = s.Next(now) {
			x := r.(inbound.LDRange)
			n += x.Tip.Seq - x.After
		}
		return n
	}
	expect := func(what string, n, want uint64) {
		t.Helper()
		if n != want {
			t.Errorf("%d LDs for %s, want %d", n, what, want)
		}
	}
	expect("a request", answers(1, 590, 600), 10)
	now = now.Add(answeredFor - 1)
	expect("the same request that arrives twice", answers(1, 590, 600), 0)
	expect("a part of it", answers(1, 595, 598), 0)
	expect("later numbers with a part of it", answers(1, 595, 605), 5)
	expect("another peer's request", answers(0, 590, 600), 10)
	expect("earlier numbers too", answers(1, 580, 600), 20)
	now = now.Add(answeredFor)
	expect("a request that is repeated", answers(1, 590, 600), 10)
	for k := range uint64(10 * maxAnswered) {
		answers(1, 10*maxAnswered-k, 10*maxAnswered-k+1)
	}
	if n := len(s.peers[1].answered); n != maxAnswered {
		t.Errorf("%d requests are remembered", n)
	}
}

// TestServingRate: any requests of a peer are served at a bounded rate, and another peer does not wait for them.
func TestServingRate(t *testing.T) {
	s := NewServing(2)
	read, now := 0, t0
	for end := t0.Add(2e9); now < end; {
		for k := range uint64(maxOfSubject) {
			s.Put(1, inbound.LDRange{Source: 1, Tip: lanes.Tip{Seq: k + 1}})
		}
		to, m, again := s.Next(now)
		if m == nil {
			if s.Put(0, HistoryRange{From: 1}); again <= now {
				t.Fatal("nothing to do, and not later either")
			}
			if to, m, _ := s.Next(now); m == nil || to != 0 {
				t.Fatal("a peer waits for another one's budget")
			}
			now = again
			continue
		}
		read += maxChainBytes
		s.Read(now, to, maxChainBytes)
	}
	if most := 2*servedRate*11/10 + servedAtOnce + maxChainBytes; read > most || read < 2*servedRate*9/10 {
		t.Errorf("%d MiB are read in 2 s, want about %d", read>>20, 2*servedRate>>20)
	}
}

// counted counts the bytes that are read.
type counted struct {
	kv.Reader
	bytes int
}

func (c *counted) Get(k []byte) ([]byte, bool, error) {
	v, ok, err := c.Reader.Get(k)
	c.bytes += len(v)
	return v, ok, err
}

// TestServingRepeats: a peer that asks for the same certified blocks again gets them at an eighth of the rate, and one that
// asks for later ones each time at the full rate.
func TestServingRepeats(t *testing.T) {
	const size, seconds = 64 << 10, 20
	given := func(from func(i uint64) uint64) (bytes int) {
		s, now := NewServing(1), t0
		for i := uint64(0); now < t0.Add(seconds*time.Second); i++ {
			s.Put(0, HistoryRange{From: from(i)})
			if _, r, again := s.Next(now); r == nil {
				now = again
				continue
			}
			s.Read(now, 0, size)
			bytes += size
		}
		return bytes
	}
	full := given(func(i uint64) uint64 { return 1 + i })
	if want := seconds * servedRate; full < want || full > want+2*servedAtOnce {
		t.Errorf("%d bytes of later blocks in %d s, want about %d", full, seconds, want)
	}
	if again := given(func(uint64) uint64 { return 1 }); again > full/8+servedAtOnce {
		t.Errorf("%d bytes of the same blocks, %d of later ones", again, full)
	}
}

// TestAnswersReadWhatTheySend: no answer reads more than it sends, and the answers that together give a whole channel
// or lane read each part once.
func TestAnswersReadWhatTheySend(t *testing.T) {
	b := newBench(t, 4, 1, "")
	store := &counted{Reader: kv.NewMem()}
	var batch kv.Batch
	var ld, own lanes.Tip
	const count, size = 100, 200 << 10
	for n := uint64(1); n <= count; n++ {
		d := &inbound.LD{Source: 1, Number: n, Previous: ld.Digest, Digest: digest.Of("ld", []byte{byte(n)}), Raw: make([]byte, size)}
		batch.Set(inbound.StoredKey(1, d.Tip()), d.EncodeStored())
		ld = d.Tip()
		x := lanes.NewBatch(b.c, b.scheme.Signer(0), lanes.Header{Lane: 0, Seq: n, Parent: own.Digest, Count: 1}, make([]byte, size))
		batch.Set(lanes.StoredKey(0, lanes.Tip{Seq: n, Digest: x.Digest()}), x.Stored())
		own = lanes.Tip{Seq: n, Digest: x.Digest()}
	}
	if err := store.Reader.(*kv.Mem).Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	for name, next := range map[string]func(protocols.Message) protocols.Range{
		"channel": func(last protocols.Message) protocols.Range {
			if last == nil {
				return inbound.LDRange{Source: 1, Tip: ld}
			}
			d := last.(*inbound.LD)
			return inbound.LDRange{Source: 1, Tip: lanes.Tip{Seq: d.Number - 1, Digest: d.Previous}}
		},
		"lane": func(last protocols.Message) protocols.Range {
			if last == nil {
				return lanes.BatchRange{Lane: 0, Tip: own}
			}
			x := last.(*lanes.Batch)
			return lanes.BatchRange{Lane: 0, Tip: lanes.Tip{Seq: x.Seq - 1, Digest: x.Parent}}
		},
	} {
		store.bytes = 0
		var last protocols.Message
		for got := 0; got < count; {
			before := store.bytes
			out, bytes, err := Answer(b.c, store, b.headers, next(last))
			if err != nil || len(out) == 0 {
				t.Fatalf("%s: no answer after %d: %v", name, got, err)
			}
			if read := store.bytes - before; bytes != len(out)*size || read > bytes+len(out)*1024 || bytes > maxChainBytes+size {
				t.Errorf("%s: %d bytes are read for %d messages, and %d are counted", name, read, len(out), bytes)
			}
			got, last = got+len(out), out[len(out)-1]
		}
		if store.bytes > count*(size+1024) {
			t.Errorf("%s: %d bytes are read to send %d", name, store.bytes, count*size)
		}
	}
}
