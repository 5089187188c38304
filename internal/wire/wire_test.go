package wire

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// record has one field of each kind.
type record struct {
	u8    uint8
	flag  bool
	u16   uint16
	u32   uint32
	u64   uint64
	fixed [5]byte
	text  []byte
	list  []uint16
}

const (
	maxText = 40
	maxList = 6
)

func (x *record) append(b []byte) []byte {
	b = AppendBool(append(b, x.u8), x.flag)
	b = AppendU64(AppendU32(AppendU16(b, x.u16), x.u32), x.u64)
	b = AppendBytes(append(b, x.fixed[:]...), x.text)
	b = AppendU16(b, uint16(len(x.list)))
	for _, v := range x.list {
		b = AppendU16(b, v)
	}
	return b
}

func read(b []byte) (record, error) {
	r := NewReader(b)
	x := record{u8: r.U8(), flag: r.Bool(), u16: r.U16(), u32: r.U32(), u64: r.U64()}
	r.Fixed(x.fixed[:])
	x.text = r.Bytes(maxText)
	for range r.Count(maxList, 2) {
		x.list = append(x.list, r.U16())
	}
	return x, r.Done()
}

var sample = record{
	u8: 7, flag: true, u16: math.MaxUint16, u32: 0x01020304, u64: math.MaxUint64 - 1,
	fixed: [5]byte{1, 2, 3, 4, 5}, text: []byte("text"), list: []uint16{3, 2, 1},
}

// TestLayout: fields are encoded one after another, big-endian, as the package documentation says.
func TestLayout(t *testing.T) {
	want := []byte{
		7, 1, 0xff, 0xff, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
		1, 2, 3, 4, 5, 0, 0, 0, 4, 't', 'e', 'x', 't', 0, 3, 0, 3, 0, 2, 0, 1,
	}
	if got := sample.append(nil); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if back, err := read(want); err != nil || !bytes.Equal(back.append(nil), want) {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestTruncatedEncodingsAreRefused: an encoding that is cut anywhere, or has a byte more, is refused.
func TestTruncatedEncodingsAreRefused(t *testing.T) {
	whole := sample.append(nil)
	for n := range whole {
		if _, err := read(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := read(append(whole, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		read func(*Reader)
	}{
		"a boolean of 2":               {[]byte{2}, func(r *Reader) { r.Bool() }},
		"a string above its limit":     {AppendBytes(nil, make([]byte, 5)), func(r *Reader) { r.Bytes(4) }},
		"a string of 4 GiB":            {[]byte{0xff, 0xff, 0xff, 0xff}, func(r *Reader) { r.Bytes(math.MaxInt) }},
		"a list above its limit":       {[]byte{0, 3, 1, 1, 1}, func(r *Reader) { r.Count(2, 1) }},
		"a list longer than the input": {[]byte{0, 3, 1, 1, 1}, func(r *Reader) { r.Count(9, 2) }},
		"a negative number of bytes":   {[]byte{1}, func(r *Reader) { r.Raw(-1) }},
		"a rule of the caller":         {[]byte{1}, func(r *Reader) { r.U8(); r.Fail("%d is not allowed", 1) }},
	} {
		r := NewReader(c.in)
		c.read(r)
		if err := r.Done(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFirstFailureStays: after a failure every read returns zero, and the error does not change.
func TestFirstFailureStays(t *testing.T) {
	r := NewReader([]byte{2, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	r.Bool()
	first := r.Err()
	fixed := [2]byte{9, 9}
	r.Fixed(fixed[:])
	if r.U8() != 0 || r.U16() != 0 || r.U32() != 0 || r.U64() != 0 || r.Bool() || r.Raw(1) != nil || r.Bytes(9) != nil || r.Count(9, 1) != 0 || r.Len() != 0 {
		t.Error("a read after a failure returned data")
	}
	r.Fail("another")
	if first == nil || r.Err() != first || r.Done() != first {
		t.Errorf("the error is %v, the first error was %v", r.Done(), first)
	}
	if fixed != [2]byte{9, 9} {
		t.Error("a failed read changed its destination")
	}
}

// TestRawHasNoSpareCapacity: appending to a slice that Raw returned must not overwrite the bytes after it.
func TestRawHasNoSpareCapacity(t *testing.T) {
	in := []byte{1, 2, 3}
	p := NewReader(in).Raw(1)
	_ = append(p, 9)
	if in[1] != 2 {
		t.Error("the input was overwritten")
	}
}

// FuzzRead: every input that decodes is the canonical encoding of the decoded value.
func FuzzRead(f *testing.F) {
	f.Add(sample.append(nil))
	f.Add((&record{}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := read(b)
		if err == nil && !bytes.Equal(x.append(nil), b) {
			t.Errorf("%x decodes to a value that encodes to %x", b, x.append(nil))
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%v does not wrap ErrMalformed", err)
		}
	})
}
