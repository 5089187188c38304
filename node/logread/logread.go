// Package logread reads the log of a shard for clients: streams from any place, and proofs.
//
// The log is not stored a second time: package paylog has the records of batches, and the consensus store has the batches.
// Readers near the end of the log share the batches in memory. Others read each batch from the disk.
package logread

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/api"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/logproof"
	"bdtnode/shard/proof"
)

const (
	cacheBytes = 16 << 20              // batches in memory for all readers
	poll       = 10 * time.Millisecond // between two looks at the certified height
	skipBlocks = 4096                  // blocks without payloads that one call of Next passes
)

// Config describes the log of a replica.
type Config struct {
	Log       *paylog.Log
	Committee *protocols.Committee
	Store     kv.Reader     // consensus store
	Certified func() uint64 // height up to which headers are certified
}

// Reader reads a log. It is safe for concurrent use.
type Reader struct {
	cfg   Config
	mu    sync.Mutex
	bytes int
	cache *simplelru.LRU[digest.Digest, ledger.Opaque]
}

// New returns a reader. It starts nothing.
func New(cfg Config) *Reader {
	r := &Reader{cfg: cfg}
	cache, err := simplelru.NewLRU(cacheBytes, func(_ digest.Digest, o ledger.Opaque) { r.bytes -= len(o.Raw()) })
	if err != nil {
		panic(err) // the size is positive
	}
	r.cache = cache
	return r
}

