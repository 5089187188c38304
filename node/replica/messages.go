package replica

import (
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
	"bdtnode/protocols/votes"
	"bdtnode/shard/settlement"
)

// Kinds of catch-up messages on the wire.
const (
	KindPosition = protocols.KindsCatchup + 0
	KindRequest  = protocols.KindsCatchup + 1
	KindHistory  = protocols.KindsCatchup + 2
	KindServe    = protocols.KindsCatchup + 3
)

// MaxHistory is the largest number of certified blocks in one answer to a Request.
const MaxHistory = 256

// maxHeaderBytes bounds an encoded header in a History.
const maxHeaderBytes = 1024

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
	Certificate *votes.Certified
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
			Certificate: votes.ReadCertified(r),
			Block:       bolt.ReadBlock(c, r),
		})
		if r.Err() != nil {
			break
		}
	}
	return m, r.Done()
}

func (m *History) items(c *protocols.Committee) ([]sig.Item, error) {
	var items []sig.Item
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
		more, err := x.Certificate.Items(c)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}

// Inbound is an LD of another shard with its content, as replicas of this shard send it to each other.
type Inbound struct {
	channels.LD
	Content *settlement.LD
}

// NewInbound wraps an LD for the replicas of its destination.
func NewInbound(ld *settlement.LD) *Inbound { return inbound(ld, ld.Encode()) }

func decodeInbound(b []byte) (*Inbound, error) {
	ld, err := settlement.DecodeLD(b)
	if err != nil {
		return nil, err
	}
	return inbound(ld, b), nil
}

func inbound(ld *settlement.LD, raw []byte) *Inbound {
	d := ld.Delivery
	return &Inbound{
		LD:      channels.LD{Source: d.Source, Number: d.Number, Previous: d.Previous, Digest: d.Digest(), Raw: raw},
		Content: ld,
	}
}

// Serve stands for the History from a height on. The host that executes the step reads the History from the store and
// sends it. Serve itself is never on the wire.
type Serve struct{ From uint64 }

// Kind is KindServe.
func (*Serve) Kind() protocols.Kind { return KindServe }

// Append panics, since a Serve is never encoded.
func (*Serve) Append([]byte) []byte { panic("replica: a Serve is not a wire message") }

// Encode returns the frame of a message: its kind, then its body.
func Encode(m protocols.Message) []byte {
	return m.Append(append(make([]byte, 0, 128), byte(m.Kind())))
}

// Bulk reports whether messages of a kind are sent on the bulk stream.
func Bulk(k protocols.Kind) bool {
	return k == lanes.KindBatch || k == channels.KindLD || k == KindHistory
}

// Decode decodes a frame. The message may alias the frame.
func Decode(c *protocols.Committee, frame []byte) (protocols.Message, error) {
	if len(frame) == 0 {
		return nil, fmt.Errorf("%w: an empty frame", wire.ErrMalformed)
	}
	body := frame[1:]
	switch protocols.Kind(frame[0]) {
	case lanes.KindBatch:
		return decoded(lanes.DecodeBatch(c, body))
	case lanes.KindAck:
		return decoded(lanes.DecodeAck(body))
	case lanes.KindCertified:
		return decoded(lanes.DecodeTipCertificate(body))
	case lanes.KindFetch:
		return decoded(lanes.DecodeFetch(body))
	case lanes.KindConflict:
		return decoded(lanes.DecodeConflict(c, body))
	case bolt.KindPropose:
		return decoded(bolt.DecodePropose(c, body))
	case bolt.KindVote:
		return decoded(bolt.DecodeVote(body))
	case bolt.KindCommit:
		return decoded(bolt.DecodeCommit(body))
	case bolt.KindFetchBlock:
		return decoded(bolt.DecodeFetchBlock(body))
	case channels.KindLD:
		return decoded(decodeInbound(body))
	case channels.KindSIGN:
		return decoded(channels.DecodeSIGN(body))
	case channels.KindFetchLD:
		return decoded(channels.DecodeFetchLD(body))
	case channels.KindCertificate:
		return decoded(channels.DecodeTipCertificate(body))
	case bdt.KindStatus:
		return decoded(bdt.DecodeStatus(c, body))
	case votes.KindVOTE:
		return decoded(votes.DecodeVOTE(body))
	case KindPosition:
		return decoded(decodePosition(body))
	case KindRequest:
		return decoded(decodeRequest(body))
	case KindHistory:
		return decoded(decodeHistory(c, body))
	case KindPing:
		return decoded(decodePing(body))
	case KindPong:
		return decoded(decodePong(body))
	case KindHello:
		return decoded(decodeHello(body))
	case KindKnown:
		return decoded(decodeKnown(c, body))
	case KindFenced:
		return decoded(decodeFenced(body))
	}
	if kind := protocols.Kind(frame[0]); kind >= protocols.KindsCoin && kind < protocols.KindsChannels {
		return mvba.Decode(kind, body)
	}
	return nil, fmt.Errorf("%w: message kind %#x is unknown", wire.ErrMalformed, frame[0])
}

