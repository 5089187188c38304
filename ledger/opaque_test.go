package ledger

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/merkle"
)

// someEntries draws encoded entries.
func someEntries(t *rapid.T, most int) (raw []byte, entries []OpaqueEntry) {
	for range rapid.IntRange(1, most).Draw(t, "entries") {
		e := OpaqueEntry{Payload: bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.SampledFrom([]int{1, 2, 250, 4096, 5000}).Draw(t, "size"))}
		if rapid.Bool().Draw(t, "identified") {
			e.ID = bytes.Repeat([]byte{rapid.Byte().Draw(t, "id")}, OpaqueIDSize)
		}
		raw = AppendOpaque(raw, e.ID, e.Payload)
		entries = append(entries, e)
	}
	return raw, entries
}

// TestOpaqueEntries: entries are read as they were encoded; parts of them are whole entries within the bounds, and all parts
// together are the entries.
func TestOpaqueEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw, want := someEntries(t, 40)
		p, err := DecodePayload(OpaqueKinds(), EncodeOpaque(len(want), raw))
		if err != nil {
			t.Fatal(err)
		}
		o := p.Opaque
		if o.Len() != len(want) || p.Len() != len(want) || CountOpaque([][]byte{raw[:0], raw}) != len(want) {
			t.Fatalf("%d entries, want %d", o.Len(), len(want))
		}
		ids := 0
		for i, e := range o.Each() {
			if !bytes.Equal(e.ID, want[i].ID) || !bytes.Equal(e.Payload, want[i].Payload) {
				t.Fatalf("entry %d differs", i)
			}
			if e.ID != nil {
				ids++
			}
		}
		if o.IDs() != ids {
			t.Errorf("%d ids, want %d", o.IDs(), ids)
		}
		size, most := rapid.IntRange(0, 9000).Draw(t, "bytes"), rapid.IntRange(1, 20).Draw(t, "most")
		var parts []byte
		for rest := o; rest.Len() > 0; {
			part, n := rest.Part(size, most)
			if n == 0 || n > most || n > 1 && len(part) > size || CountOpaque([][]byte{part}) != n {
				t.Fatalf("a part of %d entries in %d bytes, at most %d and %d", n, len(part), most, size)
			}
			parts, rest = append(parts, part...), rest.After(part, n)
		}
		if !bytes.Equal(parts, raw) {
			t.Error("the parts are not the entries")
		}
	})
}

// TestOpaqueProofs: every entry has a path to the root, of no other place, and the groups are all entries.
func TestOpaqueProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw, want := someEntries(t, 40)
		o, err := ReadOpaque(raw)
		if err != nil {
			t.Fatal(err)
		}
		var joined []byte
		for _, g := range o.Groups() {
			joined = append(joined, g.Raw...)
		}
		if !bytes.Equal(joined, raw) {
			t.Fatal("the groups are not the entries")
		}
		position := rapid.IntRange(0, len(want)-1).Draw(t, "position")
		g, index, groups, path := o.Prove(position)
		if position < g.First || position >= g.First+g.Count || !path.Verify(o.Root(), g.Leaf(), index, groups) {
			t.Fatalf("group %d of %d, from %d, does not prove entry %d", index, groups, g.First, position)
		}
		moved := g
		moved.First++
		if path.Verify(o.Root(), moved.Leaf(), index, groups) || path.Verify(o.Root(), g.Leaf(), index, groups+1) {
			t.Error("the path proves another place too")
		}
	})
}

