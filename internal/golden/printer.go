package golden

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

// Printer turns messages, records and outputs into text. Two runs of one script print the same: nothing in it depends on
// the order of a map. Fields with their zero value are left out, but for numbers of replicas and shards. Digests have names, given by the script or the runner; one
// without a name is printed as # and its first 8 hexadecimal digits. Signatures are left out.
type Printer struct {
	out     strings.Builder
	names   map[digest.Digest]string
	taken   map[string]digest.Digest
	shown   map[digest.Digest]bool // printed with its fields before
	values  map[string]func(key, value []byte) (any, error)
	formats map[reflect.Type]func(v any) string
	omitted []string
	wake    int64
	proofs  bool // signatures are printed, too

	// Suggest names a value that has a digest and no name yet; empty leaves it without one.
	Suggest func(v any) string
}

// NewPrinter makes a printer that knows no names.
func NewPrinter() *Printer {
	return &Printer{
		names: make(map[digest.Digest]string), taken: make(map[string]digest.Digest), shown: make(map[digest.Digest]bool),
		values:  make(map[string]func(key, value []byte) (any, error)),
		formats: make(map[reflect.Type]func(v any) string),
	}
}

// Line prints one line. A text without line breaks is meant.
func (p *Printer) Line(format string, args ...any) { fmt.Fprintf(&p.out, format+"\n", args...) }

func (p *Printer) take() string {
	s := p.out.String()
	p.out.Reset()
	return s
}

// Omit leaves out all fields of a name.
func (p *Printer) Omit(fields ...string) { p.omitted = append(p.omitted, fields...) }

// Format has all values of a type printed by a function.
func Format[T any](p *Printer, f func(v T) string) {
	p.formats[reflect.TypeFor[T]()] = func(v any) string { return f(v.(T)) }
}

// Name gives a digest its name. If the name is another digest's, it gets primes.
func (p *Printer) Name(d digest.Digest, name string) {
	if p.names[d] != "" || name == "" || d.IsZero() {
		return
	}
	for {
		other, used := p.taken[name]
		if !used || other == d {
			break
		}
		name += "'"
	}
	p.names[d], p.taken[name] = name, d
}

// Named is the digest that a script calls by a name; - is the zero digest.
func (p *Printer) Named(a *Args, name string) digest.Digest {
	if name == "-" {
		return digest.Digest{}
	}
	d, ok := p.taken[name]
	if !ok {
		a.Fatalf("nothing is named %s", name)
	}
	return d
}

// Digest is the name of a digest.
func (p *Printer) Digest(d digest.Digest) string {
	switch name := p.names[d]; {
	case d.IsZero():
		return "-"
	case name != "":
		return name
	}
	return "#" + d.Short()
}

// Plain is a text in which digests in hexadecimal are replaced by their names.
func (p *Printer) Plain(text string) string {
	return inHex.ReplaceAllStringFunc(text, func(x string) string {
		d, err := digest.Parse(x)
		if err != nil {
			return x
		}
		return p.Digest(d)
	})
}

var inHex = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// Text is a message or another value at the beginning of a line: its type and its fields.
func (p *Printer) Text(v any) string {
	x := indirect(reflect.ValueOf(v))
	if x.Kind() != reflect.Struct {
		return p.inner(x)
	}
	text := x.Type().Name()
	if text == "Output" { // the type of several machines' outputs, whose field says more
		return strings.Join(p.list(x), " ")
	}
	if d, ok := p.digestOf(x); ok {
		text += " " + p.Digest(d)
		p.shown[d] = true
	}
	if fields := p.list(x); len(fields) > 0 {
		text += " " + strings.Join(fields, " ")
	}
	return text
}

