package bdt

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// TestFutureBytes: of the large messages of one peer, at most its share of the bytes is kept, independent of the messages of
// others. When the share is used up, the peer is in the set full.
func TestFutureBytes(t *testing.T) {
	for _, n := range []int{4, 100} {
		x := newFutureMessages(n)
		share, total := maxFutureBytes/(n-1), 0
		large := func(slot uint64) protocols.Message {
			return &bolt.Propose{Block: &bolt.Block{Epoch: 2, Slot: slot, Cut: make(lanes.Cut, share/8/(8+len(digest.Digest{})))}}
		}
		for from := 1; from < n; from++ {
			for k := range uint64(maxFutureMessages) {
				x.keep(protocols.Index(from), 2, 1, large(1+k))
			}
			if !x.full.Has(protocols.Index(from)) || x.full.Has(0) {
				t.Fatal("a peer whose share is used up is not in full")
			}
		}
		for i, list := range x.kept {
			sum := 0
			for _, m := range list {
				sum += len(m.Append(nil))
			}
			if total += sum; i > 0 && (sum > share || sum < share/2) {
				t.Errorf("n=%d: %d bytes are kept of replica %d, its share is %d", n, sum, i, share)
			}
		}
		if total > maxFutureBytes {
			t.Errorf("n=%d: %d bytes are kept in total", n, total)
		}
		x.take(2)
		if again := x.again(2); again.Len() != n-1 || x.full.Len() != 0 {
			t.Errorf("n=%d: %d peers are asked again", n, again.Len())
		}
	}
}

// TestFloodOfFutureMessages: of the messages that one peer sends for later epochs, a bounded number is kept. They do not
// displace messages of other peers. A peer of which a message was not kept is asked again.
func TestFloodOfFutureMessages(t *testing.T) {
	x := newFutureMessages(4)
	vote := func(epoch, slot uint64) protocols.Message {
		return &bolt.Vote{Epoch: epoch, Slot: slot, Digest: digest.Of("early")}
	}
	for k := range uint64(10_000) {
		x.keep(3, 1+k%7+1, 1, vote(1+k%7+1, 1+k))
		x.keep(3, 1<<63, 1, vote(1<<63, 1+k))
		x.keep(3, 2, 1, &mvba.Proposal{At: mvba.At{Instance: instance(2), Round: 1}, Value: make([]byte, 1<<10)})
		x.keep(3, 2, 1, &mvba.Value{Instance: instance(2), Value: make([]byte, 1<<10)})
	}
	for k := range uint64(maxFutureMessages) {
		x.keep(1, 2, 1, vote(2, 1+k))
	}
	x.keep(2, 3, 1, vote(3, 1)) // two epochs ahead of this replica
	kept := make(map[protocols.Index]int)
	for _, m := range x.take(2) {
		kept[m.from]++
		if number, _ := epochOf(m.message); number != 2 {
			t.Errorf("a message of epoch %d is kept", number)
		}
	}
	if kept[1] != maxFutureMessages || kept[2] != 0 || kept[3] > maxFutureMessages || kept[0] != 0 {
		t.Errorf("kept by sender: %v", kept)
	}
	if again := x.again(2); !again.Has(2) || again.Has(1) {
		t.Errorf("asked again: %v", again.Members())
	}
}