func decoded[M protocols.Message](m M, err error) (protocols.Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Verify does all checks of a message that need no state, in a network of so many shards. A message may be handed to
// the [Core] only if the error is nil. A batch must also have a valid payload, and an [Inbound] a valid LD ([CheckLD]).
func Verify(c *protocols.Committee, shards int, signatures sig.Scheme, tosses coin.Scheme, from protocols.Index, m protocols.Message) error {
	if _, agreement := mvba.InstanceOf(m); agreement {
		proof, err := mvba.Check(c, from, m)
		if err != nil {
			return err
		}
		if value := valueOf(m); value != nil {
			x, err := bdt.DecodeInput(c, value)
			if err != nil {
				return err
			}
			items, err := x.Items(c)
			if err != nil {
				return err
			}
			proof.Items = append(proof.Items, items...)
		}
		return proof.Verify(signatures, tosses)
	}
	if source, ok := sourceOf(m); ok && (int(source) >= shards || source == c.Shard()) {
		return fmt.Errorf("message kind %#x is of the channel from shard %d, in shard %d of %d", uint8(m.Kind()), source, c.Shard(), shards)
	}
	items, err := items(c, from, m)
	if err != nil {
		return err
	}
	if !signatures.VerifyAll(items) {
		return fmt.Errorf("message kind %#x: a signature does not verify", uint8(m.Kind()))
	}
	return nil
}

// valueOf is the value of the agreement in a message, nil if it has none.
func valueOf(m protocols.Message) []byte {
	switch x := m.(type) {
	case *mvba.Proposal:
		return x.Value
	case *mvba.Value:
		return x.Value
	}
	return nil
}

// sourceOf is the source shard of the channel in a message, if it has one.
func sourceOf(m protocols.Message) (source uint16, ok bool) {
	switch x := m.(type) {
	case *channels.SIGN:
		return x.Source, true
	case *channels.TipCertificate:
		return x.Source, true
	case *channels.FetchLD:
		return x.Source, true
	}
	return 0, false
}

// items returns the signatures that prove a message.
func items(c *protocols.Committee, from protocols.Index, m protocols.Message) ([]sig.Item, error) {
	switch x := m.(type) {
	case *lanes.Batch:
		return x.Items(c)
	case *lanes.Ack:
		return x.Items(c, from)
	case *lanes.TipCertificate:
		return x.Items(c)
	case *lanes.Fetch:
		return x.Items(c)
	case *lanes.Conflict:
		return x.Items(c)
	case *bolt.Propose:
		return x.Items(c)
	case *bolt.Vote:
		return x.Items(c, from)
	case *channels.SIGN:
		return x.Items(c, from)
	case *channels.TipCertificate:
		return x.Items(c)
	case *bdt.Status:
		return x.Items(c, from)
	case *votes.VOTE:
		return x.Items(c, from)
	case *Known:
		return x.items(c)
	case *History:
		return x.items(c)
	}
	return nil, nil
}
