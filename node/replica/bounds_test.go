package replica

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/vouch"
)

// looser are the kinds with a bound that is a round number above their largest message.
var looser = map[protocols.Kind]bool{KindKnown: true, inbound.KindLD: true}

// TestBodiesAreBounded: the bound of a kind is the length of its longest body, in the largest shard. So the bound refuses no
// message that an honest replica can send.
func TestBodiesAreBounded(t *testing.T) {
	longest := make(map[protocols.Kind]int)
	measure := func(b *bench, m protocols.Message) {
		e, body := messages.Of(m.Kind()), m.Append(nil)
		if _, err := e.Decode(b.c, body); err != nil {
			t.Errorf("%s of %d bytes: %v", e.Name, len(body), err)
		}
		longest[m.Kind()] = max(longest[m.Kind()], len(body))
	}
	small, large := newBench(t, 4, 2, ""), newBench(t, protocols.MaxReplicas, 1, "")
	for _, x := range examples(t, small) {
		measure(small, x.message)
	}
	for _, m := range largest(t, large) {
		measure(large, m)
	}
	for k := range 256 {
		e := messages.Of(protocols.Kind(k))
		if e == nil || longest[e.Kind] == e.Max || looser[e.Kind] && longest[e.Kind] < e.Max {
			continue
		}
		t.Errorf("%s: bodies of at most %d bytes are accepted, the longest one has %d", e.Name, e.Max, longest[e.Kind])
	}
}

// largest are the longest messages of the kinds whose length varies.
func largest(t *testing.T, b *bench) []protocols.Message {
	t.Helper()
	const all = protocols.MaxReplicas
	certificate := protocols.Certificate{Signatures: make([]sig.Signature, all)}
	shares := coin.Shares{Shares: make([]coin.Share, all)}
	no := mvba.NoVotes{Claims: make([]uint32, all), Signatures: make([]sig.Signature, all)}
	cut := make(lanes.Cut, all)
	tip := lanes.Tip{Seq: 1, Digest: digest.Of("tip")}
	status := &bdt.Status{Claim: bdt.Claim{Epoch: 1, Slot: 1, Digest: digest.Of("block"), Cut: cut, Inbound: cut}}
	tips := make([]*lanes.TipCertificate, all)
	for i := range protocols.Index(all) {
		certificate.Signers.Add(i)
		shares.Holders.Add(i)
		no.Signers.Add(i)
		cut[i] = tip
		tips[i] = &lanes.TipCertificate{Lane: i, Tip: tip}
	}
	status.QC = &bolt.QC{Epoch: 1, Slot: 1, Digest: status.Digest, Certificate: certificate}
	for i, x := range tips {
		x.Certificate = certificate
		status.Certificates = append(status.Certificates, x)
		status.Deliveries = append(status.Deliveries, &inbound.TipCertificate{Source: uint16(i), Tip: tip, Certificate: certificate})
	}
	batch := lanes.NewBatch(b.c, b.scheme.Signer(0), lanes.Header{Seq: 2, Parent: tip.Digest, Count: 1}, make([]byte, lanes.MaxPayload+lanes.MaxOverhead))
	batch.Certificate = tips[0]
	block := *b.blocks[0]
	block.Cut, block.Inbound = cut, cut
	history := &History{Items: make([]Past, MaxHistory)}
	for i := range history.Items {
		history.Items[i] = Past{
			Header: make([]byte, maxHeaderBytes), Certificate: &certify.Certified{Height: 1, Certificate: certificate}, Block: &block,
		}
	}
	first := mvba.At{Instance: mvba.Instance{Epoch: 1}, Round: 1}
	later := first
	later.Round = 2
	key := &mvba.Key{Round: 1, Echoes: certificate, Coin: shares}
	value := make([]byte, mvba.MaxValue)
	vouches := &vouch.Vouch{Batches: make([]lanes.Ref, vouch.MaxRefs)}
	for i := range vouches.Batches {
		vouches.Batches[i] = lanes.Ref{Lane: 1, Tip: lanes.Tip{Seq: uint64(i) + 1}}
	}
	return []protocols.Message{
		batch, tips[0], &bolt.Propose{Block: &block, Certificates: tips}, history, status, status.Deliveries[0],
		&coin.Relay{Shares: shares}, &cancel.CLM{Content: make([]byte, cancel.MaxContent)}, vouches,
		&mvba.Proposal{At: first, Value: value}, &mvba.Value{Value: value},
		&mvba.Proposal{At: later, Justification: &mvba.Justification{Key: key, NoVotes: no}},
		&mvba.Proposal{At: later, Justification: &mvba.Justification{Key: key, NoPreVotes: certificate}},
		&mvba.Lock{At: first, Echoes: certificate}, &mvba.Finish{At: first, Accepts: certificate},
		&mvba.PreVote{At: first, Yes: true, Echoes: certificate}, &mvba.Vote{At: later, NoPreVotes: certificate, Key: key},
		&mvba.Decision{At: first, Accepts: certificate, Coin: shares},
	}
}

// TestTableIsDocumented: docs/wire.md has a row with name and stream for each kind outside the agreement.
func TestTableIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	for k := range 256 {
		e := messages.Of(protocols.Kind(k))
		if e == nil || e.Kind >= protocols.KindsCoin && e.Kind < protocols.KindsInbound {
			continue
		}
		stream := "control"
		if e.Stream == protocols.Bulk {
			stream = "bulk"
		}
		if row := fmt.Sprintf("| %#02x | %s | %s |", uint8(e.Kind), e.Name, stream); !strings.Contains(string(text), row) {
			t.Errorf("docs/wire.md lacks %q", row)
		}
	}
}
