package execution

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

// Contents keeps checked payloads and deliveries from verification to execution, by digest of the batch or LD. The least
// recently used is dropped first. It may be used concurrently.
type Contents struct {
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

// NewContents returns empty contents of at most 16 MiB of encodings.
func NewContents() *Contents { return newContents(maxContents) }

func newContents(limit int) *Contents {
	c := &Contents{limit: limit}
	lru, err := simplelru.NewLRU(limit, func(_ digest.Digest, v content) { c.bytes -= v.size })
	if err != nil {
		panic(err) // the size is positive
	}
	c.lru = lru
	return c
}

// PutPayload keeps the checked payload of a batch, whose encoding has so many bytes.
func (c *Contents) PutPayload(batch digest.Digest, p *ledger.Payload, size int) {
	c.put(batch, content{payload: p, size: size})
}

// PutDelivery keeps the checked delivery of an LD, whose encoding has so many bytes.
func (c *Contents) PutDelivery(ld digest.Digest, d *ledger.Delivery, size int) {
	c.put(ld, content{delivery: d, size: size})
}

func (c *Contents) put(d digest.Digest, x content) {
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

// Has reports whether the content of a batch or LD is here.
func (c *Contents) Has(d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Contains(d)
}

func (c *Contents) get(d digest.Digest) content {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, _ := c.lru.Get(d)
	return v
}

func (c *Contents) drop(d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lru.Remove(d)
}

// Payload is the checked payload of a committed batch, from memory or from the store. It implements [replica.Contents].
func (e *Execution) Payload(ref lanes.Ref) (*ledger.Payload, error) {
	if p := e.contents.get(ref.Tip.Digest).payload; p != nil {
		return p, nil
	}
	b, err := replica.Batch(e.cfg.Committee, e.cfg.Store, ref.Lane, ref.Tip)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("batch %d of lane %d, digest %s, is committed and not in the store", ref.Tip.Seq, ref.Lane, ref.Tip.Digest.Short())
	}
	return ledger.DecodePayload(e.cfg.Kinds, b.Payload)
}

// Delivery is the checked delivery of an ordered LD, from memory or from the store. It implements [replica.Contents].
func (e *Execution) Delivery(ref inbound.Ref) (*ledger.Delivery, error) {
	if x := e.contents.get(ref.Tip.Digest).delivery; x != nil {
		return x, nil
	}
	stored, err := replica.StoredLD(e.cfg.Store, ref.Source, ref.Tip)
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
