package api

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"bdtnode/ledger"
)

// LogType is the media type of a binary stream of the log, see [AppendLogFrame].
const LogType = "application/vnd.bdtnode.log"

// PayloadsType is the media type of the binary body of POST /v1/log: the encoding of a batch of opaque payloads, see
// [ledger.EncodeOpaque].
const PayloadsType = "application/octet-stream"

// MaxPayloadsPerRequest is the largest number of payloads in one POST.
const MaxPayloadsPerRequest = ledger.MaxPayloadEntries

// AppendAnswer is the answer to POST /v1/log: the progress of its payloads, which are in the order of the request.
type AppendAnswer struct {
	Shard    uint16           `json:"shard"`
	State    State            `json:"state" enum:"unknown,accepted,ordered,certified" doc:"stage that all payloads have reached; unknown: some are not accepted"`
	Count    int              `json:"count" doc:"payloads of the request"`
	Accepted int              `json:"accepted" doc:"payloads on this replica's disk: the first ones of the request; they will be ordered"`
	Dropped  int              `json:"dropped,omitempty" doc:"payloads that will not be ordered, since the wait ended first: the last ones of the request"`
	TimedOut bool             `json:"timed_out,omitempty" doc:"the wait ended before the stage was reached; payloads that are neither accepted nor dropped may be ordered or not"`
	Placed   []PlacedPayloads `json:"placed,omitempty" nullable:"false" doc:"places of the ordered payloads"`
	Repeated []RepeatPayload  `json:"repeated,omitempty" nullable:"false" doc:"payloads that the log has not taken again, since it has one with the same id"`
}

// PlacedPayloads are consecutive payloads of a request that follow one another in a batch.
type PlacedPayloads struct {
	Index    int    `json:"index" doc:"of the first one in the request, from 0"`
	Count    int    `json:"count"`
	Height   uint64 `json:"height,string"`
	Batch    uint32 `json:"batch" doc:"in the block, from 0"`
	Position uint32 `json:"position" doc:"of the first one in the batch, from 0"`
}

// RepeatPayload is a payload whose id the log had already.
type RepeatPayload struct {
	Index    int    `json:"index" doc:"in the request, from 0"`
	Height   uint64 `json:"height,string" doc:"place of the payload with the id"`
	Batch    uint32 `json:"batch"`
	Position uint32 `json:"position"`
}

// LogPayload is one payload of the log.
type LogPayload struct {
	Name     string `json:"name" doc:"height, batch and position, as in 12.0.3"`
	Next     string `json:"next" doc:"place after it, from which a stream continues"`
	Shard    uint16 `json:"shard"`
	Height   uint64 `json:"height,string"`
	Batch    uint32 `json:"batch"`
	Position uint32 `json:"position"`
	TimeMS   uint64 `json:"time_ms" doc:"block time, Unix milliseconds"`
	ID       string `json:"id,omitempty" doc:"id, hexadecimal"`
	Payload  string `json:"payload" doc:"base64"`
	Proof    string `json:"proof,omitempty" doc:"proof of the payload, base64; only if requested"`
}

// LogGap names blocks whose payloads the replica does not have.
type LogGap struct {
	From   uint64 `json:"from,string" doc:"first height"`
	To     uint64 `json:"to,string" doc:"last height"`
	Reason string `json:"reason"`
}

// LogEvent is the data of an event in a stream of server-sent events of the log. It has the object of its name.
type LogEvent struct {
	Payload *LogPayload `json:"payload,omitempty"`
	Block   *LogBlock   `json:"block,omitempty"`
	Gap     *LogGap     `json:"gap,omitempty"`
	End     *EndEvent   `json:"end,omitempty"`
}

// LogBlock proves the payloads of a block.
type LogBlock struct {
	Height uint64 `json:"height,string"`
	Proof  string `json:"proof" doc:"header, certificate and records of the batches, base64"`
}

// LogQuery selects a part of the log.
type LogQuery struct {
	From      *ledger.LogPlace // of the first payload, or of a later one if there is none at it; nil: after the last executed block
	Follow    bool             // the stream continues with later blocks
	Certified bool             // only blocks whose headers are certified
	Proofs    bool             // with a proof of each block; implies Certified, and begins with a whole batch
}

