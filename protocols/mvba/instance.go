package mvba

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/coin"
)

// Instance is the name of one agreement of a shard. Every signature and coin share of the instance covers it, together with
// the network and shard of the committee and the round.
type Instance struct {
	Epoch uint64
	Kind  uint8  // purpose of the agreement
	Index uint16 // index of the agreement among those of its kind in an epoch
}

// instanceSize is the length of an encoded Instance in bytes.
const instanceSize = 8 + 1 + 2

func (i Instance) append(b []byte) []byte {
	b = append(wire.AppendU64(b, i.Epoch), i.Kind)
	return wire.AppendU16(b, i.Index)
}

func readInstance(r *wire.Reader) Instance {
	return Instance{Epoch: r.U64(), Kind: r.U8(), Index: r.U16()}
}

// String gives epoch, kind and index, separated by slashes.
func (i Instance) String() string { return fmt.Sprintf("%d/%d/%d", i.Epoch, i.Kind, i.Index) }

// At names a round of an instance. Rounds are numbered from 1.
type At struct {
	Instance Instance
	Round    uint32
}

func (a At) append(b []byte) []byte { return wire.AppendU32(a.Instance.append(b), a.Round) }

// atSize is the length of an encoded At in bytes.
const atSize = instanceSize + 4

func readAt(r *wire.Reader) At {
	a := At{Instance: readInstance(r), Round: r.U32()}
	if a.Round == 0 {
		r.Fail("round 0, rounds are numbered from 1")
	}
	return a
}

// toss is the name of the coin toss of the round.
func (a At) toss() coin.Name {
	return coin.Name{Epoch: a.Instance.Epoch, Kind: a.Instance.Kind, Index: a.Instance.Index, Round: a.Round}
}

// bytes is the encoded name, as a field of statements.
func (a At) bytes() []byte { return a.append(make([]byte, 0, instanceSize+4)) }

// echoStatement is the statement that a replica signs in the first phase of a broadcast.
func (a At) echoStatement(c *protocols.Committee, broadcaster protocols.Index, d digest.Digest) []byte {
	return c.Statement("bdt/mvba-echo/1", a.bytes(), wire.AppendU16(nil, uint16(broadcaster)), d[:])
}

// acceptStatement is the statement that a replica signs in the second phase of a broadcast, and with a yes-vote on an elected
// one.
func (a At) acceptStatement(c *protocols.Committee, broadcaster protocols.Index, d digest.Digest) []byte {
	return c.Statement("bdt/mvba-accept/1", a.bytes(), wire.AppendU16(nil, uint16(broadcaster)), d[:])
}

// noPreVoteStatement states that the signer had no first-phase proof of the elected broadcast when it pre-voted.
func (a At) noPreVoteStatement(c *protocols.Committee) []byte {
	return c.Statement("bdt/mvba-pre-no/1", a.bytes())
}

// noVoteStatement states that the signer does not accept the elected broadcast, ever, and the round of its highest key.
func (a At) noVoteStatement(c *protocols.Committee, claim uint32) []byte {
	return c.Statement("bdt/mvba-no/1", a.bytes(), wire.AppendU32(nil, claim))
}

// DigestOf is the digest of a value, which signatures and requests use.
func DigestOf(value []byte) digest.Digest { return digest.Of("bdt/mvba-value/1", value) }

// InstanceOf is the instance that a message belongs to. ok is false if it is not a message of an agreement.
func InstanceOf(msg protocols.Message) (in Instance, ok bool) {
	switch m := msg.(type) {
	case *coin.Release:
		return Instance{m.Name.Epoch, m.Name.Kind, m.Name.Index}, true
	case *coin.Relay:
		return Instance{m.Name.Epoch, m.Name.Kind, m.Name.Index}, true
	case *FetchValue:
		return m.Instance, true
	case *Value:
		return m.Instance, true
	case interface{ at() At }:
		return m.at().Instance, true
	}
	return Instance{}, false
}

func (a At) at() At { return a }
