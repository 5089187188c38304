package golden

import (
	"errors"
	"testing"

	"bdtnode/internal/digest"
)

type (
	replica uint16
	set     [1]uint64
	place   struct {
		Seq    uint64
		Digest digest.Digest
	}
	certificate struct {
		Signers    set
		Signatures [][64]byte
	}
	named struct {
		Height uint64
		digest digest.Digest
	}
	embedded struct{ Round uint32 }
	message  struct {
		embedded
		Lane        replica
		Tip         place
		Cut         []place
		Certificate *certificate
		Block       *named
		Again       bool
		Text        []byte
		Long        []byte
		Why         error
		Signature   [64]byte
		hidden      int
	}
)

func (s *set) Members() []int          { return []int{0, 2} }
func (n *named) Digest() digest.Digest { return n.digest }

// TestText: names, sets, positions and texts are short; zero fields, signatures and unexported fields are left out; a value
// with a digest is printed with its fields once.
func TestText(t *testing.T) {
	p := NewPrinter()
	a, b := digest.Of("a"), digest.Of("b")
	p.Name(a, "a1")
	p.Name(b, "a1") // taken
	m := &message{
		embedded: embedded{3}, Tip: place{2, a}, Cut: []place{{}, {1, b}}, Certificate: &certificate{Signatures: [][64]byte{{1}}},
		Block: &named{7, digest.Of("c")}, Again: true, Text: []byte("pay bob"), Long: make([]byte, 50), Why: errors.New("no reason"),
		Signature: [64]byte{1}, hidden: 1,
	}
	m.Certificate.Signers[0] = 5
	block := "#" + m.Block.digest.Short()
	long := "50 bytes #" + digest.Of("golden", m.Long).Short()
	const rest = ` Again Text="pay bob" Long=`
	first := "message Round=3 Lane=0 Tip=2:a1 Cut=[- 1:a1'] Certificate={0 2} Block=" + block + "{Height=7}" + rest + long + " Why=no reason"
	if got := p.Text(m); got != first {
		t.Errorf("got  %s\nwant %s", got, first)
	}
	again := "message Round=3 Lane=0 Tip=2:a1 Cut=[- 1:a1'] Certificate={0 2} Block=" + block + rest + long + " Why=no reason"
	if got := p.Text(m); got != again {
		t.Errorf("a second time: got  %s\nwant %s", got, again)
	}
	if got := p.Plain("input " + a.String() + " is spent"); got != "input a1 is spent" {
		t.Errorf("plain text: %s", got)
	}
}

// TestKeys: keys of records are printed with their prefix and fields; one that has other fields is printed in hexadecimal.
func TestKeys(t *testing.T) {
	p := NewPrinter()
	for key, want := range map[string]string{
		"l/a\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07": "l/a 3 7",
		"e/r": "e/r",
		"a/\x00\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00m\x60\xff\xff\xff\xff": "a/m 0x60 all",
		"l/a\xff": "6c2f61ff",
		"lock":    "lock",
	} {
		if got := p.key([]byte(key)); got != want {
			t.Errorf("key %q: %s, want %s", key, got, want)
		}
	}
}
