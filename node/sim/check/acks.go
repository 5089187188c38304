package check

import (
	"bytes"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/node/sim/trace"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// acking: a vote acknowledges every header up to the tips of its block, except headers whose certificate the voter
// holds. No replica acknowledges two headers for one number of a lane (design §4.1). Otherwise a certificate of another
// chain could exclude headers that a quorum voted for. For the same reason a replica acknowledges nothing at or below
// its ordered position: its earlier acknowledgements there may be deleted. Nor does it acknowledge a number beyond the window
// above that position, so that no owner fills its disk.
type acking struct {
	s         *Shard
	headers   map[digest.Digest]lanes.Header
	blocks    map[digest.Digest]*bolt.Block
	certified map[heldTip]bool             // certificates that a replica received in any life
	voted     map[ballot][]laneTip         // positions that a vote acknowledges, by the certificates that the voter held when it voted
	acked     map[laneNumber]digest.Digest // by acks and by votes that were sent
	cuts      map[uint64]lanes.Cut         // of the committed blocks, by height
	height    []uint64                     // by replica: the last block that it has committed
}

// ballot is a replica's vote for a block.
type ballot struct {
	who   protocols.Index
	block digest.Digest
}

// laneTip is a position in a lane.
type laneTip struct {
	lane protocols.Index
	tip  lanes.Tip
}

// laneNumber is a number of a lane, at one replica.
type laneNumber struct {
	who, lane protocols.Index
	seq       uint64
}

// heldTip is a certified tip, at one replica.
type heldTip struct {
	who, lane protocols.Index
	tip       lanes.Tip
}

func newAcking(s *Shard) acking {
	return acking{
		s: s, headers: make(map[digest.Digest]lanes.Header), blocks: make(map[digest.Digest]*bolt.Block),
		certified: make(map[heldTip]bool), voted: make(map[ballot][]laneTip), acked: make(map[laneNumber]digest.Digest),
		cuts: make(map[uint64]lanes.Cut), height: make([]uint64, s.Replicas),
	}
}

// passed records the certificates that an honest replica receives: sent alone, or inside other messages.
func (c *acking) passed(n observe.Replica, m protocols.Message) {
	var shown []*lanes.TipCertificate
	switch x := m.(type) {
	case *lanes.Batch:
		c.headers[x.Digest()] = x.Header
		if x.Certificate != nil {
			shown = append(shown, x.Certificate)
		}
	case *lanes.TipCertificate:
		shown = append(shown, x)
	case *bolt.Propose:
		c.blocks[x.Block.Digest()] = x.Block
		shown = x.Certificates
	case *bdt.Status:
		shown = x.Certificates
	case *mvba.Proposal:
		shown = c.inputs(x.Value)
	case *mvba.Value:
		shown = c.inputs(x.Value)
	}
	for _, t := range shown {
		c.certified[heldTip{n.ID(), t.Lane, t.Tip}] = true
	}
}

// inputs are the certificates of an input to the agreement.
func (c *acking) inputs(value []byte) []*lanes.TipCertificate {
	if x, err := bdt.DecodeInput(c.s.Committee, value); err == nil {
		return x.Certificates
	}
	return nil
}

// started: a crash may have lost commits that were not on disk.
func (c *acking) started(n observe.Replica) { c.height[n.ID()] = n.Status().Committed }

// recorded checks the acknowledgements that a step records, against the commits of that step and before.
func (c *acking) recorded(n observe.Replica, st *replica.Step) {
	cut, height := c.cuts[c.height[n.ID()]], c.height[n.ID()]
	for _, r := range st.Persist {
		if lane, seq, ok := acknowledged(r); ok && cut != nil && seq <= cut[lane].Seq {
			c.s.Fail("acking", "replica %d acknowledges number %d of lane %d, which is ordered up to %d", n.ID(), seq, lane, cut[lane].Seq)
		}
		if b := committed(c.s, r); b != nil {
			c.cuts[b.Height], height = b.Cut, max(height, b.Height)
		}
	}
	c.height[n.ID()] = height
	cut = c.cuts[height]
	if cut == nil && height > 0 {
		return
	}
	for _, r := range st.Persist {
		ordered := uint64(0)
		lane, seq, ok := acknowledged(r)
		if ok && cut != nil {
			ordered = cut[lane].Seq
		}
		if ok && seq > ordered+2*lanes.WindowHeaders {
			c.s.Fail("acking", "replica %d acknowledges number %d of lane %d, which is ordered up to %d: beyond the window", n.ID(), seq, lane, ordered)
		}
	}
}

// acknowledged is the position in a record of an acknowledgement; ok is false for other records.
func acknowledged(r protocols.Record) (lane protocols.Index, seq uint64, ok bool) {
	key, ours := bytes.CutPrefix(r.Key, []byte("l/a"))
	if !ours || r.Value == nil {
		return 0, 0, false
	}
	x := wire.NewReader(key)
	lane, seq = protocols.Index(x.U16()), x.U64()
	return lane, seq, x.Done() == nil
}

// stepped records which positions the votes of an honest replica acknowledge. A repeated vote comes in a step with
// nothing to persist. Certificates that the voter received since then do not change what it acknowledged.
func (c *acking) stepped(n observe.Replica, st *replica.Step) {
	c.recorded(n, st)
	for _, x := range st.Sends {
		switch m := x.Message.(type) {
		case *lanes.Batch:
			c.headers[m.Digest()] = m.Header
		case *bolt.Propose:
			c.blocks[m.Block.Digest()] = m.Block
		}
	}
	for _, x := range st.Sends {
		if v, ok := x.Message.(*bolt.Vote); ok && proposed(st, v) {
			c.voted[ballot{n.ID(), v.Digest}] = c.path(n, v)
		}
	}
}

// proposed reports whether a step has the record of the proposal that its vote is for. A vote for a block that was
// final before acknowledges nothing, because the acknowledgements of others made the block final.
func proposed(st *replica.Step, v *bolt.Vote) bool {
	key := wire.AppendU64(wire.AppendU64([]byte("b/p"), v.Epoch), v.Slot)
	return slices.ContainsFunc(st.Persist, func(r protocols.Record) bool { return r.Value != nil && bytes.Equal(r.Key, key) })
}

// path lists the positions that a vote acknowledges: from the named tips without a certificate here, down to the
// parent's tips.
func (c *acking) path(n observe.Replica, v *bolt.Vote) []laneTip {
	b := c.blocks[v.Digest]
	if b == nil || c.blocks[b.Parent] == nil {
		return nil // the base of an epoch: the positions of its cut are ordered
	}
	var all []laneTip
	for i, t := range b.Cut {
		lane := protocols.Index(i)
		if lane == n.ID() || c.certified[heldTip{n.ID(), lane, t}] {
			continue
		}
		for t.Seq > c.blocks[b.Parent].Cut[i].Seq {
			all = append(all, laneTip{lane, t})
			h, known := c.headers[t.Digest]
			if !known {
				break
			}
			t = lanes.Tip{Seq: h.Seq - 1, Digest: h.Parent}
		}
	}
	return all
}

// sent records the acknowledgements of an honest replica.
func (c *acking) sent(n observe.Replica, m protocols.Message) {
	switch x := m.(type) {
	case *lanes.Ack:
		c.acks(n, x.Lane, x.Tip, m)
	case *bolt.Vote:
		for _, a := range c.voted[ballot{n.ID(), x.Digest}] {
			c.acks(n, a.lane, a.tip, m)
		}
	}
}

func (c *acking) acks(n observe.Replica, lane protocols.Index, t lanes.Tip, by protocols.Message) {
	at := laneNumber{n.ID(), lane, t.Seq}
	if have, ok := c.acked[at]; ok && have != t.Digest {
		c.s.Fail("acking", "replica %d acknowledges %s as number %d of lane %d by %s, and has acknowledged %s",
			n.ID(), t.Digest.Short(), t.Seq, lane, trace.Describe(by), have.Short())
	}
	c.acked[at] = t.Digest
}
