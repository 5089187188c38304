package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bdtnode/internal/wire"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// FarEpochs sends, besides the correct messages, many of all kinds for epochs, slots, rounds, heights and numbers that
// are far ahead or long past. All are well-formed, and signed if the replica can sign them.
type FarEpochs struct {
	Every time.Duration // interval between two messages, each to one of the others

	life  int
	value []byte // an input of some epoch
	lies  lies
}

func (a *FarEpochs) String() string {
	return fmt.Sprintf("sends messages for far epochs every %v", a.Every)
}

func (a *FarEpochs) tamper(n *node, _ protocols.Index, m protocols.Message) []packet {
	if x, ok := m.(*mvba.Proposal); ok && x.Round == 1 {
		a.value = x.Value
	}
	if a.life != n.life {
		a.life = n.life
		a.flood(n)
	}
	return honestly(m)
}

// flood continues until the replica crashes.
func (a *FarEpochs) flood(n *node) {
	n.after(a.Every, func() {
		if to := n.s.rng.IntN(len(n.s.nodes)); to != int(n.id) {
			kind := farKinds[n.s.rng.IntN(len(farKinds))]
			if m := a.message(n, kind); m != nil {
				a.lies.told(kind)
				n.s.network.send(int(n.id), to, honestly(m)[0])
			}
		}
		a.flood(n)
	})
}

// far is a number that is neither close to now nor the next.
func (n *node) far(now uint64) uint64 {
	all := []uint64{
		now + 1, now + 1, now + 2, now + 2 + n.s.rng.Uint64N(100), now + 1000, 1 << 31, 1 << 63, math.MaxUint64,
		1, max(now, 2) - 1, 1 + now/2,
	}
	return all[n.s.rng.IntN(len(all))]
}

// farKinds are the kinds of messages that it sends.
var farKinds = []string{
	"propose", "vote", "commit", "fetch block", "status", "proposal", "echo", "accept", "pre-vote", "share",
	"want", "value", "again", "VOTE", "position", "request", "history", "ack", "fetch", "batch", "SIGN", "fetch LD",
}

// message makes a message of a kind, nil if it lacks the data for it.
//
//nolint:cyclop,funlen // one case for each kind of message
func (a *FarEpochs) message(n *node, kind string) protocols.Message {
	rng, st := n.s.rng, n.core.Status()
	epoch, slot := n.far(st.Epoch), n.far(st.Slot)
	if rng.IntN(4) == 0 {
		epoch = st.Epoch
	}
	at := mvba.At{Instance: mvba.Instance{Epoch: epoch, Kind: 1}, Round: uint32(min(n.far(1), math.MaxUint32))}
	d, self := invented(rng.Uint64N(1<<20)), n.id
	lane := protocols.Index(rng.IntN(n.s.committee.N()))
	number := n.far(n.state.Height() + 1)
	switch kind {
	case "propose":
		b := &bolt.Block{
			Epoch: epoch, Slot: slot, Height: number, Parent: d, TimeMS: n.far(n.clock().Millis()),
			Cut: make(lanes.Cut, n.s.committee.N()), Inbound: make(lanes.Cut, len(n.s.shards)),
		}
		b.Cut[lane] = lanes.Tip{Seq: number, Digest: d}
		return n.signPropose(b, nil)
	case "vote":
		return n.signVote(epoch, slot, d)
	case "commit":
		return &bolt.Finalize{Epoch: epoch, Slot: slot, Digest: d}
	case "fetch block":
		return &bolt.FetchBlock{Epoch: epoch, Slot: slot, Digest: d}
	case "status":
		return n.falseStatus(epoch, 0)
	case "proposal":
		if a.value == nil {
			return nil
		}
		at.Round = 1
		value := slices.Clone(a.value)
		return &mvba.Proposal{At: at, Value: value, Digest: mvba.DigestOf(value)}
	case "echo":
		return n.signEcho(at, lane, d)
	case "accept":
		return n.signAccept(at, lane, d)
	case "pre-vote":
		return n.signNoPreVote(at, lane)
	case "share":
		return n.share(tossOf(at))
	case "want":
		return &mvba.FetchValue{Instance: at.Instance, Digest: d}
	case "value":
		if a.value == nil {
			return nil
		}
		return &mvba.Value{Instance: at.Instance, Value: a.value}
	case "again":
		return &mvba.ResendRequest{At: at}
	case "VOTE":
		return &certify.VOTE{Height: number, Header: d, Signature: n.sign("bdt/VOTE/1", wire.AppendU64(nil, number), d[:])}
	case "position":
		return &replica.Position{Certified: number, Again: rng.IntN(2) == 0}
	case "request":
		return &replica.Request{From: number}
	case "history":
		return &replica.History{}
	case "ack":
		return n.signAck(lane, lanes.Tip{Seq: number, Digest: d})
	case "fetch":
		return &lanes.Fetch{Lane: lane, Tip: lanes.Tip{Seq: max(number, 2), Digest: d}, After: rng.Uint64N(2)}
	case "batch":
		h := lanes.Header{Lane: self, Seq: max(number, 2), Parent: d, Count: 1}
		return lanes.NewBatch(n.s.committee, n.s.signers[self], h, encodePayload([][]byte{n.s.clients.junk().Encode()}))
	case "SIGN":
		source := uint16(rng.IntN(len(n.s.shards) + 1))
		return n.signLD(source, lanes.Tip{Seq: number, Digest: d})
	}
	return &inbound.FetchLD{Source: uint16(rng.IntN(len(n.s.shards) + 1)), Tip: lanes.Tip{Seq: number, Digest: d}}
}
