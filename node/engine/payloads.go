package engine

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
)

// maxPayloadCache bounds the bytes of checked payloads that wait in memory for execution; others are read from the
// store again.
const maxPayloadCache = 64 << 20

// payloads keeps checked payloads from verification to execution, the least recently used dropped first.
type payloads struct {
	mu    sync.Mutex
	limit int
	bytes int
	lru   *simplelru.LRU[digest.Digest, sized]
}

type sized struct {
	payload *ledger.Payload
	size    int
}

func newPayloads(limit int) *payloads {
	p := &payloads{limit: limit}
	lru, err := simplelru.NewLRU(limit, func(_ digest.Digest, v sized) { p.bytes -= v.size })
	if err != nil {
		panic(err) // the size is positive
	}
	p.lru = lru
	return p
}

func (p *payloads) put(d digest.Digest, x *ledger.Payload, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lru.Contains(d) {
		return
	}
	p.bytes += size
	p.lru.Add(d, sized{x, size})
	for p.bytes > p.limit {
		p.lru.RemoveOldest()
	}
}

func (p *payloads) has(d digest.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lru.Contains(d)
}

func (p *payloads) get(d digest.Digest) *ledger.Payload {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, _ := p.lru.Get(d)
	return v.payload
}

func (p *payloads) drop(d digest.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lru.Remove(d)
}
