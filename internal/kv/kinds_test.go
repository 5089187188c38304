package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestKindUse: the sizes of kinds are about the bytes of their records, in a store with and without a log, and nothing
// after it is closed.
func TestKindUse(t *testing.T) {
	kinds := []Kind{{"a", []byte("a/"), []byte("a0")}, {"b", []byte("b/"), []byte("b0")}, {"none", []byte("n/"), []byte("n0")}}
	p, err := OpenPebble("store", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	w := openWindow(t, vfs.NewMem(), WindowOptions{Groups: map[byte]int{'a': 0}})
	for name, s := range map[string]interface {
		Store
		KindUse(kinds []Kind) []KindUse
	}{"log": p, "window": w} {
		for i := range 10 {
			var b Batch
			for k := range 100 {
				value := make([]byte, 1000) // that no compression shortens
				_, _ = rand.NewChaCha8([32]byte{byte(i), byte(k)}).Read(value)
				b.Set(fmt.Appendf(nil, "a/%d/%d", i, k), value)
				if k%4 == 0 {
					b.Set(fmt.Appendf(nil, "b/%d/%d", i, k), value)
				}
				if k%2 == 0 {
					b.Set(fmt.Appendf(nil, "c/%d/%d", i, k), value)
				}
			}
			if err := s.Apply(&b, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		use := s.KindUse(kinds)
		if name == "window" && (len(use) != 5 || use[4] != KindUse{KeptKind, 0}) || name != "window" && len(use) != 4 || use[0].Name != "a" || use[3].Name != OtherKind {
			t.Fatalf("%s: %v", name, use)
		}
		a, b, none, other := use[0].Bytes, use[1].Bytes, use[2].Bytes, use[3].Bytes
		if a < 900_000 || a > 1_400_000 || b < a/6 || b > a/2 || other < a/3 || other > a || none > a/20 {
			t.Errorf("%s: %v", name, use)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, u := range s.KindUse(kinds) {
			if u.Bytes != 0 {
				t.Errorf("%s: %v after it is closed", name, u)
			}
		}
	}
}
