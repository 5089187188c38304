package ledger

import (
	"errors"
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/merkle"
)

// Channel is how the shard stands with another one.
func (d *Desk) Channel(peer uint16) Channel {
	if c, ok := d.s.work.channels[peer]; ok {
		return *c
	}
	c := d.s.channels[peer]
	c.Peer = peer
	return c
}

// channel is a channel to be changed.
func (d *Desk) channel(peer uint16) *Channel {
	w := &d.s.work
	c, ok := w.channels[peer]
	if !ok {
		v := d.Channel(peer)
		c = &v
		w.channels[peer] = c
	}
	return c
}

// Changed are the channels that the block has changed, by peer.
func (d *Desk) Changed() []Channel {
	out := make([]Channel, 0, len(d.s.work.channels))
	for _, c := range d.s.work.channels {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Channel) int { return int(a.Peer) - int(b.Peer) })
	return out
}

// Acknowledge has the block tell another shard at least what was applied of it.
func (d *Desk) Acknowledge(peer uint16) {
	d.channel(peer)
	if w := &d.s.work; w.tell[peer] == nil {
		w.tell[peer] = []Entry{}
	}
}

// Apply moves a channel on by a delivery, the next of it. Those of its own that the delivery shows applied are not kept
// any longer.
func (d *Desk) Apply(x *Delivery) {
	c := d.channel(x.Source)
	if x.Number != c.Applied+1 || x.Previous != c.AppliedDigest || x.Applied > c.Sent {
		panic(fmt.Sprintf("ledger: delivery %d of shard %d does not follow %d", x.Number, x.Source, c.Applied))
	}
	c.Applied, c.AppliedDigest = x.Number, x.digest
	if x.Applied > c.Acked {
		w := &d.s.work
		w.acked = append(w.acked, outboxRange{x.Source, c.Acked + 1, x.Applied})
		c.Acked = x.Applied
	}
}

// Freeze has nothing more of a shard applied, for the first reason there is.
func (d *Desk) Freeze(f Freeze) {
	c := d.channel(f.Source)
	if c.Frozen {
		return
	}
	c.Frozen = true
	d.out.Frozen = append(d.out.Frozen, f)
}

// closeExpired has the rules close records of what expired in minutes that have passed.
func (d *Desk) closeExpired(b *kv.Batch) error {
	w := &d.s.work
	added := w.openDue.write(b, keyOpenDue, d.in.Height, digest.Size, func(v []byte, id TxID) []byte { return append(v, id[:]...) })
	lists, err := d.passed(b, keyOpenDue, &d.s.openDue, w.openDue.minutes, duePerBlock+2*added)
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
			return errors.New("a list of open records is damaged")
		}
	}
	return nil
}

// settlement ends the block for the rules, and writes records, channels and what the block tells others. It answers
// the root over that.
func (d *Desk) settlement(b *kv.Batch) (outbox digest.Digest, err error) {
	if d.s.cfg.Rules == nil {
		return digest.Digest{}, nil
	}
	if err := d.tellAll(b); err != nil {
		return digest.Digest{}, err
	}
	if err := d.s.cfg.Rules.Ending(d); err != nil {
		return digest.Digest{}, err
	}
	w := &d.s.work
	for _, x := range w.changed {
		id := digest.Digest(x.Part.Tx)
		value := x.Part.encode()
		w.writes = append(append(w.writes, id[:]...), value...)
		b.Set(append([]byte{keyPart}, id[:]...), value)
		switch {
		case x.born && x.Part.Open:
			b.Set(append([]byte{keyOpen}, id[:]...), x.Tx.raw)
		case !x.born && !x.Part.Open:
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
	outbox = d.seal(b)
	for _, c := range d.Changed() {
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

// seal makes the deliveries of the block: what it tells each destination, in order, cut where one would grow too long.
func (d *Desk) seal(b *kv.Batch) digest.Digest {
	w := &d.s.work
	var leaves []digest.Digest
	for _, c := range d.Changed() {
		entries, told := w.tell[c.Peer]
		for told {
			n, size := 0, deliveryHead
			for ; n < len(entries); n++ {
				if size += entries[n].size(); size > MaxDeliveryBytes {
					break
				}
			}
			x := d.next(c.Peer, entries[:n:n])
			d.out.Outbox = append(d.out.Outbox, Outgoing{Height: d.in.Height, Index: uint32(len(leaves)), Delivery: x})
			leaves = append(leaves, x.digest)
			entries = entries[n:]
			told = len(entries) > 0
		}
	}
	for i := range d.out.Outbox {
		o := &d.out.Outbox[i]
		o.Count, o.Path = uint32(len(leaves)), merkle.Prove(leaves, i)
		b.Set(outboxKey(o.Delivery.Destination, o.Delivery.Number), o.encode())
	}
	return merkle.Root(leaves)
}

// next makes the next delivery for a shard.
func (d *Desk) next(peer uint16, entries []Entry) *Delivery {
	c := d.channel(peer)
	x := NewDelivery(Delivery{
		Source: d.Shard(), Destination: peer, Number: c.Sent + 1, Previous: c.SentDigest, Applied: c.Applied, Entries: entries,
	})
	c.Sent, c.SentDigest, c.Told = x.Number, x.digest, c.Applied
	return x
}
