package replica

import (
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/mvba"
	"bdtnode/shard/settlement"
)

// Kinds of catch-up messages on the wire.
const (
	KindPosition = protocols.KindsCatchup + 0
	KindRequest  = protocols.KindsCatchup + 1
	KindHistory  = protocols.KindsCatchup + 2
	// 3 is not in use any more.
)

// MaxHistory is the largest number of certified blocks in one answer to a Request.
const MaxHistory = 256

// maxHeaderBytes bounds an encoded header in a History.
const maxHeaderBytes = 1024

// pastMax is the greatest length of an encoded [Past], in bytes.
const pastMax = 4 + maxHeaderBytes + certify.CertifiedMax + bolt.BlockMax

// own is the table of the messages of this package: catch-up, Pings, and the identity of replicas.
var own = protocols.Entries(protocols.KindsCatchup,
	protocols.SignedEntry{Kind: KindPosition, Name: "Position", Max: 8 + 1, Decode: protocols.Decoder(decodePosition)},
	protocols.SignedEntry{Kind: KindRequest, Name: "Request", Max: 8, Decode: protocols.Decoder(decodeRequest)},
	protocols.SignedEntry{
		Kind: KindHistory, Name: "History", Stream: protocols.Bulk, Max: 2 + MaxHistory*pastMax,
		Decode: protocols.ShardDecoder(decodeHistory), Check: protocols.ContentCheck((*History).items),
	},
	protocols.SignedEntry{Kind: KindHello, Name: "Hello", Max: 5 * 8, Decode: protocols.Decoder(decodeHello)},
	protocols.SignedEntry{
		Kind: KindKnown, Name: "Known", Max: 2 + 3*8 + 5*(4+maxKnownPart),
		Decode: protocols.ShardDecoder(decodeKnown), Check: protocols.ContentCheck((*Known).items),
	},
	protocols.SignedEntry{Kind: KindFenced, Name: "Fenced", Max: 2 * 8, Decode: protocols.Decoder(decodeFenced)},
	protocols.SignedEntry{Kind: KindPing, Name: "Ping", Max: 8, Decode: protocols.Decoder(decodePing)},
	protocols.SignedEntry{Kind: KindPong, Name: "Pong", Max: 2 * 8, Decode: protocols.Decoder(decodePong)},
)

// messages finds the entries of all messages inside a shard by kind.
var messages = protocols.NewTable(
	bdt.Messages(settlement.MaxLDBytes, protocols.Decoder(decodeInbound)),
	protocols.Lift(certify.Messages, mvba.SignatureProof),
	protocols.Lift(own, mvba.SignatureProof),
	cancelMessages,
	vouchMessages,
)

// Position has the sender's certified height. With Again it also asks the peer to repeat messages that it would not
// send again by itself, because the sender could not use them before.
type Position struct {
	Certified uint64
	Again     bool
}

// Kind is KindPosition.
func (*Position) Kind() protocols.Kind { return KindPosition }

// Append encodes height and flag.
func (m *Position) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendU64(b, m.Certified), m.Again)
}

func decodePosition(b []byte) (*Position, error) {
	r := wire.NewReader(b)
	m := &Position{Certified: r.U64(), Again: r.Bool()}
	return m, r.Done()
}

// Request asks for certified blocks from a height on.
type Request struct{ From uint64 }

// Kind is KindRequest.
func (*Request) Kind() protocols.Kind { return KindRequest }

// Append encodes the height.
func (m *Request) Append(b []byte) []byte { return wire.AppendU64(b, m.From) }

func decodeRequest(b []byte) (*Request, error) {
	r := wire.NewReader(b)
	m := &Request{From: r.U64()}
	if m.From == 0 {
		r.Fail("a request from height 0")
	}
	return m, r.Done()
}

// Past is one certified block of a History.
type Past struct {
	Header      []byte // canonical encoding
	Certificate *certify.Certified
	Block       *bolt.Block
}

