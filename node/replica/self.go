package replica

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// A replica may sign only with a store that has all statements that it signed before. This file decides at a start
// whether the store can be that one; identity.go continues with the answers of peers.

// selfVersion is the first byte of an encoded [Self].
const selfVersion = 1

var selfKey = []byte("p/self")

// Anchor identifies a file of the store on its file system. A copy of the store has another Anchor. The zero Anchor is
// unknown.
type Anchor struct {
	Inode  uint64
	BornNS uint64 // creation time of the file in Unix nanoseconds, 0 if the system does not have it
}

// Self is the record in the consensus store of its owner, and of the owner's newest start.
type Self struct {
	Network digest.Digest
	Shard   uint16
	Index   protocols.Index
	Boot    uint64 // counts starts, from 1
	Nonce   uint64 // of that start
	Anchor  Anchor
	Lost    bool // the store lacks signed statements: the replica signs no more
}

func (s *Self) encode() []byte {
	b := append([]byte{selfVersion}, s.Network[:]...)
	b = wire.AppendU16(wire.AppendU16(b, s.Shard), uint16(s.Index))
	b = wire.AppendU64(wire.AppendU64(b, s.Boot), s.Nonce)
	b = wire.AppendU64(wire.AppendU64(b, s.Anchor.Inode), s.Anchor.BornNS)
	return wire.AppendBool(b, s.Lost)
}

func decodeSelf(b []byte) (*Self, error) {
	r := wire.NewReader(b)
	if v := r.U8(); v != selfVersion {
		r.Fail("version %d, this program reads %d", v, selfVersion)
	}
	s := &Self{}
	r.Fixed(s.Network[:])
	s.Shard, s.Index = r.U16(), protocols.Index(r.U16())
	s.Boot, s.Nonce = r.U64(), r.U64()
	s.Anchor = Anchor{Inode: r.U64(), BornNS: r.U64()}
	s.Lost = r.Bool()
	return s, r.Done()
}

// Lost means that a replica must not sign, and has the reason. It is the error with which a replica ends.
type Lost struct{ Why string }

// Error is the message for the operator.
func (l *Lost) Error() string {
	return "this replica must not sign any more: " + l.Why + ". It may have signed what its store does not have, and could sign something else in its place"
}

// Origin has the facts at a start that are not in the store.
type Origin struct {
	Born   bool   // the home was generated and has not been started yet
	Nonce  uint64 // drawn at random for this start
	Anchor Anchor // of a file in the store
}

// Begun is a start that is allowed. Its record must be on disk before the core is made.
type Begun struct {
	Self
	First bool // the replica never ran before
	Moved bool // the store is a copy, or was restored: its anchor has changed
}

// Record is the new [Self] for the store.
func (b *Begun) Record() protocols.Record {
	return protocols.Record{Key: selfKey, Value: b.Self.encode()}
}

// Begin decides whether a replica may start with its store. A *[Lost] error means that it never may.
func Begin(c *protocols.Committee, self protocols.Index, stored protocols.Stored, o Origin) (*Begun, error) {
	for _, value := range stored(selfKey, append(selfKey[:len(selfKey):len(selfKey)], 0)) {
		s, err := decodeSelf(value)
		if err != nil {
			return nil, fmt.Errorf("record of the store's owner: %w: the store is damaged", err)
		}
		if s.Network != c.Network() || s.Shard != c.Shard() || s.Index != self {
			return nil, fmt.Errorf("the consensus store belongs to replica %d of shard %d of network %s: were homes exchanged?", s.Index, s.Shard, s.Network)
		}
		if s.Lost {
			return nil, &Lost{"its record says that it was found lost at an earlier start"}
		}
		b := &Begun{Self: *s, Moved: o.Anchor != Anchor{} && s.Anchor != Anchor{} && s.Anchor != o.Anchor}
		b.Boot, b.Nonce, b.Anchor = s.Boot+1, o.Nonce, o.Anchor
		return b, nil
	}
	for range stored(nil, []byte{0xff}) {
		return nil, fmt.Errorf("the consensus store has no record of its owner: an earlier version of this program made it")
	}
	if !o.Born {
		return nil, &Lost{"its consensus store is empty, though the replica has run before"}
	}
	return &Begun{First: true, Self: Self{
		Network: c.Network(), Shard: c.Shard(), Index: self, Boot: 1, Nonce: o.Nonce, Anchor: o.Anchor,
	}}, nil
}
