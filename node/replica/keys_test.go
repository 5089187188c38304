package replica

import (
	"bytes"
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// TestIdentityKeysAreApart: the records of identity lie in no range that another part of the core scans.
func TestIdentityKeysAreApart(t *testing.T) {
	for _, key := range [][]byte{selfKey, markKeyOf(0), markKeyOf(99)} {
		for _, other := range [][]byte{CertificateKey(1), certifiedKey, lanes.StoredKey(1, lanes.Tip{}), inbound.StoredKey(1, lanes.Tip{})} {
			if bytes.Equal(key[:2], other[:2]) {
				t.Errorf("key %q begins as %q does", key, other)
			}
		}
	}
	b := newBench(t, 4, 0, "")
	store := kv.NewMem()
	if _, err := b.begin(t, 1, store, Origin{Born: true, Nonce: 1}); err != nil {
		t.Fatal(err)
	}
	b.restore(t, 1, nil, store)
}
