package adversary

import (
	"fmt"
	"math"
	"slices"
	"time"

	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
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
	tally
}

func (a *FarEpochs) String() string {
	return fmt.Sprintf("sends messages for far epochs every %v", a.Every)
}

func (a *FarEpochs) Replace(v *View, _ protocols.Index, m protocols.Message) []network.Packet {
	if x, ok := m.(*mvba.Proposal); ok && x.Round == 1 {
		a.value = x.Value
	}
	if a.life != v.Life() {
		a.life = v.Life()
		a.flood(v)
	}
	return Unchanged(m)
}

// flood continues until the replica crashes.
func (a *FarEpochs) flood(v *View) {
	v.After(a.Every, func() {
		if to := v.Rand.IntN(v.Places); to != int(v.Self) {
			kind := FarKinds[v.Rand.IntN(len(FarKinds))]
			if m := a.message(v, kind); m != nil {
				a.note(kind)
				v.Send(to, Unchanged(m)[0])
			}
		}
		a.flood(v)
	})
}

// far is a number that is neither close to now nor the next.
func (v *View) far(now uint64) uint64 {
	all := []uint64{
		now + 1, now + 1, now + 2, now + 2 + v.Rand.Uint64N(100), now + 1000, 1 << 31, 1 << 63, math.MaxUint64,
		1, max(now, 2) - 1, 1 + now/2,
	}
	return all[v.Rand.IntN(len(all))]
}

// FarKinds are the kinds of messages that it sends.
var FarKinds = []string{
	"propose", "vote", "commit", "fetch block", "status", "proposal", "echo", "accept", "pre-vote", "share",
	"want", "value", "again", "VOTE", "position", "request", "history", "ack", "fetch", "batch", "SIGN", "fetch LD",
}

// message makes a message of a kind, nil if it lacks the data for it.
//
//nolint:cyclop,funlen // one case for each kind of message
func (a *FarEpochs) message(v *View, kind string) protocols.Message {
	rng, st := v.Rand, v.Status()
	epoch, slot := v.far(st.Epoch), v.far(st.Slot)
	if rng.IntN(4) == 0 {
		epoch = st.Epoch
	}
	at := mvba.At{Instance: mvba.Instance{Epoch: epoch, Kind: 1}, Round: uint32(min(v.far(1), math.MaxUint32))}
	d, self := invented(rng.Uint64N(1<<20)), v.Self
	lane := protocols.Index(rng.IntN(v.Committee.N()))
	number := v.far(v.Height() + 1)
	switch kind {
	case "propose":
		b := &bolt.Block{
			Epoch: epoch, Slot: slot, Height: number, Parent: d, TimeMS: v.far(v.Wall().Millis()),
			Cut: make(lanes.Cut, v.Committee.N()), Inbound: make(lanes.Cut, v.Shards),
		}
		b.Cut[lane] = lanes.Tip{Seq: number, Digest: d}
		return v.signPropose(b, nil)
	case "vote":
		return v.signVote(epoch, slot, d)
	case "commit":
		return &bolt.Finalize{Epoch: epoch, Slot: slot, Digest: d}
	case "fetch block":
		return &bolt.FetchBlock{Epoch: epoch, Slot: slot, Digest: d}
	case "status":
		return v.falseStatus(epoch, 0)
	case "proposal":
		if a.value == nil {
			return nil
		}
		at.Round = 1
		value := slices.Clone(a.value)
		return &mvba.Proposal{At: at, Value: value, Digest: mvba.DigestOf(value)}
	case "echo":
		return v.signEcho(at, lane, d)
	case "accept":
		return v.signAccept(at, lane, d)
	case "pre-vote":
		return v.signNoPreVote(at, lane)
	case "share":
		return v.share(tossOf(at))
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
		return &certify.VOTE{Height: number, Header: d, Signature: v.sign("bdt/VOTE/1", wire.AppendU64(nil, number), d[:])}
	case "position":
		return &replica.Position{Certified: number, Again: rng.IntN(2) == 0}
	case "request":
		return &replica.Request{From: number}
	case "history":
		return &replica.History{}
	case "ack":
		return v.signAck(lane, lanes.Tip{Seq: number, Digest: d})
	case "fetch":
		return &lanes.Fetch{Lane: lane, Tip: lanes.Tip{Seq: max(number, 2), Digest: d}, After: rng.Uint64N(2)}
	case "batch":
		h := lanes.Header{Lane: self, Seq: max(number, 2), Parent: d, Count: 1}
		return lanes.NewBatch(v.Committee, v.Signer, h, ledger.EncodePayload([][]byte{v.Junk().Encode()}))
	case "SIGN":
		source := uint16(rng.IntN(v.Shards + 1))
		return v.signLD(source, lanes.Tip{Seq: number, Digest: d})
	}
	return &inbound.FetchLD{Source: uint16(rng.IntN(v.Shards + 1)), Tip: lanes.Tip{Seq: number, Digest: d}}
}