// LogStream is a part of the log for one reader. Only Next of one goroutine at a time may be called.
type LogStream interface {
	// Next waits for the next part. The error is that of the context, [io.EOF] if the stream does not follow and has no
	// further part, or one of the store.
	Next(ctx context.Context) (LogPart, error)
	// At is the place after all parts that Next has returned.
	At() ledger.LogPlace
}

// LogPart is a part of the log: a batch or the rest of one, a proof, or a gap.
type LogPart struct {
	Batch *LogEntries
	Proof []byte // an encoded logproof.Block
	Gap   *LogGap
}

// LogEntries are consecutive entries of a batch.
type LogEntries struct {
	At       ledger.LogPlace // of the first one
	TimeMS   uint64          // block time, Unix milliseconds
	Count    int
	Raw      []byte   // entries, encoded
	Repeated []uint32 // positions of entries that are not in the log, ascending
}

// LogName is the text of a place: height, batch and position.
func LogName(p ledger.LogPlace) string {
	return fmt.Sprintf("%d.%d.%d", p.Height, p.Batch, p.Position)
}

// ParseLogName reads the text of a place. Position, or batch and position, may be missing and are 0 then.
func ParseLogName(text string) (p ledger.LogPlace, err error) {
	parts := strings.Split(text, ".")
	bad := fmt.Errorf("%q is not a place in the log: use a height, or height.batch.position such as 12.0.3", text)
	if len(parts) > 3 {
		return p, bad
	}
	for i, bits := range []int{63, 32, 32}[:len(parts)] {
		n, err := parseDigits(parts[i], bits)
		if err != nil {
			return ledger.LogPlace{}, bad
		}
		switch i {
		case 0:
			p.Height = n
		case 1:
			p.Batch = uint32(n)
		default:
			p.Position = uint32(n)
		}
	}
	return p, nil
}

// LogFrame is the kind of a frame in a binary stream of the log.
type LogFrame byte

// The kinds of frames. A frame is its kind in 1 byte, the length of its body in 4 bytes, and the body. Integers are
// big-endian.
const (
	FrameBatch  LogFrame = 'B' // height 8, block time 8, batch 4, position of the first entry 4, entries 4, repeated 4, position of each 4, the entries
	FrameProof  LogFrame = 'P' // an encoded logproof.Block; it comes before the batches of its block
	FrameCursor LogFrame = 'C' // height 8, batch 4, position 4: the place from which a later stream continues
	FrameGap    LogFrame = 'G' // first height 8, last height 8, reason
	FrameEnd    LogFrame = 'E' // length of the reason 1, reason, detail; the last frame
)

// MaxLogFrame is the greatest length of a frame's body.
const MaxLogFrame = 4 << 20

// LogFrameHead is the length of kind and length of a frame.
const LogFrameHead = 1 + 4

// AppendLogFrame appends the beginning of a frame whose body has a length.
func AppendLogFrame(b []byte, kind LogFrame, length int) []byte {
	return binary.BigEndian.AppendUint32(append(b, byte(kind)), uint32(length))
}

// appendBatchHead appends a batch frame up to its entries.
func appendBatchHead(b []byte, e *LogEntries) []byte {
	b = AppendLogFrame(b, FrameBatch, 8+8+4*4+4*len(e.Repeated)+len(e.Raw))
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, e.At.Height), e.TimeMS)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, e.At.Batch), e.At.Position)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(e.Count)), uint32(len(e.Repeated)))
	for _, at := range e.Repeated {
		b = binary.BigEndian.AppendUint32(b, at)
	}
	return b
}

func appendCursor(b []byte, p ledger.LogPlace) []byte {
	b = AppendLogFrame(b, FrameCursor, 8+4+4)
	b = binary.BigEndian.AppendUint64(b, p.Height)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, p.Batch), p.Position)
}

func appendGap(b []byte, g *LogGap) []byte {
	b = AppendLogFrame(b, FrameGap, 8+8+len(g.Reason))
	return append(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, g.From), g.To), g.Reason...)
}

func appendEnd(b []byte, e *EndEvent) []byte {
	b = AppendLogFrame(b, FrameEnd, 1+len(e.Reason)+len(e.Detail))
	return append(append(append(b, byte(len(e.Reason))), e.Reason...), e.Detail...)
}
