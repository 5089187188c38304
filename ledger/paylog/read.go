package paylog

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
)

// Height is the height of the last executed block.
func (l *Log) Height() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tip.header.Height
}

// Tip returns the header of the last executed block, its digest, and the encoded cut of that block.
func (l *Log) Tip() (h ledger.Header, d digest.Digest, cut []byte) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tip.header, l.tip.digest, l.tip.cut
}

// Advanced returns the height of the last executed block, and a channel that is closed when a higher block is executed.
func (l *Log) Advanced() (height uint64, higher <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.advanced == nil {
		l.advanced = make(chan struct{})
	}
	return l.tip.header.Height, l.advanced
}

// Flush returns after all executed blocks survive a crash of the machine.
func (l *Log) Flush() error { return l.store.Flush() }

// Header returns the header of a block, if the block was executed.
func (l *Log) Header(height uint64) (ledger.Header, bool, error) {
	v, ok, err := l.store.Get(heightKey(keyHeader, height))
	if err != nil || !ok {
		return ledger.Header{}, false, err
	}
	h, err := ledger.DecodeHeader(v)
	return h, err == nil, err
}

// Batches returns the records of a block's batches, if the block was executed.
func (l *Log) Batches(height uint64) ([]ledger.LogBatch, bool, error) {
	v, ok, err := l.store.Get(heightKey(keyBatches, height))
	if err != nil {
		return nil, false, err
	}
	if !ok {
		return nil, height <= l.Height(), nil
	}
	var out []ledger.LogBatch
	r := wire.NewReader(v)
	for r.Err() == nil && r.Len() > 0 {
		out = append(out, ledger.ReadLogBatch(r))
	}
	return out, r.Err() == nil, r.Err()
}

// A log exchanges nothing with other shards. The methods below state this to the driver.

// Frozen is empty.
func (l *Log) Frozen() ([]ledger.Freeze, error) { return nil, nil }

// HasUnsentVerdicts is false.
func (l *Log) HasUnsentVerdicts() (bool, error) { return false, nil }

// Channel is a channel without deliveries.
func (l *Log) Channel(peer uint16) (ledger.Channel, error) { return ledger.Channel{Peer: peer}, nil }

// Outgoing finds no delivery.
func (l *Log) Outgoing(uint16, uint64) (ledger.Outgoing, bool, error) {
	return ledger.Outgoing{}, false, nil
}
