package ledger

import (
	"fmt"
	"slices"

	"bdtnode/internal/kv"
)

// Channels has the channels with other shards, with the changes of the current block. Misuse panics: applying a delivery
// that is not the next of its channel.
type Channels struct {
	x       *execution
	last    map[uint16]Channel // after the block before
	changed map[uint16]*Channel
	acked   []outboxRange
	frozen  []Freeze // channels that the current block froze
}

// outboxRange are the deliveries from number first to number last that are acknowledged and need not be kept.
type outboxRange struct {
	destination uint16
	first, last uint64
}

func newChannels(x *execution) *Channels {
	return &Channels{x: x, last: make(map[uint16]Channel), changed: make(map[uint16]*Channel)}
}

// open reads the channels in the store.
func (s *Channels) open() error {
	channels, err := readChannels(s.x.store)
	for _, c := range channels {
		s.last[c.Peer] = c
	}
	return err
}

func (s *Channels) reset() {
	clear(s.changed)
	s.acked, s.frozen = s.acked[:0], nil
}

// Get returns the channel with a peer shard.
func (s *Channels) Get(peer uint16) Channel {
	if c, ok := s.changed[peer]; ok {
		return *c
	}
	c := s.last[peer]
	c.Peer = peer
	return c
}

// change returns the channel with a peer shard for changing it.
func (s *Channels) change(peer uint16) *Channel {
	c, ok := s.changed[peer]
	if !ok {
		v := s.Get(peer)
		c = &v
		s.changed[peer] = c
	}
	return c
}

// Changed lists the channels that the current block has changed, by peer.
func (s *Channels) Changed() []Channel {
	out := make([]Channel, 0, len(s.changed))
	for _, c := range s.changed {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Channel) int { return int(a.Peer) - int(b.Peer) })
	return out
}

// Apply records that a delivery, the next of its channel, is applied. Deliveries of this shard that x acknowledges
// are deleted from the outbox at the end of the block. It panics if x is not the next delivery of its channel.
func (s *Channels) Apply(x *Delivery) {
	c := s.change(x.Source)
	if x.Number != c.Applied+1 || x.Previous != c.AppliedDigest || x.Applied > c.Sent {
		panic(fmt.Sprintf("ledger: delivery %d of shard %d does not follow delivery %d", x.Number, x.Source, c.Applied))
	}
	c.Applied, c.AppliedDigest = x.Number, x.digest
	if x.Applied > c.Acked {
		s.acked = append(s.acked, outboxRange{x.Source, c.Acked + 1, x.Applied})
		c.Acked = x.Applied
	}
}

// Freeze stops the channel from a shard: no further delivery of it is applied. The first reason is kept; later calls
// do nothing.
func (s *Channels) Freeze(f Freeze) {
	c := s.change(f.Source)
	if c.Frozen {
		return
	}
	c.Frozen = true
	f.Height = s.x.in.Height
	s.frozen = append(s.frozen, f)
}

// deleteAcknowledged deletes the deliveries that the current block's deliveries acknowledge.
func (s *Channels) deleteAcknowledged(b *kv.Batch) {
	for _, a := range s.acked {
		for n := a.first; n <= a.last; n++ {
			b.Delete(outboxKey(a.destination, n))
		}
	}
}

// write writes the changed channels and the reasons of frozen ones.
func (s *Channels) write(b *kv.Batch) {
	for _, c := range s.Changed() {
		value := c.encode()
		s.x.writes = append(append(s.x.writes, byte(c.Peer>>8), byte(c.Peer)), value...)
		b.Set(channelKey(keyChannel, c.Peer), value)
	}
	for i := range s.frozen {
		f := &s.frozen[i]
		b.Set(channelKey(keyFreeze, f.Source), f.encode())
	}
}

// updateCache is called when the block is in the store.
func (s *Channels) updateCache() {
	for peer, c := range s.changed {
		s.last[peer] = *c
	}
}
