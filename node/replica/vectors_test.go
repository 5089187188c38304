package replica

import (
	"fmt"
	"reflect"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/golden"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
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
	"bdtnode/shard/settlement"
)

// example is a message with the name of its sample.
type example struct {
	name    string
	message protocols.Message
}

// TestVectors compares the encodings of all messages inside a shard, and of the parts that several of them have, with the
// files in testdata/wire. A kind of message without a file fails.
func TestVectors(t *testing.T) {
	b := newBench(t, 4, 2, "")
	vectors := parts(t, b)
	have := make(map[protocols.Kind]bool)
	for _, x := range examples(t, b) {
		kind := x.message.Kind()
		name := reflect.TypeOf(x.message).Elem()
		file := fmt.Sprintf("%#02x-%s", uint8(kind), name.Name())
		sample := golden.Sample{Name: x.name, Encoding: Encode(x.message)}
		if have[kind] {
			last := &vectors[len(vectors)-1]
			last.Samples = append(last.Samples, sample)
			continue
		}
		have[kind] = true
		vectors = append(vectors, golden.Vector{
			File: file, Title: fmt.Sprintf("Message %#02x inside a shard, %s: a frame, which is the kind and the body.", uint8(kind), name),
			Samples: []golden.Sample{sample},
			Decode: func(frame []byte) (any, []byte, error) {
				m, err := Decode(b.c, frame)
				if err != nil {
					return nil, nil, err
				}
				return m, Encode(m), nil
			},
		})
	}
	for k := range 256 {
		kind := protocols.Kind(k)
		if e := messages.Of(kind); (e != nil) != have[kind] {
			t.Errorf("message kind %#02x: in the table %v, has a vector %v", k, e != nil, have[kind])
		}
	}
	golden.Vectors(t, "testdata/wire", vectors)
}