// entries are the entries of a batch; ok is false if the store does not have the batch.
func (r *Reader) entries(x *ledger.LogBatch) (o ledger.Opaque, ok bool, err error) {
	r.mu.Lock()
	o, ok = r.cache.Get(x.Digest)
	r.mu.Unlock()
	if ok {
		return o, true, nil
	}
	b, err := replica.Batch(r.cfg.Committee, r.cfg.Store, protocols.Index(x.Lane), lanes.Tip{Seq: x.Seq, Digest: x.Digest})
	if err != nil || b == nil {
		return o, false, err
	}
	p, err := ledger.DecodePayload(ledger.OpaqueKinds(), b.Payload)
	if err != nil {
		return o, false, fmt.Errorf("batch %d of lane %d: %w: the store is damaged", x.Seq, x.Lane, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cache.Contains(x.Digest) {
		r.bytes += len(p.Opaque.Raw())
		r.cache.Add(x.Digest, p.Opaque)
		for r.bytes > cacheBytes {
			r.cache.RemoveOldest()
		}
	}
	return p.Opaque, true, nil
}

// signatures are those of a header's certificate, nil if there is none yet.
func (r *Reader) signatures(height uint64) ([]proof.Signature, error) {
	c, err := replica.Certificate(r.cfg.Store, height)
	if err != nil || c == nil {
		return nil, err
	}
	return signaturesOf(c), nil
}

func signaturesOf(c *certify.Certified) (out []proof.Signature) {
	for k, i := range c.Certificate.Signers.Members() {
		out = append(out, proof.Signature{Signer: uint16(i), Bytes: c.Certificate.Signatures[k]})
	}
	return out
}

// block is the proof of a block's batches, nil if its header is not certified yet.
func (r *Reader) block(height uint64, batches []ledger.LogBatch) ([]byte, error) {
	h, ok, err := r.cfg.Log.Header(height)
	if err != nil || !ok {
		return nil, err
	}
	signatures, err := r.signatures(height)
	if err != nil || signatures == nil {
		return nil, err
	}
	x := logproof.Block{Header: h.Encode(), Signatures: signatures}
	for i := range batches {
		x.Batches = append(x.Batches, batches[i].Append(nil))
	}
	return x.Encode(), nil
}

// Payload returns one payload, with a proof if asked for. The error wraps [api.ErrNotFound] if there is none at the place, and
// [api.ErrUnavailable] if there is no proof yet.
func (r *Reader) Payload(at ledger.LogPlace, prove bool) (api.LogEntries, []byte, error) {
	none := func(why string) (api.LogEntries, []byte, error) {
		return api.LogEntries{}, nil, fmt.Errorf("payload %s: %s: %w", api.LogName(at), why, api.ErrNotFound)
	}
	h, ok, err := r.cfg.Log.Header(at.Height)
	if err != nil {
		return api.LogEntries{}, nil, err
	}
	batches, known, err := r.cfg.Log.Batches(at.Height)
	switch {
	case err != nil:
		return api.LogEntries{}, nil, err
	case !ok || !known:
		return none(fmt.Sprintf("the last executed block is %d", r.cfg.Log.Height()))
	case int(at.Batch) >= len(batches):
		return none(fmt.Sprintf("the block has %d batches", len(batches)))
	case at.Position >= batches[at.Batch].Count:
		return none(fmt.Sprintf("the batch has %d entries", batches[at.Batch].Count))
	}
	x := &batches[at.Batch]
	for _, again := range x.Repeated {
		if again.Position == at.Position {
			return none("it repeats the id of payload " + api.LogName(again.Of) + " and is not in the log")
		}
	}
	o, ok, err := r.entries(x)
	if err != nil {
		return api.LogEntries{}, nil, err
	}
	if !ok {
		return none("the replica does not have its batch")
	}
	group, index, groups, path := o.Prove(int(at.Position))
	out := api.LogEntries{At: at, TimeMS: h.TimeMS, Count: 1, Raw: only(group, int(at.Position))}
	if !prove {
		return out, nil, nil
	}
	signatures, err := r.signatures(at.Height)
	if err != nil {
		return out, nil, err
	}
	if signatures == nil {
		return out, nil, fmt.Errorf("the header of block %d is not certified yet: %w", at.Height, api.ErrUnavailable)
	}
	p := logproof.Proof{
		Header: h.Encode(), Signatures: signatures, Batch: at.Batch, Batches: uint32(len(batches)), Record: x.Append(nil),
		Group: uint32(index), Groups: uint32(groups), First: uint32(group.First), Entries: group.Raw, Position: at.Position,
	}
	p.InBlock, p.InBatch = siblings(ledger.ProveLogBatch(batches, int(at.Batch))), siblings(path.Path)
	return out, p.Encode(), nil
}

func siblings(path []digest.Digest) [][32]byte {
	out := make([][32]byte, len(path))
	for i := range path {
		out[i] = path[i]
	}
	return out
}

// only is the encoding of one entry of a group.
func only(g ledger.OpaqueGroup, position int) []byte {
	rest, err := ledger.ReadOpaque(g.Raw)
	if err != nil {
		panic(fmt.Sprintf("logread: a group of checked entries: %v", err))
	}
	for ; g.First < position; g.First++ {
		rest = rest.After(rest.Part(0, 1))
	}
	raw, _ := rest.Part(0, 1)
	return raw
}

// Open returns a stream.
func (r *Reader) Open(q api.LogQuery) api.LogStream {
	s := &stream{r: r, q: q}
	s.q.Certified = q.Certified || q.Proofs
	if q.From != nil {
		s.at = *q.From
	} else {
		s.at.Height = r.cfg.Log.Height() + 1
	}
	s.at.Height = max(s.at.Height, 1) // the genesis has no payloads
	if q.Proofs {
		s.at.Position = 0
	}
	return s
}

// stream is one reader's stream.
type stream struct {
	r  *Reader
	q  api.LogQuery
	at ledger.LogPlace

	height  uint64 // of batches
	header  ledger.Header
	batches []ledger.LogBatch
	proved  bool // the proof of the block was returned
}

// At implements [api.LogStream].
func (s *stream) At() ledger.LogPlace { return s.at }

// Next implements [api.LogStream].
func (s *stream) Next(ctx context.Context) (api.LogPart, error) {
	for range skipBlocks {
		if err := s.load(ctx); err != nil {
			return api.LogPart{}, err
		}
		if int(s.at.Batch) >= len(s.batches) {
			s.at = ledger.LogPlace{Height: s.at.Height + 1}
			continue
		}
		if s.q.Proofs && !s.proved {
			raw, err := s.r.block(s.height, s.batches)
			if err != nil {
				return api.LogPart{}, err
			}
			if raw == nil { // the certificate is on its way to the store
				if err := sleep(ctx); err != nil {
					return api.LogPart{}, err
				}
				continue
			}
			s.proved = true
			return api.LogPart{Proof: raw}, nil
		}
		part, err := s.batch()
		if err != nil || part.Gap != nil || part.Batch != nil {
			return part, err
		}
	}
	return api.LogPart{}, context.DeadlineExceeded // the reader gets its cursor
}

// batch is the rest of the batch at the place of the stream, empty if it has none.
func (s *stream) batch() (api.LogPart, error) {
	x, at := &s.batches[s.at.Batch], s.at
	s.at = ledger.LogPlace{Height: at.Height, Batch: at.Batch + 1}
	if at.Position >= x.Count {
		return api.LogPart{}, nil
	}
	o, ok, err := s.r.entries(x)
	if err != nil {
		s.at = at
		return api.LogPart{}, err
	}
	if !ok {
		s.at = ledger.LogPlace{Height: at.Height + 1}
		return api.LogPart{Gap: &api.LogGap{From: at.Height, To: at.Height, Reason: fmt.Sprintf("the replica does not have batch %d", at.Batch)}}, nil
	}
	if at.Position > 0 {
		o = o.After(o.Part(o.Len()*ledger.MaxOpaqueBytes, int(at.Position)))
	}
	e := &api.LogEntries{At: at, TimeMS: s.header.TimeMS, Count: o.Len(), Raw: o.Raw()}
	for _, again := range x.Repeated {
		if again.Position >= at.Position {
			e.Repeated = append(e.Repeated, again.Position)
		}
	}
	return api.LogPart{Batch: e}, nil
}

// load waits until the block at the place of the stream is executed, and certified if that is asked for, and reads its
// records.
func (s *stream) load(ctx context.Context) error {
	if s.height == s.at.Height {
		return nil
	}
	for {
		height, higher := s.r.cfg.Log.Advanced()
		if s.at.Height <= height && (!s.q.Certified || s.at.Height <= s.r.cfg.Certified()) {
			break
		}
		if !s.q.Follow {
			return io.EOF
		}
		if s.at.Height <= height {
			if err := sleep(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-higher:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h, ok, err := s.r.cfg.Log.Header(s.at.Height)
	if err == nil && !ok {
		err = fmt.Errorf("the header of block %d is missing in the store", s.at.Height)
	}
	if err != nil {
		return err
	}
	if s.batches, _, err = s.r.cfg.Log.Batches(s.at.Height); err != nil {
		return err
	}
	s.height, s.header, s.proved = s.at.Height, h, false
	return nil
}

func sleep(ctx context.Context) error {
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
