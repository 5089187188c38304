package record

import (
	"encoding/binary"
	"errors"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/protocols"
)

var errMalformed = errors.New("malformed entry")

// encoder appends values. Readings of the clocks are encoded as differences from the one before.
type encoder struct {
	b    []byte
	last admission.Reading
}

func (e *encoder) u8(v uint8)       { e.b = append(e.b, v) }
func (e *encoder) u64(v uint64)     { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) i64(v int64)      { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) raw(v []byte)     { e.b = append(e.b, v...) }
func (e *encoder) bytes(v []byte)   { e.u64(uint64(len(v))); e.raw(v) }
func (e *encoder) text(v string)    { e.u64(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) id(v ledger.TxID) { e.raw(v[:]) }

func (e *encoder) flag(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

func (e *encoder) reading(r admission.Reading) {
	e.i64(int64(r.Now - e.last.Now))
	e.i64(int64(r.Ahead - e.last.Ahead))
	e.last = r
}

func (e *encoder) ints(list []int) {
	e.u64(uint64(len(list)))
	for _, v := range list {
		e.u64(uint64(v))
	}
}

func (e *encoder) refusal(r *ledger.Refusal) {
	e.flag(r != nil)
	if r != nil {
		e.u8(uint8(r.Reason))
		e.text(r.Detail)
	}
}

// decoder reads the output of an encoder. The first failure stays; later values are zero.
type decoder struct {
	b    []byte
	last admission.Reading
	err  error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errMalformed
	}
	d.b = nil
}

func (d *decoder) raw(n uint64) []byte {
	if d.err != nil || n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8 {
	if v := d.raw(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u64() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) i64() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte    { return d.raw(d.u64()) }
func (d *decoder) text() string     { return string(d.bytes()) }
func (d *decoder) fixed(dst []byte) { copy(dst, d.raw(uint64(len(dst)))) }
func (d *decoder) flag() bool       { return d.u8() == 1 }

func (d *decoder) id() (v ledger.TxID) {
	d.fixed(v[:])
	return v
}

func (d *decoder) reading() admission.Reading {
	d.last.Now += protocols.Time(d.i64())
	d.last.Ahead += time.Duration(d.i64())
	return d.last
}

// count reads the length of a list whose elements take at least one byte each.
func (d *decoder) count() int {
	n := d.u64()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) ints() []int {
	n := d.count()
	if n == 0 {
		return nil
	}
	list := make([]int, n)
	for i := range list {
		list[i] = int(d.u64())
	}
	return list
}

func (d *decoder) refusal() *ledger.Refusal {
	if !d.flag() {
		return nil
	}
	return &ledger.Refusal{Reason: ledger.Reason(d.u8()), Detail: d.text()}
}
