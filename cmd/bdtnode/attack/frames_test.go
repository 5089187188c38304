package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// agreementEnd is the number of the agreement that ends an epoch.
const agreementEnd = 1

// askCall is the kind of a forwarded client call between shards.
const askCall = 3

// flood sends frames to all other replicas as fast as the links accept them. It pauses between frames, because the
// attacker's own queue is dropped when it overflows.
func (s *scene) flood(ctx context.Context, class p2p.Class, next func(i uint64) []byte) {
	for i := uint64(0); ctx.Err() == nil; i++ {
		s.member.send(class, next(i))
		if i%1024 == 1023 {
			pause(ctx, time.Millisecond)
		}
	}
}

func floodPositions(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Control, func(i uint64) []byte {
		return replica.Encode(&replica.Position{Certified: i % 4, Again: i%2 == 0})
	})
}

func floodRequests(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Control, func(uint64) []byte { return replica.Encode(&replica.Request{From: 1}) })
}

func floodFetches(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Control, func(i uint64) []byte {
		tip := lanes.Tip{Seq: 1 + i%200, Digest: digest.Of("attack", fmt.Append(nil, i))}
		return replica.Encode(&lanes.Fetch{Lane: protocols.Index(i % perShard), Tip: tip})
	})
}

func floodLDFetches(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Control, func(i uint64) []byte {
		tip := lanes.Tip{Seq: 60, Digest: digest.Of("attack", fmt.Append(nil, i))}
		return replica.Encode(&inbound.FetchLD{Source: otherShard, Tip: tip})
	})
}

// floodLane extends the attacker's own lane with large batches, without waiting for commits.
func floodLane(ctx context.Context, s *scene) {
	committee, err := s.member.home.Genesis.Committee(memberShard)
	if err != nil {
		s.t.Error(err)
		return
	}
	key := newKey(s)
	var txs [][]byte
	for i := range uint64(2000) {
		txs = append(txs, s.unknown(key, i))
	}
	payload := ledger.EncodePayload(txs)
	var parent digest.Digest
	for seq := uint64(1); ctx.Err() == nil && seq < 2000; seq++ {
		h := lanes.Header{Lane: memberIndex, Seq: seq, Parent: parent, Count: uint32(len(txs)), TimeMS: uint64(time.Now().UnixMilli())}
		b := lanes.NewBatch(committee, s.member.home.ConsensusKey, h, payload)
		parent = b.Digest()
		s.member.send(p2p.Bulk, replica.Encode(b))
		pause(ctx, 10*time.Millisecond)
	}
	<-ctx.Done()
}

// floodEarly sends proposals of the next epochs' agreements, at the maximum size.
func floodEarly(ctx context.Context, s *scene) {
	value := make([]byte, mvba.MaxValue)
	s.flood(ctx, p2p.Control, func(i uint64) []byte {
		value[i%32]++
		at := mvba.At{Instance: mvba.Instance{Kind: agreementEnd, Epoch: 2 + i%64}, Round: 1}
		pause(ctx, 20*time.Millisecond)
		return replica.Encode(&mvba.Proposal{At: at, Value: value, Digest: mvba.DigestOf(value)})
	})
}

// floodStatus sends Status of epochs after the next, each of another one. Their signatures do not verify.
func floodStatus(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Control, func(i uint64) []byte {
		claim := bdt.Claim{Epoch: 3 + i, Cut: make(lanes.Cut, perShard), Inbound: make(lanes.Cut, shards)}
		return replica.Encode(&bdt.Status{Claim: claim, Signature: sig.Signature{1}})
	})
}

// floodHistory sends empty answers without a request.
func floodHistory(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Bulk, func(uint64) []byte { return replica.Encode(&replica.History{}) })
}

// floodBadSignatures sends votes whose signatures do not verify. The peers disconnect it, and it connects again.
func floodBadSignatures(ctx context.Context, s *scene) {
	s.flood(ctx, p2p.Control, func(i uint64) []byte {
		return replica.Encode(&bolt.Vote{Epoch: 1, Slot: 1 + i, Digest: digest.Of("attack", fmt.Append(nil, i)), Signature: sig.Signature{1}})
	})
}

// forwardCopies opens calls between shards that submit copies of one transaction with an unknown input.
func forwardCopies(ctx context.Context, s *scene) {
	forward(ctx, s, slices.Repeat([][]byte{s.foreignUnknown(0)}, 200))
}

// forwardUnknown opens calls between shards that submit different transactions with unknown inputs.
func forwardUnknown(ctx context.Context, s *scene) {
	txs := make([][]byte, 200)
	for i := range txs {
		txs[i] = s.foreignUnknown(uint64(i))
	}
	forward(ctx, s, txs)
}

func forward(ctx context.Context, s *scene, txs [][]byte) {
	call := callFrame(map[string]any{"submit": map[string]any{"txs": txs, "wait": "settled"}})
	workers(ctx, 512, func(i int) {
		err := s.member.net.Request(ctx, otherShard, protocols.Index(i%perShard), call, maxAnswer, func([]byte) error { return nil })
		if err != nil {
			pause(ctx, afterRefusal)
		}
	})
}

// foreignUnknown is a transaction with an unknown input, whose home is the other shard.
func (s *scene) foreignUnknown(i uint64) []byte {
	for {
		raw := s.unknown(newKey(s), i)
		tx, err := ledger.DecodeTx(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		if tx.Shards(s.member.home.Genesis.Home).Inputs.Has(otherShard) {
			return raw
		}
	}
}

// afterRefusal is the pause of a worker after a refused request. All workers together still send several times as many
// requests as a replica takes. Without a pause, the attacker's own work would use up the processor.
const afterRefusal = 200 * time.Millisecond

// maxAnswer is the number of bytes that the attacker accepts as an answer.
const maxAnswer = 256 << 20

// unreadAnswers requests the largest answers and does not read them.
func unreadAnswers(ctx context.Context, s *scene) {
	call := callFrame(map[string]any{"block": map[string]any{"height": 1}})
	workers(ctx, 3000, func(i int) {
		err := s.member.net.Request(ctx, otherShard, protocols.Index(i%perShard), call, maxAnswer, func([]byte) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil {
			pause(ctx, afterRefusal)
		}
	})
}

// endless answers each request with frames until the other replica ends the request.
func endless(ctx context.Context, w func(frame []byte) error) error {
	frame := make([]byte, 1<<20)
	for ctx.Err() == nil {
		if err := w(frame); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// idle lets an attack go on that acts on requests only.
func idle(ctx context.Context, _ *scene) { <-ctx.Done() }

func callFrame(call any) []byte {
	raw, err := json.Marshal(call)
	if err != nil {
		panic(err) // cannot happen: the maps hold strings and bytes only
	}
	return append([]byte{askCall}, raw...)
}
