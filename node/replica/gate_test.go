package replica

import (
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// frameOf is a frame of a kind, whose content the gate does not decode.
func frameOf(kind protocols.Kind, size int) []byte {
	frame := make([]byte, size)
	frame[0] = byte(kind)
	return frame
}

// TestGateLane: a peer that fills its lane at full speed is read at an eighth of the lane's window in a second. Batches of
// other lanes, which answer requests, do not count.
func TestGateLane(t *testing.T) {
	const window, size, seconds = 8 << 20, 200 << 10, 10
	own, other := frameOf(lanes.KindBatch, size), frameOf(lanes.KindBatch, size)
	own[2], other[2] = 3, 2
	sent := func(frame []byte) (bytes int) {
		g := NewGate(3, window)
		for now := t0; now < t0.Add(seconds*time.Second); now = now.Add(3 * time.Millisecond) {
			take, wait := g.Admit(now, frame, 1)
			if !take {
				t.Fatal("a batch is dropped")
			}
			bytes += len(frame)
			now = now.Add(wait)
		}
		return bytes
	}
	if n, want := sent(own), window/laneShare*seconds+window/laneShare/laneBurst; n > want+2*size || n < want*9/10 {
		t.Errorf("%d bytes of the peer's own lane are read in %d s, want about %d", n, seconds, want)
	}
	if n := sent(other); n < 8*window/2 {
		t.Errorf("%d bytes of answers are read in %d s", n, seconds)
	}
}

// TestGateFlood: of a flood of one kind only the budget is accepted, the sender's stream is slowed, and other kinds are
// accepted as before.
func TestGateFlood(t *testing.T) {
	for _, kind := range []protocols.Kind{KindPosition, KindRequest, lanes.KindFetch, inbound.KindFetchLD, certify.KindVOTE, lanes.KindAck, 0xff} {
		g := NewGate(1, 0)
		b, ok := budgets[kind]
		if !ok {
			b = standard
		}
		taken, frames, now := 0, 0, t0
		for end := t0.Add(10 * time.Second); now < end; now = now.Add(2 * time.Microsecond) {
			take, wait := g.Admit(now, frameOf(kind, 90), 1)
			frames++
			if take {
				taken++
			}
			now = now.Add(wait)
		}
		if most := b.burst + 10*b.perSecond; taken > most || taken < most*9/10 {
			t.Errorf("kind %#x: %d of %d frames are taken in 10 s, want about %d", uint8(kind), taken, frames, most)
		}
		if frames > taken+5000 {
			t.Errorf("kind %#x: %d frames are read", uint8(kind), frames)
		}
		if take, wait := g.Admit(now, frameOf(bdt.KindStatus, 90), 1); !take || wait > 0 {
			t.Errorf("kind %#x: another kind has to suffer", uint8(kind))
		}
	}
}

// TestGateAnswers: answers are accepted up to the number of requests, from the peers that were asked.
func TestGateAnswers(t *testing.T) {
	g := NewGate(1, 0)
	admitted := func(kind protocols.Kind) (n int) {
		frame := frameOf(kind, 1<<20)
		for range 2000 {
			if take, wait := g.Admit(t0, frame, 1); take {
				n++
			} else if wait < slowMiB {
				t.Fatalf("a stream of answers that nobody asked for is read on after %v", wait)
			}
		}
		return n
	}
	if n := admitted(KindHistory); n > 0 {
		t.Errorf("%d histories are taken that nobody asked for", n)
	}
	if n := admitted(inbound.KindLD); n != loose.burst {
		t.Errorf("%d LDs are taken that nobody asked for, want %d", n, loose.burst)
	}
	g.Asks(&Request{From: 1})
	g.Asks(&inbound.FetchLD{Source: 1, Tip: lanes.Tip{Seq: 40}, After: 33})
	if n := admitted(KindHistory); n != 1 {
		t.Errorf("%d histories for one request", n)
	}
	if n := admitted(inbound.KindLD); n != 2*7 {
		t.Errorf("%d LDs for a request for 7, want each twice at most", n)
	}
	for range 1000 {
		g.Asks(&Request{From: 1})
		g.Asks(&inbound.FetchLD{Source: 1, Tip: lanes.Tip{Seq: inbound.Window}, After: 0})
	}
	if n := admitted(KindHistory); n != maxHistories {
		t.Errorf("%d histories wait to come", n)
	}
	if n := admitted(inbound.KindLD); n != maxLDs {
		t.Errorf("%d LDs wait to come", n)
	}
}