func indirect(v reflect.Value) reflect.Value {
	for (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && !v.IsNil() {
		v = v.Elem()
	}
	return v
}

// digestOf is the digest of a value that has a method for it. A value without a name may get one.
func (p *Printer) digestOf(v reflect.Value) (d digest.Digest, ok bool) {
	if v.Kind() != reflect.Struct {
		return d, false
	}
	x, ok := addressed(v).(interface{ Digest() digest.Digest })
	if !ok {
		return d, false
	}
	d = x.Digest()
	if p.Suggest != nil && p.names[d] == "" {
		p.Name(d, p.Suggest(x))
	}
	return d, true
}

// inner is a value within others.
func (p *Printer) inner(v reflect.Value) string {
	if v.Kind() == reflect.Interface {
		if v.IsNil() {
			return "-"
		}
		if err, ok := v.Interface().(error); ok {
			return err.Error()
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return "-"
	}
	if f := p.formats[v.Type()]; f != nil {
		return f(v.Interface())
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "-"
		}
		return p.inner(v.Elem())
	}
	switch x := v.Interface().(type) {
	case digest.Digest:
		return p.Digest(x)
	case sig.PublicKey:
		return x.String()
	}
	switch {
	case v.Kind() == reflect.Struct:
		return p.structure(v)
	case v.Kind() == reflect.Array && v.Len() == digest.Size && v.Type().Elem().Kind() == reflect.Uint8:
		return p.Digest(v.Convert(reflect.TypeFor[digest.Digest]()).Interface().(digest.Digest)) // a name of another type
	}
	if members := reflect.ValueOf(addressed(v)).MethodByName("Members"); members.IsValid() { // a set of replicas or shards
		return "{" + strings.Trim(fmt.Sprint(members.Call(nil)[0].Interface()), "[]") + "}"
	}
	if x, ok := v.Interface().(fmt.Stringer); ok {
		return x.String()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		return p.sequence(v)
	case reflect.String:
		return v.String()
	default:
		return fmt.Sprint(v.Interface())
	}
}

// structure is a struct within others: its name alone if it was printed before, its members if it is a set.
func (p *Printer) structure(v reflect.Value) string {
	if x, ok := addressed(v).(interface{ String() string }); ok {
		return x.String()
	}
	if position(v.Type()) {
		if v.IsZero() {
			return "-"
		}
		return fmt.Sprintf("%d:%s", v.Field(0).Uint(), p.inner(v.Field(1)))
	}
	name := ""
	if d, ok := p.digestOf(v); ok {
		name = p.Digest(d)
		if p.shown[d] {
			return name
		}
		p.shown[d] = true
	}
	fields := p.list(v)
	if len(fields) == 1 && name == "" && p.single(v.Type()) {
		_, value, _ := strings.Cut(fields[0], "=")
		return value
	}
	return name + "{" + strings.Join(fields, " ") + "}"
}

// position reports whether a type is a number with a digest, as positions of lanes and channels are.
func position(t reflect.Type) bool {
	return t.NumField() == 2 && t.Field(0).Type.Kind() == reflect.Uint64 &&
		t.Field(1).Type == reflect.TypeFor[digest.Digest]() && t.Field(1).IsExported()
}

// single reports whether a struct has one field that is ever printed, as a certificate has its signers. Its value is
// printed without a name.
func (p *Printer) single(t reflect.Type) bool {
	n := 0
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && (p.proofs || !proof(f.Type)) {
			n++
		}
	}
	return n == 1
}

// addressed is a value as an interface that has the methods of its pointer.
func addressed(v reflect.Value) any {
	x := reflect.New(v.Type())
	x.Elem().Set(v)
	return x.Interface()
}

// sequence is a slice or an array.
func (p *Printer) sequence(v reflect.Value) string {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return p.bytes(b)
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = p.inner(v.Index(i))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// bytes is a byte string: a text if it is a short one, else its length and a hash of it.
func (p *Printer) bytes(b []byte) string {
	if len(b) == digest.Size && p.names[digest.Digest(b)] != "" {
		return p.names[digest.Digest(b)]
	}
	printable := len(b) <= 40 && !slices.ContainsFunc([]rune(string(b)), func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) })
	if printable {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%d bytes #%s", len(b), digest.Of("golden", b).Short())
}

// list is the fields of a struct that are not zero, or that name a replica or a shard, which may be number 0; those of
// embedded structs are among them.
func (p *Printer) list(v reflect.Value) []string {
	var out []string
	t := v.Type()
	for i := range t.NumField() {
		f, x := t.Field(i), v.Field(i)
		switch {
		case f.Anonymous && indirect(x).Kind() == reflect.Struct:
			for _, inner := range p.list(indirect(x)) {
				name, _, _ := strings.Cut(inner, "=")
				if outer, ok := t.FieldByName(name); !ok || len(outer.Index) > 1 {
					out = append(out, inner)
				}
			}
		case !f.IsExported() || x.IsZero() && f.Type.Kind() != reflect.Uint16 || slices.Contains(p.omitted, f.Name) || !p.proofs && proof(f.Type):
		case f.Type.Kind() == reflect.Bool:
			out = append(out, f.Name)
		case (f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map) && x.Len() == 0:
		default:
			out = append(out, f.Name+"="+p.inner(x))
		}
	}
	return out
}

// proof reports whether a type is a signature, a share of the coin, or a list of these: byte arrays longer than a digest.
func proof(t reflect.Type) bool {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 && t.Len() > digest.Size
}
