package replica

import (
	"bytes"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// every has a message of each kind that is sent inside a shard.
func every(b *bench) []protocols.Message {
	batch := lanes.NewBatch(b.c, b.scheme.Signer(2), lanes.Header{Lane: 2, Seq: 1, Count: 1}, []byte("payload"))
	carrying := lanes.NewBatch(b.c, b.scheme.Signer(2), lanes.Header{Lane: 2, Seq: 2, Parent: batch.Digest(), Count: 1}, []byte("payload"))
	cert := &lanes.TipCertificate{Lane: 2, Tip: batch.Tip(), Certificate: b.certificate(1, 3).Certificate}
	carrying.Certificate = cert
	d := digest.Of("d")
	return []protocols.Message{
		batch, carrying, cert,
		&lanes.Ack{Lane: 1, Tip: batch.Tip(), Signature: sig.Signature{1}},
		&lanes.Fetch{Lane: 3, Tip: batch.Tip(), After: 0},
		&lanes.Conflict{SignedHeader: batch.SignedHeader},
		&bolt.Propose{Leader: 0, Block: b.blocks[0], Certificates: []*lanes.TipCertificate{cert}},
		&bolt.Vote{Epoch: 1, Slot: 2, Digest: d, Signature: sig.Signature{2}},
		&bolt.Finalize{Epoch: 1, Slot: 2, Digest: d},
		&bolt.FetchBlock{Epoch: 1, Slot: 2, Digest: d},
		&inbound.SIGN{Source: 1, Tip: batch.Tip(), Signature: sig.Signature{3}},
		&inbound.FetchLD{Source: 1, Tip: batch.Tip()},
		b.vote(1, 1),
		&Position{Certified: 9, Again: true},
		&Request{From: 9},
		b.history(1, 2), &History{},
		&Ping{Sent: 7}, &Pong{Sent: 7, Wall: 8},
		&Hello{Boot: 1, Nonce: 2, Epoch: 3, Slot: 4, Number: 5}, &Fenced{Boot: 1, Nonce: 2}, &Known{Member: 2, To: 3},
		&Known{Member: 2, To: 3, Boot: 4, Nonce: 5, Header: &lanes.Conflict{SignedHeader: batch.SignedHeader},
			Vote: &bolt.Vote{Epoch: 1, Slot: 2, Digest: d}, Status: &bdt.SignedClaim{Replica: 2, Claim: bdt.Claim{Epoch: 1, Cut: make(lanes.Cut, 4), Inbound: make(lanes.Cut, 1)}},
			Proposal: &bolt.SignedProposal{Leader: 2, Epoch: 1, Slot: 2, Digest: d}, Agreement: &mvba.Signed{
				At: mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 2}, Phase: mvba.PhaseNoVote, Claim: 1}},
	}
}

// TestWire: each message decodes to itself; a frame cut short, with a byte more, or of an unknown kind does not decode.
func TestWire(t *testing.T) {
	b := newBench(t, 4, 2, "")
	kinds := make(map[protocols.Kind]bool)
	for _, m := range every(b) {
		frame := Encode(m)
		kinds[m.Kind()] = true
		got, err := Decode(b.c, frame)
		if err != nil || got.Kind() != m.Kind() || !bytes.Equal(Encode(got), frame) {
			t.Errorf("%T: %v", m, err)
			continue
		}
		for k := range frame {
			if _, err := Decode(b.c, frame[:k]); err == nil && k > 0 {
				t.Errorf("%T decodes from %d of %d bytes", m, k, len(frame))
			}
		}
		if _, err := Decode(b.c, append(frame[:len(frame):len(frame)], 0)); err == nil {
			t.Errorf("%T decodes with a byte left over", m)
		}
		if Bulk(m.Kind()) != (m.Kind() == lanes.KindBatch || m.Kind() == KindHistory) {
			t.Errorf("%T is on the wrong stream", m)
		}
	}
	for k := range 256 {
		if kind := protocols.Kind(k); !kinds[kind] && kind != inbound.KindLD {
			if _, err := Decode(b.c, []byte{byte(k), 0, 0}); err == nil {
				t.Errorf("kind %#x decodes", k)
			}
		}
	}
	if _, err := Decode(b.c, nil); err == nil {
		t.Error("an empty frame decodes")
	}
}

// TestHistoryIsProved: header, certificate and block belong together, heights have no gaps, f+1 signed.
func TestHistoryIsProved(t *testing.T) {
	b := newBench(t, 4, 4, "")
	passes := func(h *History) bool {
		m, err := Decode(b.c, Encode(h))
		if err != nil {
			return false
		}
		return verify(b.c, 2, b.scheme, b.coin, 2, m) == nil
	}
	if !passes(b.history(2, 4)) {
		t.Fatal("a good history is refused")
	}
	for name, spoil := range map[string]func(*History){
		"a gap":                           func(h *History) { h.Items = append(h.Items[:1], h.Items[2]) },
		"the wrong order":                 func(h *History) { h.Items[0], h.Items[1] = h.Items[1], h.Items[0] },
		"another height's block":          func(h *History) { h.Items[1].Block = b.blocks[0] },
		"another block":                   func(h *History) { h.Items[1].Block = newBench(t, 4, 4, "other").blocks[2] },
		"another height's header":         func(h *History) { h.Items[1].Header = b.headers[0].Encode() },
		"another height's certificate":    func(h *History) { h.Items[1].Certificate = b.certificate(1, 2) },
		"a certificate of f":              func(h *History) { h.Items[1].Certificate = b.certificate(3, 1) },
		"a signature of nobody":           func(h *History) { h.Items[1].Certificate.Certificate.Signatures[0][3] ^= 1 },
		"a header of another network":     func(h *History) { x := b.headers[2]; x.Network[0] ^= 1; h.Items[1].Header = x.Encode() },
		"a header that names another set": func(h *History) { x := b.headers[2]; x.WriteSet[0] ^= 1; h.Items[1].Header = x.Encode() },
		"a header cut short":              func(h *History) { h.Items[1].Header = h.Items[1].Header[:40] },
	} {
		h := b.history(2, 4)
		spoil(h)
		if passes(h) {
			t.Errorf("a history with %s passes", name)
		}
	}
}

// FuzzDecode: no frame makes Decode or verify panic, and a message that decodes encodes to its frame.
func FuzzDecode(f *testing.F) {
	b := newBench(f, 4, 2, "")
	for _, m := range every(b) {
		f.Add(Encode(m))
	}
	f.Add(votesOfZero())
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := Decode(b.c, frame)
		if err != nil {
			return
		}
		if !bytes.Equal(Encode(m), frame) {
			t.Errorf("%x encodes to %x", frame, Encode(m))
		}
		_ = verify(b.c, 2, b.scheme, b.coin, 1, m)
	})
}

func votesOfZero() []byte { return Encode(&certify.VOTE{}) }

// TestRequestsForNoChannel: a message about a channel that the network does not have, or about the own shard's, is
// malformed.
func TestRequestsForNoChannel(t *testing.T) {
	b := newBench(t, 4, 1, "")
	tip := lanes.Tip{Seq: 3, Digest: b.genesis.Digest()}
	for source, good := range map[uint16]bool{0: false, 1: true, 2: false, 9: false} {
		m, err := Decode(b.c, Encode(&inbound.FetchLD{Source: source, Tip: tip, After: 1}))
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(b.c, 2, b.scheme, b.coin, 1, m); (err == nil) != good {
			t.Errorf("a request for the channel of shard %d: %v", source, err)
		}
	}
}