// examples are one or two messages of each kind, those of one kind together.
func examples(t *testing.T, b *bench) []example {
	first := lanes.NewBatch(b.c, b.scheme.Signer(2), lanes.Header{Lane: 2, Seq: 1, Count: 1, TimeMS: 1_000}, []byte("payload"))
	second := lanes.NewBatch(b.c, b.scheme.Signer(2), lanes.Header{Lane: 2, Seq: 2, Parent: first.Digest(), Count: 1, TimeMS: 1_001}, []byte("payload"))
	quorum, weak := b.certificate(1, 3).Certificate, b.certificate(1, 2).Certificate
	tip := &lanes.TipCertificate{Lane: 2, Tip: first.Tip(), Certificate: quorum}
	second.Certificate = tip
	d, block := digest.Of("value"), b.blocks[0]
	qc := &bolt.QC{Epoch: 1, Slot: 1, Digest: block.Digest(), Certificate: quorum}
	ldTip := &inbound.TipCertificate{Source: 1, Tip: lanes.Tip{Seq: 1, Digest: d}, Certificate: weak}
	claim := bdt.Claim{
		Epoch: 1, Slot: 1, Digest: block.Digest(), TimeMS: 1_002,
		Cut: lanes.Cut{{}, {}, first.Tip(), {}}, Inbound: lanes.Cut{{}, ldTip.Tip},
	}
	at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 1}
	later := at
	later.Round = 2
	name := coin.Name{Epoch: 1, Kind: 1, Round: 1}
	shares := coin.Shares{Shares: []coin.Share{{1}, {2}}}
	shares.Holders.Add(0)
	shares.Holders.Add(3)
	key := &mvba.Key{Round: 1, Leader: 3, Digest: d, Echoes: quorum, Coin: shares}
	no := mvba.NoVotes{Claims: []uint32{0, 0, 1}, Signatures: []sig.Signature{{1}, {2}, {3}}}
	for _, i := range []protocols.Index{0, 1, 2} {
		no.Signers.Add(i)
	}
	s := sig.Signature{9}
	return []example{
		{"alone", first}, {"with-certificate", second},
		{"ack", &lanes.Ack{Lane: 2, Tip: first.Tip(), Signature: s}},
		{"certificate", tip},
		{"chain", &lanes.Fetch{Lane: 2, Tip: second.Tip(), After: 1}}, {"lane-of-its-owner", &lanes.Fetch{Lane: 2, After: 7}},
		{"header", &lanes.Conflict{SignedHeader: first.SignedHeader}},
		{"plain", &bolt.Propose{Leader: 0, Block: block, Signature: s}},
		{"with-certificate", &bolt.Propose{Leader: 0, Block: block, Certificates: []*lanes.TipCertificate{tip}, Signature: s}},
		{"vote", &bolt.Vote{Epoch: 1, Slot: 1, Digest: block.Digest(), Signature: s}},
		{"finalize", &bolt.Finalize{Epoch: 1, Slot: 1, Digest: block.Digest()}},
		{"fetch", &bolt.FetchBlock{Epoch: 1, Slot: 1, Digest: block.Digest()}},
		{"VOTE", b.vote(1, 1)},
		{"position", &Position{Certified: 9}}, {"again", &Position{Certified: 9, Again: true}},
		{"request", &Request{From: 9}},
		{"two-blocks", b.history(1, 2)}, {"none", &History{}},
		{"hello", &Hello{Boot: 1, Nonce: 2, Epoch: 3, Slot: 4, Number: 5}},
		{"nothing-known", &Known{Member: 2, To: 3}},
		{"all", &Known{
			Member: 2, To: 3, Boot: 4, Nonce: 5, Header: &lanes.Conflict{SignedHeader: first.SignedHeader},
			Vote:      &bolt.Vote{Epoch: 1, Slot: 1, Digest: block.Digest(), Signature: s},
			Status:    &bdt.SignedClaim{Replica: 2, Claim: claim, Signature: s},
			Proposal:  &bolt.SignedProposal{Leader: 2, Epoch: 1, Slot: 1, Digest: block.Digest(), Signature: s},
			Agreement: &mvba.Signed{At: at, Phase: mvba.PhaseEcho, Broadcaster: 1, Digest: d, Signature: s},
		}},
		{"fenced", &Fenced{Boot: 1, Nonce: 2}},
		{"ping", &Ping{Sent: 7}}, {"pong", &Pong{Sent: 7, Wall: 8}},
		{"share", &coin.Release{Name: name, Share: coin.Share{1}}},
		{"shares", &coin.Relay{Name: name, Shares: shares}},
		{"round-1", &mvba.Proposal{At: at, Value: []byte("value"), Digest: mvba.DigestOf([]byte("value"))}},
		{"by-key", &mvba.Proposal{At: later, Digest: d, Justification: &mvba.Justification{Key: key, NoPreVotes: quorum}}},
		{"by-no-votes", &mvba.Proposal{At: later, Digest: d, Justification: &mvba.Justification{NoVotes: no}}},
		{"echo", &mvba.Echo{At: at, Broadcaster: 1, Digest: d, Signature: s}},
		{"lock", &mvba.Lock{At: at, Digest: d, Echoes: quorum}},
		{"accept", &mvba.Accept{At: at, Broadcaster: 1, Digest: d, Signature: s}},
		{"finish", &mvba.Finish{At: at, Digest: d, Accepts: quorum}},
		{"yes", &mvba.PreVote{At: at, Leader: 3, Yes: true, Digest: d, Echoes: quorum}},
		{"no", &mvba.PreVote{At: at, Leader: 3, Signature: s}},
		{"yes", &mvba.Vote{At: at, Leader: 3, Yes: true, Digest: d, Echoes: quorum, Signature: s}},
		{"no", &mvba.Vote{At: later, Leader: 3, NoPreVotes: quorum, Key: key, Signature: s}},
		{"decision", &mvba.Decision{At: at, Leader: 3, Digest: d, Accepts: quorum, Coin: shares}},
		{"fetch-value", &mvba.FetchValue{Instance: at.Instance, Digest: d}},
		{"value", &mvba.Value{Instance: at.Instance, Value: []byte("value")}},
		{"resend-request", &mvba.ResendRequest{At: later}},
		{"one-entry", NewInbound(anLD(t, b, weak))},
		{"SIGN", &inbound.SIGN{Source: 1, Tip: ldTip.Tip, Signature: s}},
		{"fetch", &inbound.FetchLD{Source: 1, Tip: lanes.Tip{Seq: 3, Digest: d}, After: 1}},
		{"certificate", ldTip},
		{"slot-0", &bdt.Status{Claim: bdt.Claim{Epoch: 1, TimeMS: 1_002, Cut: make(lanes.Cut, 4), Inbound: make(lanes.Cut, 2)}, Signature: s}},
		{"all-proofs", &bdt.Status{
			Claim: claim, Signature: s, QC: qc, Certificates: []*lanes.TipCertificate{tip}, Deliveries: []*inbound.TipCertificate{ldTip},
		}},
		{"transaction", &cancel.CLM{Content: []byte("transaction"), Digest: cancel.DigestOf([]byte("transaction")), Signature: s}},
		{"two-batches", &vouch.Vouch{Batches: []lanes.Ref{{Lane: 1, Tip: lanes.Tip{Seq: 7, Digest: d}}, {Lane: 2, Tip: first.Tip()}}}},
	}
}

