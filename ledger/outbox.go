package ledger

import (
	"errors"
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

// Channel returns the channel with a peer shard, with the changes of the current block.
func (d *BlockState) Channel(peer uint16) Channel {
	if c, ok := d.s.work.channels[peer]; ok {
		return *c
	}
	c := d.s.channels[peer]
	c.Peer = peer
	return c
}

// channel returns the channel with a peer shard for changing it; finish writes it.
func (d *BlockState) channel(peer uint16) *Channel {
	w := &d.s.work
	c, ok := w.channels[peer]
	if !ok {
		v := d.Channel(peer)
		c = &v
		w.channels[peer] = c
	}
	return c
}

// ChangedChannels lists the channels that the current block has changed, by peer.
func (d *BlockState) ChangedChannels() []Channel {
	out := make([]Channel, 0, len(d.s.work.channels))
	for _, c := range d.s.work.channels {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Channel) int { return int(a.Peer) - int(b.Peer) })
	return out
}

// Acknowledge makes the block send at least one delivery to a peer, so that the peer learns the number of its last
// delivery applied here. The delivery is empty if there are no verdicts to send.
func (d *BlockState) Acknowledge(peer uint16) {
	d.channel(peer)
	if w := &d.s.work; w.entries[peer] == nil {
		w.entries[peer] = []Entry{}
	}
}

// ApplyDelivery records that a delivery, the next of its channel, is applied. Deliveries of this shard that x acknowledges
// are deleted from the outbox at the end of the block. It panics if x is not the next delivery of its channel.
func (d *BlockState) ApplyDelivery(x *Delivery) {
	c := d.channel(x.Source)
	if x.Number != c.Applied+1 || x.Previous != c.AppliedDigest || x.Applied > c.Sent {
		panic(fmt.Sprintf("ledger: delivery %d of shard %d does not follow delivery %d", x.Number, x.Source, c.Applied))
	}
	c.Applied, c.AppliedDigest = x.Number, x.digest
	if x.Applied > c.Acked {
		w := &d.s.work
		w.acked = append(w.acked, outboxRange{x.Source, c.Acked + 1, x.Applied})
		c.Acked = x.Applied
	}
}

// Freeze stops the channel from a shard: no further delivery of it is applied. The first reason is kept; later calls
// do nothing.
func (d *BlockState) Freeze(f Freeze) {
	c := d.channel(f.Source)
	if c.Frozen {
		return
	}
	c.Frozen = true
	f.Height = d.in.Height
	d.out.Frozen = append(d.out.Frozen, f)
}

// closeExpired calls the rules for open records whose expiry minute has passed, so that they close these.
func (d *BlockState) closeExpired(b *kv.Batch) error {
	w := &d.s.work
	added := w.openDue.write(b, keyOpenDue, d.in.Height, digest.Size, func(v []byte, id TxID) []byte { return append(v, id[:]...) })
	lists, err := d.takeDue(b, keyOpenDue, &d.s.openDue, w.openDue.minutes, duePerBlock+2*added)
	if err != nil {
		return err
	}
	for _, list := range lists {
		for ; len(list) >= digest.Size; list = list[digest.Size:] {
			r, err := d.Record(TxID(list[:digest.Size]))
			if err == nil && r != nil {
				err = d.s.cfg.Rules.Expired(d, r)
			}
			if err != nil {
				return err
			}
		}
		if len(list) > 0 {
			return errors.New("the list of open records of one expiry minute is damaged")
		}
	}
	return nil
}

// settlement calls the end-of-block rule, writes records, channels and deliveries, and returns the Merkle root over
// the deliveries.
func (d *BlockState) settlement(b *kv.Batch) (outbox digest.Digest, err error) {
	if d.s.cfg.Rules == nil {
		return digest.Digest{}, nil
	}
	if err := d.deliverVerdicts(b); err != nil {
		return digest.Digest{}, err
	}
	if err := d.s.cfg.Rules.EndBlock(d); err != nil {
		return digest.Digest{}, err
	}
	w := &d.s.work
	for _, x := range w.changed {
		id := digest.Digest(x.Part.Tx)
		value := x.Part.encode()
		w.writes = append(append(w.writes, id[:]...), value...)
		b.Set(append([]byte{keyPart}, id[:]...), value)
		switch {
		case x.opened && x.Part.Open:
			b.Set(append([]byte{keyOpen}, id[:]...), x.Tx.raw)
		case !x.opened && !x.Part.Open:
			b.Delete(append([]byte{keyOpen}, id[:]...))
		}
	}
	var mem arena
	for _, o := range w.forgotten {
		w.writes = o.append(w.writes)
		b.Delete(mem.outpointKey(keySpent, o))
	}
	for _, a := range w.acked {
		for n := a.first; n <= a.last; n++ {
			b.Delete(outboxKey(a.destination, n))
		}
	}
	outbox = d.makeDeliveries(b)
	for _, c := range d.ChangedChannels() {
		value := c.encode()
		w.writes = append(append(w.writes, byte(c.Peer>>8), byte(c.Peer)), value...)
		b.Set(channelKey(keyChannel, c.Peer), value)
	}
	for i := range d.out.Frozen {
		f := &d.out.Frozen[i]
		b.Set(channelKey(keyFreeze, f.Source), f.encode())
	}
	return outbox, nil
}

// makeDeliveries makes the deliveries of the block: for each destination its entries in order, split so that no delivery
// exceeds MaxDeliveryBytes. It returns the Merkle root over them.
func (d *BlockState) makeDeliveries(b *kv.Batch) digest.Digest {
	w := &d.s.work
	var leaves []digest.Digest
	for _, c := range d.ChangedChannels() {
		entries, more := w.entries[c.Peer]
		for more {
			n, size := 0, deliveryHead
			for ; n < len(entries); n++ {
				if size += entries[n].size(); size > MaxDeliveryBytes {
					break
				}
			}
			x := d.nextDelivery(c.Peer, entries[:n:n])
			d.out.Outbox = append(d.out.Outbox, Outgoing{Height: d.in.Height, Index: uint32(len(leaves)), Delivery: x})
			leaves = append(leaves, x.digest)
			entries = entries[n:]
			more = len(entries) > 0
		}
	}
	for i := range d.out.Outbox {
		o := &d.out.Outbox[i]
		o.Count, o.Path = uint32(len(leaves)), merkle.Prove(leaves, i)
		b.Set(outboxKey(o.Delivery.Destination, o.Delivery.Number), o.encode())
	}
	return merkle.Root(leaves)
}

// nextDelivery makes the next delivery for a peer and advances the channel.
func (d *BlockState) nextDelivery(peer uint16, entries []Entry) *Delivery {
	c := d.channel(peer)
	x := NewDelivery(Delivery{
		Source: d.Shard(), Destination: peer, Number: c.Sent + 1, Previous: c.SentDigest, Applied: c.Applied, Entries: entries,
	})
	c.Sent, c.SentDigest, c.AppliedSent = x.Number, x.digest, c.Applied
	return x
}
