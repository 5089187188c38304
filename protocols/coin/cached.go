package coin

import (
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// Cached remembers the results of another scheme, since the same share comes again in every relay, certificate and
// justification of its round. It keeps only positive results: valid shares and combined values. So invalid shares cannot
// push valid ones out of the cache.
type Cached struct {
	scheme   Scheme
	verified *lru.Cache[digest.Digest, struct{}]
	values   *lru.Cache[digest.Digest, Value]
}

// NewCached makes a cache of up to size > 0 verified shares, about 100 bytes each, and as many values. It returns an error
// if size is not above 0.
func NewCached(scheme Scheme, size int) (*Cached, error) {
	verified, err := lru.New[digest.Digest, struct{}](size)
	if err != nil {
		return nil, fmt.Errorf("cache of coin shares: %w", err)
	}
	values, err := lru.New[digest.Digest, Value](size)
	if err != nil {
		return nil, fmt.Errorf("cache of coin values: %w", err)
	}
	return &Cached{scheme: scheme, verified: verified, values: values}, nil
}

// Threshold is the threshold of the wrapped scheme.
func (c *Cached) Threshold() int { return c.scheme.Threshold() }

// Verify gives the result of the wrapped scheme. For a share that was verified before it costs only a hash.
func (c *Cached) Verify(i protocols.Index, statement []byte, s Share) bool {
	key := digest.Of("bdt/coin-cache/1", wire.AppendU16(nil, uint16(i)), s[:], statement)
	if c.verified.Contains(key) {
		return true
	}
	if !c.scheme.Verify(i, statement, s) {
		return false
	}
	c.verified.Add(key, struct{}{})
	return true
}

// Combine gives the result of the wrapped scheme. Values are cached by statement: all verified shares of a toss give one
// value.
func (c *Cached) Combine(statement []byte, shares *Shares) (Value, error) {
	key := digest.Of("bdt/coin-cache-value/1", statement)
	if v, ok := c.values.Get(key); ok && len(shares.Shares) >= c.scheme.Threshold() {
		return v, nil
	}
	v, err := c.scheme.Combine(statement, shares)
	if err == nil {
		c.values.Add(key, v)
	}
	return v, err
}
