package engine

import (
	"testing"

	"bdtnode/node/p2p"
	"bdtnode/protocols"
)

// TestStreamsCarryTheirLimits: the limit that the tables of messages use for a stream is the one of its frames.
func TestStreamsCarryTheirLimits(t *testing.T) {
	if protocols.Control.Limit() != p2p.MaxControlFrame || protocols.Bulk.Limit() != p2p.MaxBulkFrame {
		t.Errorf("frames of at most %d and %d bytes, the tables of messages allow %d and %d",
			p2p.MaxControlFrame, p2p.MaxBulkFrame, protocols.Control.Limit(), protocols.Bulk.Limit())
	}
}
