package p2p

import (
	"bufio"
	"bytes"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/golden"
	"bdtnode/protocols"
)

// handshake is a hello with fields that can be printed.
type handshake struct {
	Network digest.Digest
	Shard   uint16
	Replica protocols.Index
	Session uint64
}

// Frames and handshakes are as the files in testdata/wire have them.
func TestVectors(t *testing.T) {
	first := hello{digest.Of("test/network"), 3, 7, 1<<63 + 5}.append(nil)
	golden.Vectors(t, "testdata/wire", []golden.Vector{
		{
			File: "handshake", Title: "The first frame of every stream, without its length.",
			Samples: []golden.Sample{{Name: "handshake", Encoding: first}},
			Decode: func(b []byte) (any, []byte, error) {
				h, err := readHello(b)
				return handshake{h.network, h.shard, h.index, h.session}, h.append(nil), err
			},
		},
		{
			File: "frame", Title: "A frame with its length.",
			Samples: []golden.Sample{{Name: "of-two-bytes", Encoding: appendFrame(nil, []byte("ab"))}},
			Decode: func(b []byte) (any, []byte, error) {
				frame, err := readFrame(bufio.NewReader(bytes.NewReader(b)), len(b))
				return frame, appendFrame(nil, frame), err
			},
		},
	})
}
