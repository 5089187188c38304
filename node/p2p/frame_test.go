package p2p

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"bdtnode/internal/digest"
)

func TestReadFrame(t *testing.T) {
	for _, x := range []struct {
		name, in string
		want     string
		err      error
	}{
		{"one", "\x00\x00\x00\x02ab", "ab", nil},
		{"at the limit", "\x00\x00\x00\x04abcd", "abcd", nil},
		{"more behind it", "\x00\x00\x00\x01ab", "a", nil},
		{"over the limit", "\x00\x00\x00\x05abcde", "", errFrame},
		{"far over the limit", "\xff\xff\xff\xff", "", errFrame},
		{"empty", "\x00\x00\x00\x00", "", errFrame},
		{"clean end", "", "", io.EOF},
		{"cut in the length", "\x00\x00", "", io.ErrUnexpectedEOF},
		{"cut before the body", "\x00\x00\x00\x02", "", io.ErrUnexpectedEOF},
		{"cut in the body", "\x00\x00\x00\x02a", "", io.ErrUnexpectedEOF},
	} {
		got, err := readFrame(bufio.NewReader(strings.NewReader(x.in)), 4)
		if string(got) != x.want || !errors.Is(err, x.err) {
			t.Errorf("%s: %q, %v; want %q, %v", x.name, got, err, x.want, x.err)
		}
	}
}

// A frame is read as it was written, and a reader never keeps more bytes than it was sent.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02ab"))
	f.Add([]byte("\x00\x00\x10\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		var out []byte
		for {
			frame, err := readFrame(r, 1<<12)
			if err != nil {
				break
			}
			if len(frame) == 0 || len(frame) > 1<<12 || cap(frame) != len(frame) {
				t.Fatalf("frame of %d bytes, capacity %d", len(frame), cap(frame))
			}
			out = appendFrame(out, frame)
		}
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("read %x out of %x", out, in)
		}
	})
}

func TestHello(t *testing.T) {
	h := hello{digest.Of("test/network"), 3, 200, 1<<63 + 5}
	enc := h.append(nil)
	if len(enc) != helloSize {
		t.Fatalf("%d bytes, want %d", len(enc), helloSize)
	}
	if got, err := readHello(enc); got != h || err != nil {
		t.Fatalf("%+v, %v; want %+v", got, err, h)
	}
	for name, x := range map[string]struct {
		in   []byte
		want string
	}{
		"earlier version": {append([]byte{0, wireVersion - 1}, enc[2:]...), "wire version 1, this node 2"},
		"later version":   {append([]byte{0, wireVersion + 1}, enc[2:]...), "wire version 3, this node 2"},
		"short":           {enc[:helloSize-1], "malformed"},
		"long":            {append(enc[:helloSize:helloSize], 0), "left over"},
		"nothing":         {nil, "malformed"},
	} {
		if _, err := readHello(x.in); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	for name, x := range map[string]struct {
		network digest.Digest
		want    place
		reason  string
	}{
		"same":          {h.network, place{3, 200}, ""},
		"other network": {digest.Of("test/another"), place{3, 200}, "the peer is in network"},
		"other shard":   {h.network, place{2, 200}, "shard 3 replica 200"},
		"other index":   {h.network, place{3, 0}, "shard 3 replica 200"},
	} {
		err := h.check(x.network, x.want)
		if (err == nil) != (x.reason == "") || err != nil && !strings.Contains(err.Error(), x.reason) {
			t.Errorf("%s: %v, want %q", name, err, x.reason)
		}
	}
}

func FuzzHello(f *testing.F) {
	f.Add(hello{digest.Of("x"), 1, 2, 3}.append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		if h, err := readHello(in); err == nil && !bytes.Equal(h.append(nil), in) {
			t.Fatalf("%x decodes to %+v, which encodes differently", in, h)
		}
	})
}