// anLD is an LD of shard 1 with one transaction.
func anLD(t *testing.T, b *bench, certificate protocols.Certificate) *settlement.LD {
	t.Helper()
	payer, payee := b.scheme.Signer(100), b.scheme.Signer(101)
	body := ledger.Body{
		Network: b.c.Network(), ExpiryMS: 2_000_000,
		Inputs:  []ledger.Input{{Outpoint: ledger.Outpoint{Tx: ledger.TxID(digest.Of("earlier")), Index: 1}, Key: payer.Public(), Amount: 100}},
		Outputs: []ledger.Output{{Address: ledger.AddressOf(payee.Public()), Amount: 99}}, Fee: 1,
	}
	tx, err := body.Sign(payer)
	if err != nil {
		t.Fatal(err)
	}
	d := ledger.NewDelivery(ledger.Delivery{Source: 1, Destination: 0, Number: 1, Entries: []ledger.Entry{{Verdict: ledger.VerdictSpent, Tx: tx}}})
	return &settlement.LD{
		Header: ledger.Header{Network: b.c.Network(), Shard: 1, Height: 1, Epoch: 1, Slot: 1, Outbox: d.Digest(), TimeMS: 1_000_000}, Certificate: certificate,
		Count: 1, Delivery: d,
	}
}

// parts are the encodings that stand within several messages and records.
func parts(t *testing.T, b *bench) []golden.Vector {
	t.Helper()
	certificate := b.certificate(1, 3).Certificate
	last := bolt.NewLast(b.c, 1, b.blocks[1], 1_000, make(lanes.Cut, 4), make(lanes.Cut, 1))
	qc := &bolt.QC{Epoch: 1, Slot: 2, Digest: b.blocks[1].Digest(), Certificate: certificate}
	claim := func(i protocols.Index, slot uint64) bdt.SignedClaim {
		x := bdt.SignedClaim{Replica: i, Claim: bdt.Claim{Epoch: 1, TimeMS: 1_000, Cut: make(lanes.Cut, 4), Inbound: make(lanes.Cut, 1)}, Signature: sig.Signature{byte(i)}}
		if slot > 0 {
			x.Slot, x.Digest = slot, qc.Digest
		}
		return x
	}
	input := &bdt.Input{
		Epoch: 1, Claims: []bdt.SignedClaim{claim(0, 0), claim(1, 2), claim(3, 0)}, QC: qc, Block: b.blocks[1],
		Cut: make(lanes.Cut, 4), Inbound: make(lanes.Cut, 1),
	}
	certified := b.certificate(1, 2)
	return []golden.Vector{
		{
			File: "certificate", Title: "Signatures of distinct replicas on one statement, as QCs, certificates and headers have them.",
			Samples: []golden.Sample{{Name: "three-signers", Encoding: certificate.Append(nil)}},
			Decode: func(x []byte) (any, []byte, error) {
				r := wire.NewReader(x)
				c := protocols.ReadCertificate(r)
				return c, c.Append(nil), r.Done()
			},
		},
		{
			File: "block", Title: "A block of a slot, and the block that ends an epoch.",
			Samples: []golden.Sample{{Name: "of-a-slot", Encoding: b.blocks[0].Append(nil)}, {Name: "last", Encoding: last.Append(nil)}},
			Decode: func(x []byte) (any, []byte, error) {
				r := wire.NewReader(x)
				v := bolt.ReadBlock(b.c, r)
				return v, v.Append(nil), r.Done()
			},
		},
		{
			File: "QC", Title: "n-f votes for the block of a slot.",
			Samples: []golden.Sample{{Name: "QC", Encoding: qc.Append(nil)}},
			Decode: func(x []byte) (any, []byte, error) {
				r := wire.NewReader(x)
				v := bolt.ReadQC(r)
				return v, v.Append(nil), r.Done()
			},
		},
		{
			File: "certified-header", Title: "f+1 VOTEs for the header of a height.",
			Samples: []golden.Sample{{Name: "two-VOTEs", Encoding: certified.Append(nil)}},
			Decode: func(x []byte) (any, []byte, error) {
				r := wire.NewReader(x)
				v := certify.ReadCertified(r)
				return v, v.Append(nil), r.Done()
			},
		},
		{
			File: "input", Title: "A value of the agreement that ends an epoch: n-f claims, the QC of the highest slot, and a cut.",
			Samples: []golden.Sample{{Name: "slot-2", Encoding: input.Encode()}},
			Decode: func(x []byte) (any, []byte, error) {
				v, err := bdt.DecodeInput(b.c, x)
				if err != nil {
					return nil, nil, err
				}
				return v, v.Encode(), nil
			},
		},
	}
}
