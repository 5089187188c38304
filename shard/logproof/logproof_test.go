package logproof_test

import (
	"bytes"
	"testing"

	"bdtnode/shard/logproof"
)

// FuzzDecode: decoding does not panic, and accepted proofs have one encoding. Verification of arbitrary proofs does not panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if p, err := logproof.Decode(raw); err == nil && !bytes.Equal(p.Encode(), raw) {
			t.Error("another encoding of a proof")
		}
		if x, err := logproof.DecodeBlock(raw); err == nil && !bytes.Equal(x.Encode(), raw) {
			t.Error("another encoding of a block")
		}
		b := logproof.Batch{}
		_ = b.Check(raw) // it may be wrong, and must not panic
	})
}
