package golden

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// Vector is a kind of encoding. Its file holds the encodings of its samples in hexadecimal, each with its decoded form.
type Vector struct {
	File    string // its name without .txt
	Title   string // the encoded thing
	Samples []Sample
	// Decode reads an encoding. It returns the value to print and the value's encoding.
	Decode func(b []byte) (value any, again []byte, err error)
}

// Sample is one encoding.
type Sample struct {
	Name     string // one word
	Encoding []byte
}

// bytesPerLine is how many bytes of an encoding stand on a line.
const bytesPerLine = 32

// Vectors checks that each file of a directory has the encodings of its vector's samples and their decoded forms, that every
// vector has a file, and that every file has a vector. With -rewrite it makes the files.
func Vectors(t *testing.T, dir string, vectors []Vector) {
	t.Helper()
	have, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range have {
		file := strings.TrimSuffix(filepath.Base(name), ".txt")
		if !slices.ContainsFunc(vectors, func(v Vector) bool { return v.File == file }) {
			t.Errorf("%s is a vector of no kind", name)
		}
	}
	for _, v := range vectors {
		t.Run(v.File, func(t *testing.T) {
			name := filepath.Join(dir, v.File+".txt")
			if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" { // a flag of the package datadriven
				v.begin(t, name)
			}
			seen := 0
			datadriven.RunTest(t, name, func(t *testing.T, d *datadriven.TestData) string {
				k := slices.IndexFunc(v.Samples, func(s Sample) bool { return s.Name == d.Cmd })
				if k != seen {
					d.Fatalf(t, "sample %q stands where sample %d of %d is wanted", d.Cmd, seen+1, len(v.Samples))
				}
				seen++
				return v.text(t, v.Samples[k].Encoding)
			})
			if seen != len(v.Samples) {
				t.Errorf("%s has %d samples, want %d", name, seen, len(v.Samples))
			}
		})
	}
}

// begin writes the file without its results.
func (v *Vector) begin(t *testing.T, name string) {
	t.Helper()
	text := "# " + v.Title + "\n"
	for _, s := range v.Samples {
		text += "\n" + s.Name + "\n----\n"
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// text is an encoding, and its decoded form. It fails unless the decoded value encodes to the same.
func (v *Vector) text(t *testing.T, encoding []byte) string {
	t.Helper()
	value, again, err := v.Decode(encoding)
	if err != nil {
		t.Fatalf("%s: %x does not decode: %v", v.File, encoding, err)
	}
	if !bytes.Equal(again, encoding) {
		t.Fatalf("%s: %x decodes to a value that encodes to %x", v.File, encoding, again)
	}
	p := NewPrinter()
	p.proofs = true
	p.Line("%d bytes", len(encoding))
	for line := range slices.Chunk(encoding, bytesPerLine) {
		p.Line("%s", hex.EncodeToString(line))
	}
	x := indirect(reflect.ValueOf(value))
	if x.Kind() != reflect.Struct {
		p.Line("%s", p.inner(x))
		return p.take()
	}
	p.Line("%s", x.Type().Name())
	p.tree("  ", x)
	return p.take()
}

// tree prints the fields of a struct, one a line, and those of structs within it behind a deeper indent.
func (p *Printer) tree(indent string, v reflect.Value) {
	if d, ok := p.digestOf(v); ok {
		p.Line("%sdigest %s", indent, d)
	}
	p.branch(indent, v)
}

func (p *Printer) branch(indent string, v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		f, x := t.Field(i), indirect(v.Field(i))
		switch {
		case f.Anonymous && x.Kind() == reflect.Struct:
			p.branch(indent, x)
		case !f.IsExported() || v.Field(i).IsZero() && f.Type.Kind() != reflect.Uint16:
		case f.Type == reflect.TypeFor[error]():
			p.Line("%s%s: %v", indent, f.Name, v.Field(i).Interface())
		case p.branches(x):
			p.Line("%s%s", indent, f.Name)
			p.tree(indent+"  ", x)
		case x.Kind() == reflect.Slice && x.Len() == 0:
		case x.Kind() == reflect.Slice && p.branches(indirect(x.Index(0))):
			for k := range x.Len() {
				p.Line("%s%s %d", indent, f.Name, k)
				p.tree(indent+"  ", indirect(x.Index(k)))
			}
		default:
			p.Line("%s%s %s", indent, f.Name, p.inner(x))
		}
	}
}

// branches reports whether a value is a struct whose fields are printed on lines of their own.
func (p *Printer) branches(v reflect.Value) bool {
	if v.Kind() != reflect.Struct || position(v.Type()) {
		return false
	}
	_, isText := addressed(v).(interface{ String() string })
	return !isText
}
