package node

import (
	"strings"
	"testing"

	"bdtnode/internal/kv"
)

// With any limit that is accepted, the parts fit into it, and each part has at least its minimum.
func TestDescriptorsFitTheLimit(t *testing.T) {
	for _, members := range []int{3, 7, 63, 639} {
		lowest := uint64(0)
		for limit := uint64(64); limit <= 1<<16; limit += 64 {
			d, err := shareDescriptors(limit, members)
			if err != nil {
				lowest = limit
				continue
			}
			sum := baseDescriptors + 2*d.store + 2*members*d.memberConns + d.strangers + d.clients
			if uint64(sum) > limit {
				t.Fatalf("%d members: %+v uses %d of %d", members, d, sum, limit)
			}
			if d.store < kv.MinOpenFiles || d.memberConns < minMemberConns || d.strangers < minStrangers || d.clients < minClients {
				t.Fatalf("%d members, limit %d: %+v", members, limit, d)
			}
		}
		if lowest == 0 {
			t.Errorf("%d members: every limit was accepted", members)
		}
	}
	if d, err := shareDescriptors(1<<40, 7); err != nil || d != (descriptors{kv.DefaultOpenFiles, maxMemberConns, maxStrangers, maxClients}) {
		t.Errorf("unlimited files: %+v, %v", d, err)
	}
}

func TestTooFewDescriptors(t *testing.T) {
	_, err := shareDescriptors(256, 7)
	if err == nil || !strings.Contains(err.Error(), "may open 256 files") || !strings.Contains(err.Error(), "needs 424") {
		t.Errorf("%v", err)
	}
}
