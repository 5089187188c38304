package golden

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
)

// Step prints a protocols.Step: records in their order, then messages, ranges of stored data to send, outputs and faults. This package imports no
// protocol, so that every package can import it, and takes the step apart by the names of its fields.
func (p *Printer) Step(step any) {
	v := reflect.ValueOf(step)
	for x := range elements(v, "Persist") {
		p.Record(x.FieldByName("Key").Bytes(), x.FieldByName("Value").Bytes())
	}
	for x := range elements(v, "Sends") {
		p.Line("send %s %s", receiver(x.FieldByName("To").Int()), p.Text(x.FieldByName("Message").Interface()))
	}
	for x := range elements(v, "Reads") {
		p.Line("send %s %s", receiver(int64(x.FieldByName("To").Uint())), p.Text(x.FieldByName("Range").Interface()))
	}
	for x := range elements(v, "Out") {
		p.Line("output %s", p.Text(x.Interface()))
	}
	for x := range elements(v, "Faults") {
		p.Line("fault %d %s", x.FieldByName("Peer").Uint(), x.FieldByName("Reason").String())
	}
}

// elements are those of a field that is a slice, none if the struct has no such field.
func elements(v reflect.Value, field string) iter.Seq[reflect.Value] {
	return func(yield func(reflect.Value) bool) {
		list := v.FieldByName(field)
		if !list.IsValid() {
			return
		}
		for i := range list.Len() {
			if !yield(list.Index(i)) {
				return
			}
		}
	}
}

func receiver(to int64) string {
	if to < 0 {
		return "all"
	}
	return fmt.Sprint(to)
}

// Timer prints the time of the machine's next tick, if that has changed since the last call. Both are nanoseconds; a wake
// of 0 means no tick.
func (p *Printer) Timer(wake, start int64) {
	if wake == p.wake {
		return
	}
	p.wake = wake
	switch {
	case wake == 0:
		p.Line("timer none")
	case wake < start:
		p.Line("timer at once")
	default:
		p.Line("timer %s", time.Duration(wake-start))
	}
}

// layouts are the fields behind the prefixes of the consensus store's keys, as docs/wire.md lists them.
var layouts = []struct{ prefix, fields string }{
	{"l/b", "2 8 digest"}, {"l/a", "2 8"}, {"l/m", "2"},
	{"b/p", "8 8"}, {"b/v", "8 8"}, {"b/c", "8 8"}, {"b/t", "8"},
	{"e/r", ""}, {"e/s", "8"},
	{"i/l", "2 8 digest"}, {"i/s", "2 8"},
	{"h/b", "8"}, {"h/c", "8"}, {"h/t", ""}, {"h/v", "2 1"},
	{"p/self", ""}, {"p/m", "2"},
}

// agreement is the fields of an agreement's key behind its instance, by the letter of its part.
var agreement = map[byte]string{'d': "", 'e': "2", 'm': "kind to", 's': "", 'v': "digest"}

// Record prints a record of a step.
func (p *Printer) Record(key, value []byte) {
	k := p.key(key)
	if value == nil {
		p.Line("delete %s", k)
		return
	}
	prefix, _, _ := strings.Cut(k, " ")
	if read := p.values[prefix]; read != nil {
		x, err := read(key, value)
		if err != nil {
			p.Line("persist %s: damaged: %v", k, err)
			return
		}
		p.Line("persist %s: %s", k, p.inner(reflect.ValueOf(x)))
		return
	}
	p.Line("persist %s: %s", k, p.bytes(value))
}

// key is a key in words.
func (p *Printer) key(key []byte) string {
	if rest, ok := strings.CutPrefix(string(key), "a/"); ok && len(rest) > 11 {
		r := wire.NewReader([]byte(rest))
		r.Raw(11) // the instance, which a script has one of
		part := r.U8()
		if fields, ok := agreement[part]; ok {
			if text, ok := p.fields(r, fields); ok {
				return "a/" + string(part) + text
			}
		}
	}
	for _, l := range layouts {
		if rest, ok := strings.CutPrefix(string(key), l.prefix); ok {
			if text, ok := p.fields(wire.NewReader([]byte(rest)), l.fields); ok {
				return l.prefix + text
			}
		}
	}
	if utf8.Valid(key) {
		return string(key)
	}
	return fmt.Sprintf("%x", key)
}

func (p *Printer) fields(r *wire.Reader, fields string) (string, bool) {
	text := ""
	for _, f := range strings.Fields(fields) {
		switch f {
		case "1":
			text += fmt.Sprintf(" %d", r.U8())
		case "2":
			text += fmt.Sprintf(" %d", r.U16())
		case "8":
			text += fmt.Sprintf(" %d", r.U64())
		case "kind":
			text += fmt.Sprintf(" %#x", r.U8())
		case "to":
			text += " " + receiver(int64(int32(r.U32())))
		case "digest":
			var d digest.Digest
			r.Fixed(d[:])
			text += " " + p.Digest(d)
		}
	}
	return text, r.Done() == nil
}

// Values has the records under a prefix decoded before they are printed.
func (p *Printer) Values(prefix string, read func(key, value []byte) (any, error)) {
	p.values[prefix] = read
}

// Disk keeps the records of steps.
type Disk map[string][]byte

// Keep applies the records of a step.
func (d Disk) Keep(step any) {
	for x := range elements(reflect.ValueOf(step), "Persist") {
		key, value := x.FieldByName("Key").Bytes(), x.FieldByName("Value")
		if value.IsNil() {
			delete(d, string(key))
		} else {
			d[string(key)] = slices.Clone(value.Bytes())
		}
	}
}

// Stored reads the records with from <= key < to in the order of keys, as a machine does at a restart.
func (d Disk) Stored(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		var keys []string
		for k := range d {
			if k >= string(from) && k < string(to) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !yield([]byte(k), d[k]) {
				return
			}
		}
	}
}
