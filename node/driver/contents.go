package driver

import (
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// maxContents bounds the encodings of the checked payloads and deliveries that wait in memory for execution. Decoded, they
// take about five times as much. Others are read from the store and decoded again.
const maxContents = 16 << 20

// contents keeps checked payloads and deliveries from verification to execution, by digest of the batch or LD. The least
// recently used is dropped first.
type contents struct {
	mu    sync.Mutex
	limit int
	bytes int
	lru   *simplelru.LRU[digest.Digest, content]
}

// content is a checked payload of a batch, or a checked delivery of an LD.
type content struct {
	payload  *ledger.Payload
	delivery *ledger.Delivery
	size     int
}

func newContents(limit int) *contents {
	c := &contents{limit: limit}
	lru, err := simplelru.NewLRU(limit, func(_ digest.Digest, v content) { c.bytes -= v.size })
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

func (c *contents) put(d digest.Digest, x content) {
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

func (c *contents) get(d digest.Digest) content {
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

// Payload is the checked payload of a committed batch, from memory or from the store. It implements [replica.Contents].
func (d *Driver) Payload(ref lanes.Ref) (*ledger.Payload, error) {
	if p := d.contents.get(ref.Tip.Digest).payload; p != nil {
		return p, nil
	}
	b, err := replica.Batch(d.cfg.Committee, d.cfg.Store, ref.Lane, ref.Tip)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("batch %d of lane %d, digest %s, is committed and not in the store", ref.Tip.Seq, ref.Lane, ref.Tip.Digest.Short())
	}
	return ledger.DecodePayload(d.kinds, b.Payload)
}

// Delivery is the checked delivery of an ordered LD, from memory or from the store. It implements [replica.Contents].
func (d *Driver) Delivery(ref inbound.Ref) (*ledger.Delivery, error) {
	if x := d.contents.get(ref.Tip.Digest).delivery; x != nil {
		return x, nil
	}
	stored, err := replica.StoredLD(d.cfg.Store, ref.Source, ref.Tip)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, fmt.Errorf("LD %d of shard %d, digest %s, is ordered and not in the store", ref.Tip.Seq, ref.Source, ref.Tip.Digest.Short())
	}
	ld, err := settlement.DecodeLD(stored.Raw)
	if err != nil {
		return nil, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", ref.Tip.Seq, ref.Source, err)
	}
	return ld.Delivery, nil
}
