package replica

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// Limits of one answer that is read from the store.
const (
	maxChainBytes   = lanes.AnswerBytes
	maxHistoryBytes = 1 << 20
)

// Stored gives the machines access to a store. A read error ends the sequence and is left in *failed.
func Stored(r kv.Reader, failed *error) protocols.Stored {
	return func(from, to []byte) iter.Seq2[[]byte, []byte] {
		return func(yield func(key, value []byte) bool) {
			if *failed == nil {
				*failed = r.Scan(from, to, false, yield)
			}
		}
	}
}

// Executed is the state of the ledger after the executed blocks.
type Executed interface {
	Headers
	Height() uint64
	Frozen() ([]ledger.Freeze, error)
	HasUnsentVerdicts() (bool, error)
}

// Restore makes the core from a consensus store, above the blocks that the ledger has executed.
func Restore(cfg Config, state Executed, r kv.Reader) (*Core, error) {
	var failed error
	header := func(height uint64) (digest.Digest, error) {
		h, ok, err := state.Header(height)
		if err == nil && !ok {
			err = fmt.Errorf("the ledger is at height %d and has no header of height %d: its store is damaged", state.Height(), height)
		}
		return h.Digest(), err
	}
	core, err := New(cfg, state.Height(), header, Stored(r, &failed))
	if failed != nil {
		return nil, fmt.Errorf("read the consensus store: %w", failed)
	}
	if err != nil {
		return nil, err
	}
	frozen, err := state.Frozen()
	if err == nil {
		core.evidence.froze(frozen)
		core.more, err = state.HasUnsentVerdicts()
	}
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	return core, nil
}

// Apply adds a step's records to a batch and reports whether they must be on disk before the step's messages leave.
// Deletions need not, nor certificates of headers: a VOTE does not depend on the certificate that it completes, and a replica
// that loses a certificate gets the VOTEs again.
func Apply(b *kv.Batch, records []protocols.Record) (sync bool) {
	for _, r := range records {
		if r.Value == nil {
			b.Delete(r.Key)
			continue
		}
		b.Set(r.Key, r.Value)
		sync = sync || !ofCertificate(r.Key)
	}
	return sync
}

// ofCertificate reports whether a record is the certificate of a header, or the certified height.
func ofCertificate(key []byte) bool {
	return bytes.HasPrefix(key, prefixCertificate) || bytes.Equal(key, certifiedKey)
}

// ReadBatches reads the batches of a [lanes.BatchRange], newest first, until they have 4 MiB or more.
func ReadBatches(c *protocols.Committee, r kv.Reader, x lanes.BatchRange) ([]*lanes.Batch, error) {
	var out []*lanes.Batch
	size := 0
	for t := x.Tip; t.Seq > x.After && size < maxChainBytes; {
		b, err := Batch(c, r, x.Lane, t)
		if err != nil {
			return nil, err
		}
		if b == nil {
			break // not here: another replica may have it
		}
		size += len(b.Payload)
		out = append(out, b)
		t = lanes.Tip{Seq: b.Seq - 1, Digest: b.Parent}
	}
	return out, nil
}

// Batch reads one batch from the consensus store, or nil if it is not there.
func Batch(c *protocols.Committee, r kv.Reader, lane protocols.Index, t lanes.Tip) (*lanes.Batch, error) {
	value, ok, err := r.Get(lanes.StoredKey(lane, t))
	if err != nil || !ok {
		return nil, err
	}
	b, err := lanes.DecodeStored(c, value)
	if err != nil {
		return nil, fmt.Errorf("batch %d of lane %d: %w: the store is damaged", t.Seq, lane, err)
	}
	return b, nil
}

// ReadLDs reads the LDs of a [inbound.LDRange], newest first, until they have 4 MiB or more. A replica that lacks all
// of them asks for more from the last one on, so all answers together read each LD once.
func ReadLDs(r kv.Reader, x inbound.LDRange) ([]*inbound.LD, error) {
	var out []*inbound.LD
	size := 0
	for t := x.Tip; t.Seq > x.After && size < maxChainBytes; {
		d, err := StoredLD(r, x.Source, t)
		if err != nil {
			return nil, err
		}
		if d == nil {
			break // not here: another replica may have it
		}
		size += len(d.Raw)
		out = append(out, d)
		t = lanes.Tip{Seq: t.Seq - 1, Digest: d.Previous}
	}
	return out, nil
}

// StoredLD reads one LD from the consensus store, or nil if it is not there.
func StoredLD(r kv.Reader, source uint16, t lanes.Tip) (*inbound.LD, error) {
	value, ok, err := r.Get(inbound.StoredKey(source, t))
	if err != nil || !ok {
		return nil, err
	}
	return inbound.DecodeStored(value)
}

