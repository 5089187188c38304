package settlement

import (
	"fmt"
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/ledger"
)

// TestVectors compares LDs, and the contents of all entries of a batch, with the files in testdata/wire. A kind of entry
// without a file fails. Transactions have theirs in package ledger.
func TestVectors(t *testing.T) {
	n := testNetwork(t)
	ld, broken := anLD(t, n), certified(t, n, func(d *ledger.Delivery) { d.Entries = append(d.Entries, d.Entries[0]) })
	vectors := []golden.Vector{{
		File: "LD", Title: "An LD: a delivery of one shard to another, with the proof that its source made it.",
		Samples: []golden.Sample{{Name: "one-entry", Encoding: ld.Encode()}},
		Decode: func(b []byte) (any, []byte, error) {
			v, err := DecodeLD(b)
			if err != nil {
				return nil, nil, err
			}
			return v, v.Encode(), nil
		},
	}}
	samples := map[ledger.KindID][]golden.Sample{
		ledger.KindEvidence: {
			{Name: "two-under-one-number", Encoding: twoUnderOneNumber(t, n).Encode()},
			{Name: "one-that-breaks-a-rule", Encoding: (&Evidence{LD: broken}).Encode()},
			{Name: "SPENT-and-a-CL", Encoding: (&Evidence{LD: ld, CL: aCL(n, 0, ld.Delivery.Entries[0].Tx, 1, 2)}).Encode()},
		},
		ledger.KindContinue: {{Name: "empty"}},
		ledger.KindCancel:   {{Name: "two-signers", Encoding: aCL(n, 1, transfer(masks{0b110, 0b001}, txExpiry, coin(0)), 0, 2).Encode()}},
	}
	for _, k := range n.Kinds(2) {
		have := samples[k.ID]
		if len(have) == 0 {
			t.Errorf("entry kind %d, %s, has no vector", k.ID, k.Name)
			continue
		}
		vectors = append(vectors, golden.Vector{
			File: fmt.Sprintf("entry-%d-%s", k.ID, k.Name), Title: fmt.Sprintf("The content of entry kind %d of a payload, %s.", k.ID, k.Name), Samples: have,
			Decode: func(b []byte) (any, []byte, error) {
				v, err := k.Decode(b)
				if err != nil {
					return nil, nil, err
				}
				return v, v.Encode(), nil
			},
		})
	}
	golden.Vectors(t, "testdata/wire", vectors)
}
