// Package wire is the canonical binary encoding of everything that is signed, hashed, stored or sent.
//
// Integers are big-endian and of fixed width, byte strings are preceded by their length and lists by their count,
// both of fixed width. So a value has exactly one encoding, and a [Reader] that ends with [Reader.Done] accepts no
// other. Values are encoded with the Append functions of [encoding/binary] and those of this package.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every decoding error: the bytes are not the canonical encoding of the requested type.
var ErrMalformed = errors.New("malformed encoding")

// AppendU16 appends v, big-endian, 2 bytes.
func AppendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendU32 appends v, big-endian, 4 bytes.
func AppendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendU64 appends v, big-endian, 8 bytes.
func AppendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// AppendBytes appends the length of p, 4 bytes, and p.
func AppendBytes(b, p []byte) []byte { return append(AppendU32(b, uint32(len(p))), p...) }

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Reader decodes an encoding. After the first failure, all calls return zero values, and [Reader.Done] and
// [Reader.Err] return that failure. A Reader never allocates more than its input has bytes, and the byte slices that
// it returns alias the input.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a Reader of b, from its start.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Err is the first failure, or nil.
func (r *Reader) Err() error { return r.err }

// Len is the number of unread bytes.
func (r *Reader) Len() int { return len(r.rest) }

// Fail makes the Reader fail because of a rule that the caller checks. The error wraps [ErrMalformed]. If the Reader
// has failed before, Fail does nothing.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		r.rest = nil
	}
}

// Done returns nil if all bytes were read and nothing failed. Bytes left over are an error, since an encoding is
// exact.
func (r *Reader) Done() error {
	if r.err == nil && len(r.rest) > 0 {
		r.Fail("%d bytes left over", len(r.rest))
	}
	return r.err
}

// Raw returns the next n bytes. Its capacity is n, so appending to it does not overwrite the input.
func (r *Reader) Raw(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.rest) {
		r.Fail("%d bytes wanted, %d left", n, len(r.rest))
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}

// Fixed fills dst with the next len(dst) bytes.
func (r *Reader) Fixed(dst []byte) { copy(dst, r.Raw(len(dst))) }

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if p := r.Raw(1); p != nil {
		return p[0]
	}
	return 0
}

// Bool reads one byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	v := r.U8()
	if v > 1 {
		r.Fail("a boolean of %d", v)
	}
	return v == 1
}

// U16 reads 2 bytes.
func (r *Reader) U16() uint16 {
	if p := r.Raw(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// U32 reads 4 bytes.
func (r *Reader) U32() uint32 {
	if p := r.Raw(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

// U64 reads 8 bytes.
func (r *Reader) U64() uint64 {
	if p := r.Raw(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// Bytes reads a 4-byte length, which must be at most limit, and a byte string of that length.
func (r *Reader) Bytes(limit int) []byte {
	n := r.U32()
	if int64(n) > int64(limit) {
		r.Fail("a byte string of %d bytes, at most %d allowed", n, limit)
		return nil
	}
	return r.Raw(int(n))
}

// Count reads a 2-byte list length, which must be at most limit. It fails if the unread bytes are fewer than
// length·elemSize, so that a short message cannot make the caller allocate a long list; elemSize is the least size of
// an element in bytes.
func (r *Reader) Count(limit, elemSize int) int {
	n := int(r.U16())
	if n > limit {
		r.Fail("a list of %d elements, at most %d allowed", n, limit)
		return 0
	}
	if n*elemSize > len(r.rest) {
		r.Fail("a list of %d elements in %d bytes", n, len(r.rest))
		return 0
	}
	return n
}
