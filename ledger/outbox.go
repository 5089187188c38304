package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

// Outbox queues this shard's verdicts for other shards, and makes the deliveries of the current block.
type Outbox struct {
	x        *execution
	records  *Records
	channels *Channels
	before   int                // number of verdicts of earlier blocks in the queue
	queue    []TxID             // transactions on which the current block gave a verdict, in order
	needed   outboxUse          // the part of the outbox that these verdicts need
	left     int                // number of verdicts that later blocks have to send
	entries  map[uint16][]Entry // of this block's deliveries, by destination
	made     []Outgoing         // the deliveries
}

func newOutbox(x *execution, records *Records, channels *Channels) *Outbox {
	return &Outbox{x: x, records: records, channels: channels, entries: make(map[uint16][]Entry)}
}

func (s *Outbox) reset() {
	s.queue, s.needed, s.left, s.made = s.queue[:0], outboxUse{}, s.before, nil
	clear(s.entries)
}

// HasSpace reports whether this block would send a verdict on a transaction that is given now.
func (s *Outbox) HasSpace(tx *Tx) bool {
	return s.before == 0 && s.needed.hasSpace(tx.Shards(s.x.cfg.Home).All().Without(s.x.cfg.Shard), entrySize(tx))
}

// SendVerdict queues this shard's verdict on a transaction for all other shards involved. This block sends it, or a
// later one if this block's outbox is full. It panics if there is no verdict, or if it is in the queue already.
func (s *Outbox) SendVerdict(r *Record) {
	if k := r.Part.Of(s.x.cfg.Shard); k == nil || k.Verdict == 0 || r.Part.Unsent != 0 {
		panic(fmt.Sprintf("ledger: transaction %s has no verdict of this shard that is not sent yet", r.Part.Tx))
	}
	s.records.setUnsent(r, r.Shards.All().Without(s.x.cfg.Shard))
	s.queue = append(s.queue, r.Part.Tx)
	s.needed.add(r.Part.Unsent, entrySize(r.Tx))
}

// Acknowledge makes the block send at least one delivery to a peer, so that the peer learns the number of its last
// delivery applied here. The delivery is empty if there are no verdicts to send.
func (s *Outbox) Acknowledge(peer uint16) {
	s.channels.change(peer)
	if s.entries[peer] == nil {
		s.entries[peer] = []Entry{}
	}
}

// write makes the deliveries of the block: for each destination its entries in order, split so that no delivery
// exceeds MaxDeliveryBytes. It returns the Merkle root over them.
func (s *Outbox) write(b *kv.Batch) digest.Digest {
	var leaves []digest.Digest
	for _, c := range s.channels.Changed() {
		entries, more := s.entries[c.Peer]
		for more {
			n, size := 0, deliveryHead
			for ; n < len(entries); n++ {
				if size += entries[n].size(); size > MaxDeliveryBytes {
					break
				}
			}
			x := s.nextDelivery(c.Peer, entries[:n:n])
			s.made = append(s.made, Outgoing{Height: s.x.in.Height, Index: uint32(len(leaves)), Delivery: x})
			leaves = append(leaves, x.digest)
			entries = entries[n:]
			more = len(entries) > 0
		}
	}
	for i := range s.made {
		o := &s.made[i]
		o.Count, o.Path = uint32(len(leaves)), merkle.Prove(leaves, i)
		b.Set(outboxKey(o.Delivery.Destination, o.Delivery.Number), o.encode())
	}
	return merkle.Root(leaves)
}

// nextDelivery makes the next delivery for a peer and advances the channel.
func (s *Outbox) nextDelivery(peer uint16, entries []Entry) *Delivery {
	c := s.channels.change(peer)
	x := NewDelivery(Delivery{
		Source: s.x.cfg.Shard, Destination: peer, Number: c.Sent + 1, Previous: c.SentDigest, Applied: c.Applied, Entries: entries,
	})
	c.Sent, c.SentDigest, c.AppliedSent = x.Number, x.digest, c.Applied
	return x
}

// updateCache is called when the block is in the store.
func (s *Outbox) updateCache() { s.before = s.left }
