package ledger

import (
	"testing"

	"bdtnode/internal/digest"
	wirevectors "bdtnode/internal/golden" // this package's tests have another golden
)

// vector is a vector of a type whose values encode themselves.
func vector[T any](file, title string, decode func(b []byte) (T, error), encode func(v T) []byte, samples ...wirevectors.Sample) wirevectors.Vector {
	return wirevectors.Vector{File: file, Title: title, Samples: samples, Decode: func(b []byte) (any, []byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, nil, err
		}
		return v, encode(v), nil
	}}
}

// TestVectors compares encodings of the ledger with the files in testdata/wire.
func TestVectors(t *testing.T) {
	simple := pay(t, 0, 50, []Outpoint{genesisOut(0, 0)}, 1, Output{addressOf(1), 49})
	joint := signed(t, Body{
		Network: testNet, ExpiryMS: genesisTime + 60_000, Fee: 2,
		Inputs:  []Input{{genesisOut(0, 0), signer(0).Public(), 50}, {genesisOut(1, 3), signer(1).Public(), 50}, {genesisOut(0, 1), signer(0).Public(), 50}},
		Outputs: []Output{{addressOf(2), 100}, {addressOf(0), 48}},
	}, 0, 1)
	of := func(s string) digest.Digest { return digest.Of("vector", []byte(s)) }
	first := NewDelivery(Delivery{Source: 0, Destination: 2, Number: 1, Entries: []Entry{{Verdict: VerdictSpent, Tx: simple}}})
	second := NewDelivery(Delivery{
		Source: 0, Destination: 2, Number: 2, Previous: first.Digest(), Applied: 7,
		Entries: []Entry{{Verdict: VerdictRejected, Reason: ReasonConsumed, Tx: joint}},
	})
	header := Header{
		Network: testNet, Shard: 1, Height: 7, Epoch: 2, Slot: 3, Parent: of("parent"), Block: of("block"), TxRoot: of("tx"),
		Receipts: of("receipts"), Outbox: of("outbox"), WriteSet: of("write-set"), TimeMS: genesisTime, Txs: 12,
	}
	end := header
	end.Last, end.Slot, end.Outbox = true, 0, digest.Digest{}
	later := header
	later.StateHeight, later.StateRoot, later.Committee, later.NextRoster, later.History = 6, of("state"), 4, of("roster"), of("history")
	settled := Receipt{Tx: simple.ID(), Shard: 1, Height: 7, Position: 3, Verdict: VerdictSettled, TimeMS: genesisTime}
	returned := Receipt{Tx: joint.ID(), Shard: 1, Height: 7, Position: 4, Verdict: VerdictReturned, Reason: ReasonConsumed, TimeMS: genesisTime}
	wirevectors.Vectors(t, "testdata/wire", []wirevectors.Vector{
		vector("transaction", "A transaction, entry kind 1 of a payload.", DecodeTx,
			func(v *Tx) []byte {
				again, err := v.Body.Sign(signer(0), signer(1)) // a decoded transaction keeps its bytes, so it is made anew
				if err != nil {
					t.Fatal(err)
				}
				return again.Encode()
			},
			wirevectors.Sample{Name: "one-input", Encoding: simple.Encode()}, wirevectors.Sample{Name: "two-owners", Encoding: joint.Encode()}),
		vector("payload", "A payload: the content of one batch of a lane.", func(b []byte) (*Payload, error) { return DecodePayload(Kinds{ContinueKind()}, b) },
			func(v *Payload) []byte {
				var raw [][]byte
				for _, tx := range v.Txs {
					raw = append(raw, tx.Encode())
				}
				var notices []RawNotice
				for _, n := range v.Notices {
					notices = append(notices, RawNotice{KindContinue, n.Encode()})
				}
				return EncodePayload(raw, notices...)
			},
			wirevectors.Sample{Name: "one-transaction", Encoding: EncodePayload([][]byte{simple.Encode()})},
			wirevectors.Sample{Name: "continue-and-one-transaction", Encoding: EncodePayload([][]byte{simple.Encode()}, RawNotice{Kind: KindContinue})}),
		vector("header", "The header of an executed block.", DecodeHeader, func(v Header) []byte { return v.Encode() },
			wirevectors.Sample{Name: "of-a-slot", Encoding: header.Encode()}, wirevectors.Sample{Name: "last-of-its-epoch", Encoding: end.Encode()},
			wirevectors.Sample{Name: "with-the-fields-of-later-parts", Encoding: later.Encode()}),
		vector("receipt", "What became of a transaction in one block.", DecodeReceipt, func(v Receipt) []byte { return v.Encode() },
			wirevectors.Sample{Name: "settled", Encoding: settled.Encode()}, wirevectors.Sample{Name: "returned", Encoding: returned.Encode()}),
		vector("delivery", "The verdicts of one block for another shard: the content of an LD.", DecodeDelivery, func(v *Delivery) []byte { return v.Append(nil) },
			wirevectors.Sample{Name: "first", Encoding: first.Append(nil)}, wirevectors.Sample{Name: "second", Encoding: second.Append(nil)}),
	})
}
