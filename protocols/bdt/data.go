package bdt

import (
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
)

// data is the content of blocks: the lanes, and the channels with deliveries of other shards. The lanes and then the channels
// are numbered from 0.
type data struct {
	lanes   *lanes.Machine
	inbound *inbound.Machine
	n       int // number of lanes
	shards  int // number of channels
}

// restoreData restores lanes and channels. delivered is the last block handed to the executor.
func restoreData(cfg *Config, delivered *bolt.Block, stored protocols.Stored) (data, error) {
	d := data{n: cfg.Committee.N(), shards: cfg.Shards}
	var err error
	d.lanes, err = lanes.Restore(lanes.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, AckAtOnce: cfg.Dumbo, Window: cfg.Window,
		WallClock: cfg.WallClock,
	}, delivered.Cut, stored)
	if err != nil {
		return d, err
	}
	d.inbound, err = inbound.Restore(inbound.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Shards: cfg.Shards,
	}, delivered.Inbound, stored)
	return d, err
}

// ordered moves the windows of lanes and channels to a committed block. It reports whether any of them can progress because
// of that.
func (d *data) ordered(now protocols.Time, st *Step, b *bolt.Block) bool {
	grew := len(protocols.Absorb(st, d.lanes.Ordered(now, b.Cut))) > 0
	return len(protocols.Absorb(st, d.inbound.Ordered(now, b.Inbound))) > 0 || grew
}

// content is the delivery of the block next, which follows the block after. It reports false if some of its data is missing;
// then it requests the data.
func (d *data) content(now protocols.Time, st *Step, after *bolt.Block, next bolt.Committed) (*Delivery, bool) {
	child, refs, complete := d.lanes.Content(now, after.Cut, next.Block.Cut, next.Signers)
	protocols.Absorb(st, child)
	lds, received := d.inbound.Content(now, after.Inbound, next.Block.Inbound, next.Signers)
	if !complete || !received {
		return nil, false
	}
	return &Delivery{Block: next.Block, LDs: lds, Refs: refs}, true
}

// prefetch requests the data of the block next, which follows the block after.
func (d *data) prefetch(now protocols.Time, after *bolt.Block, next bolt.Committed) {
	d.lanes.Prefetch(now, after.Cut, next.Block.Cut, next.Signers)
	d.inbound.Content(now, after.Inbound, next.Block.Inbound, next.Signers)
}

// pendingAt gives the position up to which the lane or channel k is pending, and the one up to which it is ordered; for any
// other k that of the slots. A certified tip of a lane or channel is pending, and so is an open slot. A position without a
// certificate is not, nor a slot without a proposal of the leader or a QC.
func (d *data) pendingAt(k int, slots *bolt.Machine) (pending, ordered uint64) {
	switch {
	case k < d.n:
		return d.lanes.Pending(protocols.Index(k))
	case k < d.n+d.shards:
		return d.inbound.Pending(uint16(k - d.n))
	}
	return slots.LowestOpenSlot(), slots.CommittedSlot()
}

// sendCertificate sends the leader the certificate of the pending position of lane or channel k. There is none for the slots.
func (d *data) sendCertificate(st *Step, leader protocols.Index, k int) {
	if k < d.n {
		if x := d.lanes.Certificate(protocols.Index(k)); x != nil {
			st.Send(leader, x)
		}
	} else if k < d.n+d.shards {
		if x := d.inbound.Certificate(uint16(k - d.n)); x != nil {
			st.Send(leader, x)
		}
	}
}