// TestOpaqueBounds: payloads of 1 byte and of the greatest size are accepted, others are refused.
func TestOpaqueBounds(t *testing.T) {
	entry := func(kind KindID, size int) []byte {
		return append(wire.AppendU32([]byte{byte(kind)}, uint32(size)), make([]byte, size)...)
	}
	head := func(version byte, count int, raw []byte) []byte {
		return append(wire.AppendU32([]byte{version}, uint32(count)), raw...)
	}
	for name, c := range map[string]struct {
		raw  []byte
		good bool
	}{
		"one byte":               {head(1, 1, entry(KindOpaque, 1)), true},
		"the greatest":           {head(1, 1, entry(KindOpaque, MaxOpaqueBytes)), true},
		"the greatest with id":   {head(1, 1, entry(KindIdentified, MaxOpaqueBytes+OpaqueIDSize)), true},
		"empty":                  {head(1, 1, entry(KindOpaque, 0)), false},
		"only an id":             {head(1, 1, entry(KindIdentified, OpaqueIDSize)), false},
		"too long":               {head(1, 1, entry(KindOpaque, MaxOpaqueBytes+1)), false},
		"too long with id":       {head(1, 1, entry(KindIdentified, MaxOpaqueBytes+OpaqueIDSize+1)), false},
		"a transaction":          {head(1, 1, entry(KindTx, 100)), false},
		"evidence":               {head(1, 1, entry(KindEvidence, 100)), false},
		"continue":               {head(1, 1, entry(KindContinue, 0)), false},
		"no entries":             {head(1, 0, nil), false},
		"fewer than announced":   {head(1, 2, entry(KindOpaque, 1)), false},
		"more than announced":    {head(1, 1, slices.Repeat(entry(KindOpaque, 1), 2)), false},
		"cut off":                {head(1, 1, entry(KindOpaque, 9)[:12]), false},
		"too many":               {head(1, MaxPayloadEntries+1, slices.Repeat(entry(KindOpaque, 1), MaxPayloadEntries+1)), false},
		"a version of its own":   {head(2, 1, entry(KindOpaque, 1)), false},
		"as many as are allowed": {head(1, MaxPayloadEntries, slices.Repeat(entry(KindOpaque, 1), MaxPayloadEntries)), true},
	} {
		_, err := DecodePayload(OpaqueKinds(), c.raw)
		if (err == nil) != c.good || err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := CheckPayload(OpaqueKinds(), sig.NewEd25519(), digest.Digest{}, c.raw); (err == nil) != c.good {
			t.Errorf("%s: checked, %v", name, err)
		}
	}
}

// TestLedgersShareNoEntries: the batches of one ledger are malformed in the other.
func TestLedgersShareNoEntries(t *testing.T) {
	opaque := EncodeOpaque(1, AppendOpaque(nil, nil, []byte("x")))
	if _, err := DecodePayload(Kinds{ContinueKind()}, opaque); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a payment ledger reads an opaque payload: %v", err)
	}
}

// TestLogBatchEncoding: records are read as they were encoded, and their leaves depend on every field.
func TestLogBatchEncoding(t *testing.T) {
	x := LogBatch{
		Lane: 3, Seq: 9, Digest: digest.Of("a"), Count: 7, Bytes: 70, Root: digest.Of("b"),
		Repeated: []LogRepeat{{1, LogPlace{4, 0, 2}}, {6, LogPlace{5, 1, 0}}},
	}
	raw := x.Append(nil)
	r := wire.NewReader(raw)
	got := ReadLogBatch(r)
	if err := r.Done(); err != nil || len(raw) != x.Size() || !bytes.Equal(got.Append(nil), raw) {
		t.Fatalf("%+v, %v", got, err)
	}
	leaves := []digest.Digest{x.Leaf()}
	for _, change := range []func(*LogBatch){
		func(x *LogBatch) { x.Lane++ }, func(x *LogBatch) { x.Seq++ }, func(x *LogBatch) { x.Digest[0]++ }, func(x *LogBatch) { x.Count++ },
		func(x *LogBatch) { x.Bytes++ }, func(x *LogBatch) { x.Root[0]++ }, func(x *LogBatch) { x.Repeated = x.Repeated[:1] },
	} {
		y := x
		change(&y)
		if slices.Contains(leaves, y.Leaf()) {
			t.Errorf("another record with the same leaf: %+v", y)
		}
		leaves = append(leaves, y.Leaf())
	}
	x.Repeated = []LogRepeat{{6, LogPlace{}}, {1, LogPlace{}}}
	r = wire.NewReader(x.Append(nil))
	if ReadLogBatch(r); r.Done() == nil {
		t.Error("repeated entries that are not in order are read")
	}
	batches := []LogBatch{{Count: 1}, {Count: 2}, {Count: 3}}
	for i := range batches {
		if p := (merkle.Proof{Path: ProveLogBatch(batches, i)}); !p.Verify(LogRoot(batches), batches[i].Leaf(), i, 3) {
			t.Errorf("no path to batch %d", i)
		}
	}
}

// FuzzOpaque: decoding does not panic, and accepted entries have one encoding.
func FuzzOpaque(f *testing.F) {
	f.Add(AppendOpaque(AppendOpaque(nil, nil, []byte("x")), make([]byte, OpaqueIDSize), []byte("y")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := ReadOpaque(raw)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range o.Each() {
			again = AppendOpaque(again, e.ID, e.Payload)
		}
		if !bytes.Equal(again, raw) {
			t.Errorf("%x is read as %x", raw, again)
		}
	})
}
