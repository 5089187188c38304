package engine

import (
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// maxContents bounds the bytes of checked payloads and deliveries that wait in memory for execution; others are read
// from the store again.
const maxContents = 64 << 20

// contents keeps what was checked from verification to execution, by digest of batch or LD, the least recently used
// dropped first.
type contents struct {
	mu    sync.Mutex
	limit int
	bytes int
	lru   *simplelru.LRU[digest.Digest, sized]
}

// sized is a checked payload of a batch, or a checked delivery of an LD.
type sized struct {
	payload  *ledger.Payload
	delivery *ledger.Delivery
	size     int
}

func newContents(limit int) *contents {
	c := &contents{limit: limit}
	lru, err := simplelru.NewLRU(limit, func(_ digest.Digest, v sized) { c.bytes -= v.size })
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

func (c *contents) put(d digest.Digest, x sized) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(d) {
		return
	}
	c.bytes += x.size
	c.lru.Add(d, x)
	for c.bytes > c.limit {
		c.lru.RemoveOldest()
	}
}

func (c *contents) has(d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Contains(d)
}

func (c *contents) get(d digest.Digest) sized {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, _ := c.lru.Get(d)
	return v
}

func (c *contents) drop(d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(d)
}

// verified is the encodings that were verified, for all readers.
type verified struct {
	mu    sync.Mutex
	known *replica.Verified
}

// Has implements [replica.Encodings].
func (v *verified) Has(encoding digest.Digest) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.known.Has(encoding)
}

// Add implements [replica.Encodings].
func (v *verified) Add(encoding digest.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.known.Add(encoding)
}

// Payload is the checked payload of a delivered batch, from memory or from the store. It implements
// [replica.Contents].
func (x *executor) Payload(ref lanes.Ref) (*ledger.Payload, error) {
	if p := x.e.contents.get(ref.Tip.Digest).payload; p != nil {
		return p, nil
	}
	b, err := replica.Batch(x.e.cfg.Committee, x.e.cfg.Store, ref.Lane, ref.Tip)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("batch %d of lane %d, digest %s, is not in the store although it was delivered", ref.Tip.Seq, ref.Lane, ref.Tip.Digest.Short())
	}
	return ledger.DecodePayload(x.e.kinds, b.Payload)
}

// Delivery is the checked delivery of an ordered LD, from memory or from the store. It implements
// [replica.Contents].
func (x *executor) Delivery(ref channels.Ref) (*ledger.Delivery, error) {
	if d := x.e.contents.get(ref.Tip.Digest).delivery; d != nil {
		return d, nil
	}
	stored, err := replica.StoredLD(x.e.cfg.Store, ref.Source, ref.Tip)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, fmt.Errorf("LD %d of shard %d, digest %s, is not in the store although it was ordered", ref.Tip.Seq, ref.Source, ref.Tip.Digest.Short())
	}
	ld, err := settlement.DecodeLD(stored.Raw)
	if err != nil {
		return nil, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", ref.Tip.Seq, ref.Source, err)
	}
	return ld.Delivery, nil
}
