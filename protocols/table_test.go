package protocols

import (
	"errors"
	"strings"
	"testing"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// letter is a message of one byte.
type letter struct{ x byte }

func (*letter) Kind() Kind               { return KindsBolt }
func (m *letter) Append(b []byte) []byte { return append(b, m.x) }

func decodeLetter(b []byte) (*letter, error) {
	r := wire.NewReader(b)
	return &letter{r.U8()}, r.Done()
}

func letterEntry(change func(*SignedEntry)) SignedEntry {
	e := SignedEntry{Kind: KindsBolt, Name: "letter", Max: 1, Decode: Decoder(decodeLetter)}
	if change != nil {
		change(&e)
	}
	return e
}

// TestEntriesAreChecked: a table with a wrong entry panics when the program starts.
func TestEntriesAreChecked(t *testing.T) {
	second := letterEntry(func(e *SignedEntry) { e.Kind++ })
	Entries(KindsBolt, letterEntry(nil), second)
	for why, entries := range map[string][]SignedEntry{
		"one kind":           {letterEntry(nil), letterEntry(func(e *SignedEntry) { e.Name = "other" })},
		"outside the range":  {letterEntry(func(e *SignedEntry) { e.Kind = KindsBolt - 1 })},
		"range of kinds":     {letterEntry(func(e *SignedEntry) { e.Kind = KindsCertify })},
		"no name":            {letterEntry(func(e *SignedEntry) { e.Name = "" })},
		"no decode":          {letterEntry(func(e *SignedEntry) { e.Decode = nil })},
		"bodies of 0 bytes":  {letterEntry(func(e *SignedEntry) { e.Max = 0 })},
		"at most 2097152":    {letterEntry(func(e *SignedEntry) { e.Max = Control.Limit() })},
		"at most 16777216":   {letterEntry(func(e *SignedEntry) { e.Stream, e.Max = Bulk, Bulk.Limit() })},
		"and letter have on": {second, second},
	} {
		if got := panicOf(func() { Entries(KindsBolt, entries...) }); !strings.Contains(got, why) {
			t.Errorf("%s: the panic is %q", why, got)
		}
	}
	if got := panicOf(func() { NewTable([]SignedEntry{second}, []SignedEntry{second}) }); !strings.Contains(got, "one kind") {
		t.Errorf("two packages with one kind: the panic is %q", got)
	}
}

func panicOf(f func()) (text string) {
	defer func() { text, _ = recover().(string) }()
	f()
	return ""
}

// TestTableDecodes: a kind without entry, a body that is too long and a malformed one are errors with a nil message.
func TestTableDecodes(t *testing.T) {
	table := NewTable(Entries(KindsBolt, letterEntry(nil)))
	if m, err := table.Decode(nil, KindsBolt, []byte("x")); err != nil || m.(*letter).x != 'x' {
		t.Errorf("a body of one byte: %v, %v", m, err)
	}
	for name, c := range map[string]struct {
		kind Kind
		body string
	}{
		"unknown kind": {KindsBolt + 1, "x"}, "too long": {KindsBolt, "xy"}, "too short": {KindsBolt, ""},
	} {
		if m, err := table.Decode(nil, c.kind, []byte(c.body)); m != nil || !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

// TestLift: a lifted entry does the check of the child, and makes the parent's proof only if it succeeds.
func TestLift(t *testing.T) {
	bad := errors.New("bad")
	lifted := Lift([]SignedEntry{
		letterEntry(func(e *SignedEntry) {
			e.Check = func(_ *Committee, from Index, _ Message) ([]sig.Check, error) {
				if from == 1 {
					return nil, bad
				}
				return make([]sig.Check, from), nil
			}
		}),
		letterEntry(func(e *SignedEntry) { e.Kind++ }),
	}, func(checks []sig.Check) int { return 10 + len(checks) })
	if p, err := lifted[0].Check(nil, 3, &letter{}); p != 13 || err != nil {
		t.Errorf("a check that succeeds: %d, %v", p, err)
	}
	if p, err := lifted[0].Check(nil, 1, &letter{}); p != 0 || !errors.Is(err, bad) {
		t.Errorf("a check that fails: %d, %v", p, err)
	}
	if lifted[1].Check != nil || lifted[1].Kind != KindsBolt+1 || lifted[0].Max != 1 {
		t.Error("an entry without a check, or another field, changed")
	}
}
