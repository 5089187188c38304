package ledger

import (
	"fmt"
	"time"
)

// Busy is the shard for which a transaction was refused with ReasonShardBusy.
type Busy struct {
	Shard uint16
	// SinceMS is the block time from which on the shard has acknowledged no delivery, or of the block that froze its channel,
	// Unix milliseconds; 0 if it is not known.
	SinceMS uint64
	Frozen  bool // its channel is frozen, for ever
}

// Busy returns the refusal of a transaction that involves another shard for which the rules leave transactions of batches
// out at present, or nil. The transaction may be submitted again. The error is an error of the store.
func (s *State) Busy(tx *Tx) (*Refusal, error) {
	p := tx.Shards(s.cfg.Home)
	if s.cfg.Rules == nil || p.Inside(s.cfg.Shard) || !p.Inputs.Has(s.cfg.Shard) {
		return nil, nil
	}
	for _, shard := range p.All().Without(s.cfg.Shard).Members() {
		c, err := s.Channel(shard)
		if err != nil {
			return nil, err
		}
		why := s.cfg.Rules.Busy(c)
		if why == "" {
			continue
		}
		b := &Busy{Shard: shard, Frozen: c.Frozen}
		if b.SinceMS, err = s.busySince(c); err != nil {
			return nil, err
		}
		r := refuse(ReasonShardBusy, "shard %d %s", shard, why)
		if b.SinceMS > 0 {
			r.Detail += fmt.Sprintf(", since %s", time.UnixMilli(int64(b.SinceMS)).UTC().Format(time.RFC3339))
		}
		r.Busy = b
		return r, nil
	}
	return nil, nil
}

// busySince is the block time of the first delivery to a shard that the shard has not acknowledged, or of the freeze of its
// channel; 0 if there is neither.
func (s *State) busySince(c Channel) (uint64, error) {
	var height uint64
	switch {
	case c.Frozen:
		v, ok, err := s.store.Get(channelKey(keyFreeze, c.Peer))
		if err != nil || !ok {
			return 0, err
		}
		f, err := decodeFreeze(v, c.Peer)
		if err != nil {
			return 0, err
		}
		height = f.Height
	case c.Sent > c.Acked:
		o, ok, err := s.Outgoing(c.Peer, c.Acked+1)
		if err != nil || !ok {
			return 0, err // acknowledged in the meantime
		}
		height = o.Height
	default:
		return 0, nil
	}
	h, ok, err := s.Header(height)
	if err != nil || !ok {
		return 0, err
	}
	return h.TimeMS, nil
}
