package record

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/node/admission"
	"bdtnode/node/replica"
	"bdtnode/protocols"
)

// A file of inputs has a magic text with the version of the format. Blocks follow: length 4 bytes, CRC-32C of the
// content 4 bytes, content. The first block is the [Header] in JSON; the content of each other block is whole entries.
// Numbers in front of blocks are big-endian.
const (
	magic      = "bdtnode recording 1\n"
	blockBytes = 64 << 10 // a block is written when it has so many bytes
	maxBlock   = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the first block of a recording.
type Header struct {
	Program string           `json:"program"` // version
	Network digest.Digest    `json:"network"`
	Shard   uint16           `json:"shard"`
	Replica protocols.Index  `json:"replica"`
	Began   time.Time        `json:"began"`
	Limits  admission.Limits `json:"limits"` // of clients
	Begun   *replica.Begun   `json:"begun"`  // the start; null if the replica trusts its store
	For     time.Duration    `json:"for_ns"`
	Bytes   int64            `json:"bytes"`
}

func appendBlockOf(b, content []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(content, castagnoli))
	return append(b, content...)
}

// begin is the start of a file.
func (h *Header) begin() ([]byte, error) {
	content, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("header of a recording: %w", err)
	}
	return appendBlockOf([]byte(magic), content), nil
}

// errCut means that the rest of a file is missing or damaged.
var errCut = errors.New("the file ends in the middle of a block")

// reader reads the blocks of a file.
type reader struct {
	r    io.Reader
	read int64
}

// open reads the header.
func (r *reader) open() (*Header, error) {
	have := make([]byte, len(magic))
	if _, err := io.ReadFull(r.r, have); err != nil || !bytes.HasPrefix(have, []byte("bdtnode recording ")) {
		return nil, errors.New("this is not the file of inputs of a recording")
	}
	if string(have) != magic {
		return nil, fmt.Errorf("the recording has another format (%q), this program reads %q", have, magic)
	}
	r.read = int64(len(magic))
	content, err := r.block()
	if err != nil {
		return nil, fmt.Errorf("header of the recording: %w", err)
	}
	h := &Header{}
	if err := json.Unmarshal(content, h); err != nil {
		return nil, fmt.Errorf("header of the recording: %w", err)
	}
	return h, nil
}

// block reads the next block. The error is [io.EOF] at the end of the file, and wraps errCut if the block is not whole.
func (r *reader) block() ([]byte, error) {
	var head [8]byte
	if n, err := io.ReadFull(r.r, head[:]); err != nil {
		if n == 0 {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("%w, after %d bytes", errCut, r.read)
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size > maxBlock {
		return nil, fmt.Errorf("%w: the block after %d bytes is damaged", errCut, r.read)
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(r.r, content); err != nil {
		return nil, fmt.Errorf("%w, after %d bytes", errCut, r.read)
	}
	if crc32.Checksum(content, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: the block after %d bytes is damaged", errCut, r.read)
	}
	r.read += int64(len(head)) + int64(size)
	return content, nil
}
