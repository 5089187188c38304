package protocols

import (
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// Stream is the class of the stream on which messages of a kind are sent.
type Stream uint8

// The streams between two replicas of a shard.
const (
	Control Stream = iota // small urgent messages
	Bulk                  // batches, LDs and histories
)

// Limit is the greatest length of a frame on the stream, in bytes.
func (s Stream) Limit() int {
	if s == Bulk {
		return 16 << 20
	}
	return 2 << 20
}

// Entry describes one kind of message on the wire. A package has one table with an entry for each of its kinds. P is the
// result of a check: the proofs that remain to be verified with keys, such as []sig.Check.
type Entry[P any] struct {
	Kind   Kind
	Name   string
	Stream Stream
	Max    int // greatest length of a body that Decode accepts, in bytes
	// Decode reads a body. The message may alias it.
	Decode func(c *Committee, body []byte) (Message, error)
	// Check does the checks of a message of replica from that need no state, and lists the proofs that remain. An error is
	// a fault of from. A nil Check means that every message of the kind is valid.
	Check func(c *Committee, from Index, m Message) (P, error)
	// Source is the source shard of the channel that a message is about. It is nil if the kind is about no channel.
	Source func(m Message) uint16
	// Epoch is the epoch of a message. It is nil if messages of the kind belong to no epoch.
	Epoch func(m Message) uint64
}

// SignedEntry is the entry of a kind whose messages are proved by signatures alone.
type SignedEntry = Entry[[]sig.Check]

// kindsOfPackage is the number of kinds that a package may have, from its first one on.
const kindsOfPackage = 0x10

// Entries is the table of a package whose kinds begin at first. It panics if a kind is outside the range of the package,
// if two entries have one kind, if an entry has no name or no decode function, or if a frame can exceed its stream's limit.
func Entries[P any](first Kind, entries ...Entry[P]) []Entry[P] {
	for i := range entries {
		e := &entries[i]
		switch {
		case e.Kind < first || e.Kind-first >= kindsOfPackage:
			panic(fmt.Sprintf("protocols: message kind %#x is outside the range of kinds from %#x", e.Kind, first))
		case e.Name == "" || e.Decode == nil:
			panic(fmt.Sprintf("protocols: message kind %#x has no name or no decode function", e.Kind))
		case e.Max < 1 || e.Max >= e.Stream.Limit():
			panic(fmt.Sprintf("protocols: message kind %#x has bodies of %d bytes, a frame at most %d", e.Kind, e.Max, e.Stream.Limit()))
		}
	}
	NewTable(entries)
	return entries
}

// Lift gives the entries of a child to a parent whose proofs have more parts: proof makes the parent's proof of the child's.
func Lift[P, Q any](entries []Entry[P], proof func(P) Q) []Entry[Q] {
	out := make([]Entry[Q], len(entries))
	for i, e := range entries {
		out[i] = Entry[Q]{Kind: e.Kind, Name: e.Name, Stream: e.Stream, Max: e.Max, Decode: e.Decode, Source: e.Source, Epoch: e.Epoch}
		if e.Check == nil {
			continue
		}
		out[i].Check = func(c *Committee, from Index, m Message) (Q, error) {
			p, err := e.Check(c, from, m)
			if err != nil {
				var none Q
				return none, err
			}
			return proof(p), nil
		}
	}
	return out
}

// Table finds entries by kind.
type Table[P any] struct{ entries [256]*Entry[P] }

// NewTable merges the tables of packages. It panics if two entries have one kind.
func NewTable[P any](packages ...[]Entry[P]) *Table[P] {
	t := &Table[P]{}
	for _, entries := range packages {
		for i := range entries {
			e := &entries[i]
			if have := t.entries[e.Kind]; have != nil {
				panic(fmt.Sprintf("protocols: messages %s and %s have one kind, %#x", have.Name, e.Name, e.Kind))
			}
			t.entries[e.Kind] = e
		}
	}
	return t
}

// Of is the entry of a kind, nil if there is none.
func (t *Table[P]) Of(k Kind) *Entry[P] { return t.entries[k] }

// Decode reads the body of a message of a kind. It returns an error for a kind without entry, for a body that is longer
// than the kind allows, and for a malformed body.
func (t *Table[P]) Decode(c *Committee, k Kind, body []byte) (Message, error) {
	e := t.entries[k]
	if e == nil {
		return nil, fmt.Errorf("%w: message kind %#x is unknown", wire.ErrMalformed, uint8(k))
	}
	if len(body) > e.Max {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d allowed", wire.ErrMalformed, e.Name, len(body), e.Max)
	}
	return e.Decode(c, body)
}

// Decoder makes the decode function of an entry from one that needs no committee.
func Decoder[M Message](decode func(body []byte) (M, error)) func(*Committee, []byte) (Message, error) {
	return func(_ *Committee, body []byte) (Message, error) { return decoded(decode(body)) }
}

// ShardDecoder makes the decode function of an entry from one that needs the committee of the shard.
func ShardDecoder[M Message](decode func(c *Committee, body []byte) (M, error)) func(*Committee, []byte) (Message, error) {
	return func(c *Committee, body []byte) (Message, error) { return decoded(decode(c, body)) }
}

// decoded is a nil Message in case of an error, and not a nil pointer in a Message.
func decoded[M Message](m M, err error) (Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// SenderCheck makes the check of an entry from a method that needs the sender, since the sender signed the message.
func SenderCheck[M Message, P any](check func(m M, c *Committee, from Index) (P, error)) func(*Committee, Index, Message) (P, error) {
	return func(c *Committee, from Index, m Message) (P, error) { return check(m.(M), c, from) }
}

// ContentCheck makes the check of an entry from a method that does not depend on the sender.
func ContentCheck[M Message, P any](check func(m M, c *Committee) (P, error)) func(*Committee, Index, Message) (P, error) {
	return func(c *Committee, _ Index, m Message) (P, error) { return check(m.(M), c) }
}

// Field makes a function of an entry, its Source or Epoch, from one of the type of the message.
func Field[M Message, V any](field func(m M) V) func(Message) V {
	return func(m Message) V { return field(m.(M)) }
}