// Headers reads executed headers.
type Headers interface {
	Header(height uint64) (ledger.Header, bool, error)
}

// ReadHistory reads committed blocks from a height on, as far as they are certified without gaps, at most [MaxHistory]
// and 1 MiB.
func ReadHistory(c *protocols.Committee, r kv.Reader, headers Headers, x HistoryRange) (*History, error) {
	out := &History{}
	size := 0
	for h := x.From; len(out.Items) < MaxHistory && size < maxHistoryBytes; h++ {
		cert, err := Certificate(r, h)
		if err != nil {
			return nil, err
		}
		header, ok, err := headers.Header(h)
		if err != nil {
			return nil, err
		}
		value, found, err := r.Get(bdt.CommitKey(h))
		if err != nil {
			return nil, err
		}
		if cert == nil || !ok || !found {
			break
		}
		block, err := bdt.DecodeCommit(c, value)
		if err != nil {
			return nil, fmt.Errorf("committed block %d: %w: the store is damaged", h, err)
		}
		p := Past{Header: header.Encode(), Certificate: cert, Block: block}
		size += len(value) + len(p.Header) + 66*len(cert.Certificate.Signatures)
		out.Items = append(out.Items, p)
	}
	return out, nil
}

// Certificate reads the certificate of a height's header, or nil if there is none yet.
func Certificate(r kv.Reader, height uint64) (*certify.Certified, error) {
	value, ok, err := r.Get(CertificateKey(height))
	if err != nil || !ok {
		return nil, err
	}
	rd := wire.NewReader(value)
	cert := certify.ReadCertified(rd)
	if err := rd.Done(); err != nil {
		return nil, fmt.Errorf("certificate of height %d: %w: the store is damaged", height, err)
	}
	return cert, nil
}

// Outbox reads the deliveries of executed blocks to other shards.
type Outbox interface {
	Headers
	Outgoing(destination uint16, number uint64) (ledger.Outgoing, bool, error)
}

// OutgoingLD reads an LD for another shard. certificate gives the certificate of a header, or nil if there is none yet. Then
// the LD is nil, and also if the other shard has shown that it applied the LD.
func OutgoingLD(state Outbox, destination uint16, number uint64, certificate func(height uint64) (*certify.Certified, error)) (*settlement.LD, error) {
	out, ok, err := state.Outgoing(destination, number)
	if err != nil || !ok {
		return nil, err
	}
	cert, err := certificate(out.Height)
	if err != nil || cert == nil {
		return nil, err
	}
	header, ok, err := state.Header(out.Height)
	if err != nil || !ok {
		return nil, err
	}
	return settlement.NewLD(out, header, cert.Certificate), nil
}

// Contents gives the contents of a delivered block: checked payloads of batches and checked deliveries of LDs.
type Contents interface {
	Payload(lanes.Ref) (*ledger.Payload, error)
	Delivery(inbound.Ref) (*ledger.Delivery, error)
}

// Ordered is the input of the ledger for a delivered block, without the header that is expected.
func Ordered(d *bdt.Delivery, from Contents) (ledger.CommittedBlock, error) {
	b := d.Block
	in := ledger.CommittedBlock{
		Height: b.Height, Epoch: b.Epoch, Slot: b.Slot, Last: b.Last, Digest: b.Digest(), TimeMS: b.TimeMS,
		Cut: b.Cut.Append(nil), Payloads: make([]*ledger.Payload, 0, len(d.Refs)),
	}
	for _, ref := range d.LDs {
		x, err := from.Delivery(ref)
		if err != nil {
			return ledger.CommittedBlock{}, err
		}
		in.Deliveries = append(in.Deliveries, x)
	}
	for _, ref := range d.Refs {
		if slices.Contains(d.Bad, ref) {
			in.Bad = append(in.Bad, BatchID(ref))
			continue
		}
		p, err := from.Payload(ref)
		if err != nil {
			return ledger.CommittedBlock{}, err
		}
		in.Payloads = append(in.Payloads, p)
		in.Batches = append(in.Batches, BatchID(ref))
	}
	return in, nil
}

// BatchID is the name of a batch in the ledger.
func BatchID(r lanes.Ref) ledger.BatchID {
	return ledger.BatchID{Lane: uint16(r.Lane), Seq: r.Tip.Seq, Digest: r.Tip.Digest}
}

// CheckExecuted compares a header that was computed again after a crash with its certificate, if there is one.
func CheckExecuted(r kv.Reader, height uint64, header digest.Digest) error {
	cert, err := Certificate(r, height)
	if err == nil && cert != nil && cert.Header != header {
		return fmt.Errorf("header %s of height %d differs from the certified %s: the ledger's store is corrupt; remove it to execute the blocks again",
			header.Short(), height, cert.Header.Short())
	}
	return err
}
