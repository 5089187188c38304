package engine

import (
	"testing"

	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols/mvba"
)

// TestLargestValueIsAFrame: a proposal of the largest value fits into a frame of its stream.
func TestLargestValueIsAFrame(t *testing.T) {
	value := make([]byte, mvba.MaxValue)
	frame := replica.Encode(&mvba.Proposal{At: mvba.At{Round: 1}, Value: value, Digest: mvba.DigestOf(value)})
	if replica.Bulk(mvba.KindProposal) || len(frame) > p2p.MaxControlFrame {
		t.Errorf("a frame of %d bytes, and a control frame has at most %d", len(frame), p2p.MaxControlFrame)
	}
}

// TestFramesThatWaitAreBounded: the waiting frames of one peer have together at most the bytes of its quota and of two
// of the largest frames, for all classes and sizes.
func TestFramesThatWaitAreBounded(t *testing.T) {
	for class, quota := range map[p2p.Class]int{p2p.Control: controlQuota, p2p.Bulk: bulkQuota} {
		for size := 1; size <= class.MaxFrame(); size *= 2 {
			n := places(class, make([]byte, size))
			if n < 1 || n > quota {
				t.Fatalf("a %s frame of %d bytes takes %d of %d places: it never passes", class, size, n, quota)
			}
			if waiting := quota / n * size; waiting > max(quota*quotaUnit, 2*size) {
				t.Errorf("%d MiB of %s frames of %d bytes wait for the loop", waiting>>20, class, size)
			}
		}
	}
}
