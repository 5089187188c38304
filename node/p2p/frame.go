package p2p

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// wireVersion is the version of framing, handshake, streams, and of the encodings in them. Replicas of different versions
// do not talk to each other. Version 2 came with version 2 of the ledger's header: a VOTE of a program that makes other
// headers would stop the replica as if its state were corrupt.
const wireVersion = 2

// headerSize is the size of the length before a frame, big-endian, in bytes.
const headerSize = 4

// errFrame is wrapped by errors of the frame itself, which are the peer's fault.
var errFrame = errors.New("malformed frame")

// readFrame reads one frame of 1 to limit bytes into a new buffer. The error is io.EOF at a clean end between frames.
func readFrame(r *bufio.Reader, limit int) ([]byte, error) {
	n, err := readLength(r, limit)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: empty", errFrame)
	}
	return readBody(r, n, nil)
}

func readLength(r *bufio.Reader, limit int) (int, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > int64(limit) {
		return 0, fmt.Errorf("%w: %d bytes, at most %d allowed", errFrame, n, limit)
	}
	return int(n), nil
}

// firstPiece is the memory for a frame before any of its bytes has arrived. A longer frame has growth times the memory
// after each part that arrived completely, so an announced length alone reserves little. A smaller growth costs more
// copies: doubling took a twentieth of the time of a replica that receives large batches.
const (
	firstPiece = 32 << 10
	growth     = 8
)

// errNoRoom is wrapped by the error for a frame for which the reader has no memory left.
var errNoRoom = errors.New("no memory left for the frame")

// readBody reads a frame of n bytes into a new buffer. Before it allocates memory for a part, it calls reserve with the
// number of bytes; false refuses the frame. A nil reserve allows all.
func readBody(r *bufio.Reader, n int, reserve func(more int64) bool) ([]byte, error) {
	var frame []byte
	for len(frame) < n {
		piece := min(max(firstPiece, (growth-1)*len(frame)), n-len(frame))
		if reserve != nil && !reserve(int64(piece)) {
			return nil, fmt.Errorf("%w: %d of %d bytes", errNoRoom, len(frame), n)
		}
		grown := make([]byte, len(frame)+piece)
		copy(grown, frame)
		if _, err := io.ReadFull(r, grown[len(frame):]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		frame = grown
	}
	return frame, nil
}

// appendLength appends the header of a frame of n bytes.
func appendLength(b []byte, n int) []byte { return wire.AppendU32(b, uint32(n)) }

// appendFrame appends a frame with its length.
func appendFrame(b, frame []byte) []byte { return wire.AppendBytes(b, frame) }

// hello is the handshake: the first frame of every stream, in both directions.
type hello struct {
	network digest.Digest
	shard   uint16
	index   protocols.Index
	// session pairs the streams of one session: a random number of the opener, which the other side repeats.
	session uint64
}

// helloSize is the exact size of the handshake of this version.
const helloSize = 2 + digest.Size + 2 + 2 + 8

func (h hello) append(b []byte) []byte {
	b = wire.AppendU16(b, wireVersion)
	b = append(b, h.network[:]...)
	b = wire.AppendU16(b, h.shard)
	b = wire.AppendU16(b, uint16(h.index))
	return wire.AppendU64(b, h.session)
}

// readHello decodes a handshake. It checks the version first, because the version determines the other fields.
func readHello(frame []byte) (hello, error) {
	r := wire.NewReader(frame)
	var h hello
	if v := r.U16(); r.Err() == nil && v != wireVersion {
		return h, fmt.Errorf("the peer has wire version %d, this node %d", v, wireVersion)
	}
	r.Fixed(h.network[:])
	h.shard = r.U16()
	h.index = protocols.Index(r.U16())
	h.session = r.U64()
	return h, r.Done()
}

// check compares a peer's handshake with the genesis.
func (h hello) check(network digest.Digest, want place) error {
	switch {
	case h.network != network:
		return fmt.Errorf("the peer is in network %s, this node in %s", h.network.Short(), network.Short())
	case h.shard != want.shard || h.index != want.index:
		return fmt.Errorf("the peer claims to be shard %d replica %d, but the genesis says shard %d replica %d",
			h.shard, h.index, want.shard, want.index)
	}
	return nil
}
