package api_test

import (
	"testing"

	"bdtnode/internal/golden"
	"bdtnode/node/api"
)

// TestVectors compares the binary body of POST /v1/txs with the file in testdata/wire.
func TestVectors(t *testing.T) {
	golden.Vectors(t, "testdata/wire", []golden.Vector{{
		File: "txs", Title: "The binary body of POST /v1/txs. The transactions are texts here.",
		Samples: []golden.Sample{
			{Name: "one", Encoding: api.EncodeTxs([][]byte{[]byte("first")})},
			{Name: "two", Encoding: api.EncodeTxs([][]byte{[]byte("first"), []byte("second")})},
		},
		Decode: func(b []byte) (any, []byte, error) {
			txs, err := api.DecodeTxs(b)
			return txs, api.EncodeTxs(txs), err
		},
	}})
}
