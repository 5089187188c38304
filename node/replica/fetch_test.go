package replica

import (
	"encoding/binary"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// TestChannelLongerThanAnAnswer: a committed block orders more LDs of one channel than a peer sends in one answer, and
// more than the bound of unordered LDs. A replica that lacks all of them gets each LD once, one request after the
// other.
func TestChannelLongerThanAnAnswer(t *testing.T) {
	const count, size = 80, 200_000
	b := newBench(t, 4, 1, "")
	m := inbound.New(inbound.Config{Committee: b.c, Self: 1, Signer: b.scheme.Signer(1), Shards: 2})
	peer := kv.NewMem()
	var batch kv.Batch
	var last lanes.Tip
	for n := uint64(1); n <= count; n++ {
		d := &inbound.LD{Source: 1, Number: n, Previous: last.Digest, Raw: make([]byte, size),
			Digest: digest.Of("ld", binary.BigEndian.AppendUint64(nil, n))}
		batch.Set(inbound.StoredKey(1, d.Tip()), d.EncodeStored())
		last = d.Tip()
	}
	if err := peer.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
	origin, cut := make(lanes.Cut, 2), lanes.Cut{{}, last}
	m.Ordered(0, cut)
	var signers protocols.Set
	for _, i := range []protocols.Index{0, 2, 3} {
		signers.Add(i)
	}
	m.Content(t0, origin, cut, signers)
	now, requests, got := t0, 0, 0
	for w := m.Wake(); w != 0 && requests < count; w = m.Wake() {
		now = max(now, w)
		for _, s := range m.Tick(now).Sends {
			f := s.Message.(*inbound.FetchLD)
			requests++
			answer, _, err := Answer(b.c, peer, b.headers, inbound.LDRange{Source: f.Source, Tip: f.Tip, After: f.After})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range answer {
				got++
				m.HandleLD(now, d.(*inbound.LD))
			}
		}
	}
	if refs, complete := m.Content(now, origin, cut, signers); !complete || len(refs) != count || got != count {
		t.Errorf("%d of %d LDs are there, complete %v; %d came in %d answers", len(refs), count, complete, got, requests)
	}
	if most := 2 + count*size/maxChainBytes; requests > most {
		t.Errorf("%d requests, want at most %d", requests, most)
	}
}