// History answers a Request: certified blocks from the requested height on, without gaps. An empty one means that the
// sender has none.
type History struct{ Items []Past }

// Kind is KindHistory.
func (*History) Kind() protocols.Kind { return KindHistory }

// Append encodes the items.
func (m *History) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(len(m.Items)))
	for i := range m.Items {
		x := &m.Items[i]
		b = wire.AppendBytes(b, x.Header)
		b = x.Certificate.Append(b)
		b = x.Block.Append(b)
	}
	return b
}

func decodeHistory(c *protocols.Committee, b []byte) (*History, error) {
	r := wire.NewReader(b)
	n := r.Count(MaxHistory, 64)
	m := &History{Items: make([]Past, 0, n)}
	for range n {
		m.Items = append(m.Items, Past{
			Header:      r.Bytes(maxHeaderBytes),
			Certificate: certify.ReadCertified(r),
			Block:       bolt.ReadBlock(c, r),
		})
		if r.Err() != nil {
			break
		}
	}
	return m, r.Done()
}

func (m *History) items(c *protocols.Committee) ([]sig.Check, error) {
	var items []sig.Check
	for i := range m.Items {
		x := &m.Items[i]
		h, err := ledger.DecodeHeader(x.Header)
		if err != nil {
			return nil, err
		}
		if h.Digest() != x.Certificate.Header || h.Height != x.Certificate.Height || h.Block != x.Block.Digest() ||
			h.Height != x.Block.Height || h.Network != c.Network() || h.Shard != c.Shard() ||
			i > 0 && h.Height != m.Items[i-1].Certificate.Height+1 {
			return nil, fmt.Errorf("history: header, certificate and block %d do not belong together", h.Height)
		}
		more, err := x.Certificate.SignatureChecks(c)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}

// Inbound is an LD of another shard with its content, as replicas of this shard send it to each other.
type Inbound struct {
	inbound.LD
	Content *settlement.LD
}

// NewInbound wraps an LD for the replicas of its destination.
func NewInbound(ld *settlement.LD) *Inbound { return wrapLD(ld, ld.Encode()) }

func decodeInbound(b []byte) (*Inbound, error) {
	ld, err := settlement.DecodeLD(b)
	if err != nil {
		return nil, err
	}
	return wrapLD(ld, b), nil
}

func wrapLD(ld *settlement.LD, raw []byte) *Inbound {
	d := ld.Delivery
	return &Inbound{
		LD:      inbound.LD{Source: d.Source, Number: d.Number, Previous: d.Previous, Digest: d.Digest(), Raw: raw},
		Content: ld,
	}
}

// HistoryRange names the History from a height on.
type HistoryRange struct{ From uint64 }

// Range implements [protocols.Range].
func (HistoryRange) Range() {}

// Encode returns the frame of a message: its kind, then its body.
func Encode(m protocols.Message) []byte {
	return m.Append(append(make([]byte, 0, 128), byte(m.Kind())))
}

// Bulk reports whether messages of a kind are sent on the bulk stream.
func Bulk(k protocols.Kind) bool {
	e := messages.Of(k)
	return e != nil && e.Stream == protocols.Bulk
}

// Binds reports whether a message may depend on records of its sender, so that these must be durable when it leaves. A VOTE
// states the effect of a final block, which is the same when the block is ordered and executed again; a Ping and a Pong have
// times only.
func Binds(m protocols.Message) bool {
	switch m.(type) {
	case *certify.VOTE, *Ping, *Pong:
		return false
	}
	return true
}

// Decode decodes a frame. The message may alias the frame.
func Decode(c *protocols.Committee, frame []byte) (protocols.Message, error) {
	if len(frame) == 0 {
		return nil, fmt.Errorf("%w: an empty frame", wire.ErrMalformed)
	}
	return messages.Decode(c, protocols.Kind(frame[0]), frame[1:])
}
