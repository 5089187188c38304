package check

import (
	"bytes"
	"cmp"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/observe"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
)

// agreement: committed logs of honest replicas are prefixes of each other, and their headers are equal (design §2.1).
type agreement struct {
	s       *Shard
	blocks  map[uint64]digest.Digest
	parents map[uint64]digest.Digest
	headers map[uint64]digest.Digest
	top     uint64 // greatest committed height

	epochs    uint64 // that have ended
	fallbacks uint64 // of these, epochs that ended before their last slot was used
	last      *bolt.Block

	decoded [16]decodedBlock // the newest blocks that were decoded, by height
}

// decodedBlock is a block with its encoding.
type decodedBlock struct {
	encoding []byte
	block    *bolt.Block
}

func newAgreement(s *Shard) agreement {
	return agreement{
		s: s, blocks: make(map[uint64]digest.Digest), parents: make(map[uint64]digest.Digest),
		headers: make(map[uint64]digest.Digest),
	}
}

func (c *agreement) stepped(n observe.Replica, st *replica.Step) {
	slots := cmp.Or(c.s.Slots, bdt.EpochSlots)
	for _, r := range st.Persist {
		b := committed(c.s, r)
		if b == nil {
			continue
		}
		h, d := b.Height, b.Digest()
		if have, ok := c.blocks[h]; ok && have != d {
			c.s.Fail("agreement", "replica %d commits block %s at height %d, another has committed %s", n.ID(), d.Short(), h, have.Short())
		}
		if p, ok := c.blocks[h-1]; ok && p != b.Parent {
			c.s.Fail("agreement", "block %s at height %d does not extend %s", d.Short(), h, p.Short())
		}
		c.blocks[h], c.parents[h] = d, b.Parent
		if h > c.top {
			if b.Last {
				c.epochs = b.Epoch
				if c.last == nil || c.last.Epoch != b.Epoch || c.last.Slot < slots {
					c.fallbacks++
				}
			}
			c.top, c.last = h, b
		}
		c.s.certificates.committed(b.Cut)
	}
}

var commitPrefix = bdt.CommitKey(0)[:3]

// committed is the block in a record of a commit, nil for other records.
func committed(s *Shard, r protocols.Record) *bolt.Block {
	if r.Value == nil || len(r.Key) != len(commitPrefix)+8 || !bytes.HasPrefix(r.Key, commitPrefix) {
		return nil
	}
	x := &s.agreement.decoded[int(r.Key[len(r.Key)-1])%len(s.agreement.decoded)]
	if bytes.Equal(r.Value, x.encoding) { // replicas commit a block at about the same time, and several checks look at it
		return x.block
	}
	b, err := bdt.DecodeCommit(s.Committee, r.Value)
	if err != nil {
		s.Fail("agreement", "a record of a committed block is malformed: %v", err)
		return nil
	}
	*x = decodedBlock{bytes.Clone(r.Value), b}
	return b
}

func (c *agreement) executed(n observe.Replica, b *ledger.Block) {
	h := b.Header.Height
	if have, ok := c.headers[h]; ok && have != b.HeaderDigest {
		c.s.Fail("agreement", "replica %d has header %s at height %d, another %s", n.ID(), b.HeaderDigest.Short(), h, have.Short())
	}
	c.headers[h] = b.HeaderDigest
	if b.Header.Block != c.blocks[h] {
		c.s.Fail("agreement", "replica %d executed block %s at height %d, committed is %s", n.ID(), b.Header.Block.Short(), h, c.blocks[h].Short())
	}
}
