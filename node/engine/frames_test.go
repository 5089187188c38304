package engine

import (
	"testing"

	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols/mvba"
)

// TestLargestValueIsAFrame: a proposal of the largest value fits into a frame of the stream that it goes over.
func TestLargestValueIsAFrame(t *testing.T) {
	value := make([]byte, mvba.MaxValue)
	frame := replica.Encode(&mvba.Proposal{At: mvba.At{Round: 1}, Value: value, Digest: mvba.DigestOf(value)})
	if replica.Bulk(mvba.KindProposal) || len(frame) > p2p.MaxControlFrame {
		t.Errorf("a frame of %d bytes, and a control frame has at most %d", len(frame), p2p.MaxControlFrame)
	}
}
