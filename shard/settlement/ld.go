package settlement

import (
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
)

// LDVersion is the version of an LD's encoding, its first byte.
const LDVersion = 1

// MaxLDBytes is the greatest length of an encoded LD: a delivery of the greatest length with the greatest header,
// certificate and path.
const MaxLDBytes = 256 << 10

// LD is a ledger delivery: the verdicts that one block of a shard sends to another shard, with the proof that the
// block contains them. It is immutable.
type LD struct {
	Header      ledger.Header         // of the block
	Certificate protocols.Certificate // f+1 VOTEs of the source shard for the header
	Index       uint32                // of the delivery among the leaves under the header's outbox root
	Count       uint32                // number of leaves
	Path        merkle.Proof
	Delivery    *ledger.Delivery
}

// NewLD makes an LD of a delivery in the outbox, its block's header, and the certificate of that header.
func NewLD(out ledger.Outgoing, header ledger.Header, certificate protocols.Certificate) *LD {
	return &LD{header, certificate, out.Index, out.Count, out.Path, out.Delivery}
}

// Digest is the digest of the delivery. It does not depend on the replicas that certified the header.
func (l *LD) Digest() digest.Digest { return l.Delivery.Digest() }

// Append encodes the LD: version 1 byte, header, certificate, index 4, count 4, path, delivery.
func (l *LD) Append(b []byte) []byte {
	b = l.Header.Append(append(b, LDVersion))
	b = l.Certificate.Append(b)
	b = wire.AppendU32(wire.AppendU32(b, l.Index), l.Count)
	return l.Delivery.Append(l.Path.Append(b))
}

// Encode is the canonical encoding.
func (l *LD) Encode() []byte { return l.Append(make([]byte, 0, 4096+l.Delivery.Size())) }

// DecodeLD decodes exactly one LD. Its transactions alias b, so b must not change afterwards. It checks the encoding
// only, see [LD.Verify].
func DecodeLD(b []byte) (*LD, error) {
	if len(b) > MaxLDBytes {
		return nil, fmt.Errorf("LD: %w: %d bytes, at most %d allowed", wire.ErrMalformed, len(b), MaxLDBytes)
	}
	r := wire.NewReader(b)
	if v := r.U8(); v != LDVersion {
		r.Fail("LD version %d is unknown", v)
	}
	l := &LD{Header: ledger.ReadHeader(r), Certificate: protocols.ReadCertificate(r), Index: r.U32(), Count: r.U32()}
	l.Path = merkle.ReadProof(r)
	l.Delivery = ledger.ReadDelivery(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("LD: %w", err)
	}
	return l, nil
}

// Check checks everything of an LD that needs neither state nor signature verification. It returns the signatures of the
// certificate, which are to be verified; those of the transactions are too ([LD.Txs]). If the error is an [*Evidence], it
// counts only if these verify; any other error is the fault of the sender of the LD.
func (l *LD) Check(n *Network) (proof []sig.Check, err error) {
	d := l.Delivery
	committee := n.Committee(d.Source)
	switch {
	case committee == nil || n.Committee(d.Destination) == nil:
		return nil, fmt.Errorf("LD from shard %d to %d: the network has %d shards", d.Source, d.Destination, n.Shards())
	case l.Header.Network != n.ID() || l.Header.Shard != d.Source:
		return nil, fmt.Errorf("LD %d of shard %d: its header is of shard %d, network %s", d.Number, d.Source, l.Header.Shard, l.Header.Network.Short())
	case !l.Path.Verify(l.Header.Outbox, d.Digest(), int(l.Index), int(l.Count)):
		return nil, fmt.Errorf("LD %d of shard %d: its path does not lead to the outbox root of its header", d.Number, d.Source)
	}
	certified := certify.Certified{Height: l.Header.Height, Header: l.Header.Digest(), Certificate: l.Certificate}
	if proof, err = certified.SignatureChecks(committee); err != nil {
		return nil, fmt.Errorf("LD %d of shard %d: %w", d.Number, d.Source, err)
	}
	if err := d.Check(n.ID(), n.Home); err != nil {
		return proof, &Evidence{LD: l, Why: err, network: n}
	}
	return proof, nil
}

// Txs lists the transactions of the entries.
func (l *LD) Txs() []*ledger.Tx {
	txs := make([]*ledger.Tx, len(l.Delivery.Entries))
	for i := range txs {
		txs[i] = l.Delivery.Entries[i].Tx
	}
	return txs
}

// Verify checks an LD and verifies its signatures, but not again those of known transactions; then all of them are known. The
// error is nil, an [*Evidence] against the source, or the fault of the sender of the LD. It may be called concurrently if
// scheme may.
func (l *LD) Verify(scheme sig.Scheme, n *Network, known *ledger.KnownTxs) error {
	proof, err := l.Check(n)
	var bad *Evidence
	if err != nil && !errors.As(err, &bad) {
		return err
	}
	checks, txs := proof[:len(proof):len(proof)], l.Txs()
	if bad == nil {
		checks = known.AppendUnknown(checks, txs)
	}
	if scheme.VerifyAll(checks) {
		if bad == nil {
			known.AddFrom(l.Delivery.Source, txs...)
		}
		return err
	}
	if !scheme.VerifyAll(proof) {
		return fmt.Errorf("LD %d of shard %d: a signature of its certificate does not verify", l.Delivery.Number, l.Delivery.Source)
	}
	if bad != nil {
		return bad
	}
	return &Evidence{LD: l, Why: errBadSignature, network: n}
}
