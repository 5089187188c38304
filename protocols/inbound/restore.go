package inbound

import (
	"fmt"

	"bdtnode/internal/wire"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// Restore makes a machine from the persisted records of an earlier one. All LDs up to executed have been applied. It returns
// an error if executed has another number of channels than the network, or if a record is damaged.
func Restore(cfg Config, executed lanes.Cut, stored protocols.Stored) (*Machine, error) {
	m := New(cfg)
	if len(executed) != cfg.Shards {
		return nil, fmt.Errorf("the ledger has %d inbound channels, the network %d shards", len(executed), cfg.Shards)
	}
	for i, t := range executed {
		c, source := m.chans[i], uint16(i)
		c.base, c.ordered, c.signed = t, t, t
		for _, value := range stored(StoredKey(source, lanes.Tip{Seq: t.Seq + 1}), StoredKey(source+1, lanes.Tip{})) {
			d, err := DecodeStored(value)
			if err != nil {
				return nil, fmt.Errorf("LD of shard %d above %d: %w: the store is damaged", source, t.Seq, err)
			}
			c.hold(d)
		}
		for key, value := range stored(signedKey(source, t.Seq+1), signedKey(source+1, 0)) {
			r := wire.NewReader(key[len("i/s"):])
			r.U16()
			at := lanes.Tip{Seq: r.U64()}
			if len(value) != len(at.Digest) || r.Done() != nil {
				return nil, fmt.Errorf("SIGN record %x is malformed: the store is damaged", key)
			}
			copy(at.Digest[:], value)
			c.own[at.Seq] = at.Digest
			c.signed = at // records come in order of number
			var st Step
			m.count(&st, c, cfg.Self, m.sign(source, at))
		}
	}
	return m, nil
}
