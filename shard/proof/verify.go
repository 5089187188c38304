package proof

import (
	"bytes"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/merkle"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
)

// Part is a part of a proof that can be wrong.
type Part string

// The parts, in the order in which they are checked.
const (
	PartEncoding    Part = "encoding"
	PartTransaction Part = "transaction"
	PartNetwork     Part = "network"
	PartHeader      Part = "header"
	PartCertificate Part = "certificate"
	PartInclusion   Part = "inclusion"
	PartReceipt     Part = "receipt"
	PartVerdicts    Part = "verdicts"
	PartSettlement  Part = "settlement"
)

// Error is the first part of a proof that is wrong, and the reason.
type Error struct {
	Part   Part
	Detail string
}

// Error is the part and the reason.
func (e *Error) Error() string { return fmt.Sprintf("bad proof: %s: %s", e.Part, e.Detail) }

func wrong(p Part, format string, args ...any) *Error {
	return &Error{p, fmt.Sprintf(format, args...)}
}

// Finding is the content of a proof that is right.
type Finding struct {
	Tx      Transaction
	Settled bool  // in all shards; otherwise rejected in all
	Reason  uint8 // of a rejection: that of the first input shard that rejected it, see docs/ledger.md
	Shards  []Shard
}

// Shard has the results in one shard that the transaction involves.
type Shard struct {
	Shard   uint16
	Spends  bool       // the transaction spends outputs of the shard
	Creates bool       // the transaction creates outputs in the shard
	Results []Recorded // in the order of blocks
}

// Recorded is a result with the block that has it.
type Recorded struct {
	Result
	Height  uint64
	TimeMS  uint64   // block time, Unix milliseconds
	Header  [32]byte // digest of the header
	Signers []uint16 // replicas whose signatures on the header were verified
}

// Verify checks the proof. The error is an [*Error].
func (p *Proof) Verify(n *Network) (*Finding, error) {
	f, err := p.VerifyBlocks(n)
	if err != nil {
		return nil, err
	}
	if err := f.settle(); err != nil {
		return nil, err
	}
	return f, nil
}

// VerifyBlocks checks the blocks of the proof, but not that they are complete: shards and results may be missing, and
// Settled and Reason are not set. The error is an [*Error].
func (p *Proof) VerifyBlocks(n *Network) (*Finding, error) {
	tx, err := readTx(p.Tx, n.Shards())
	switch {
	case err != nil:
		return nil, wrong(PartTransaction, "%v", err)
	case tx.Network != n.id:
		return nil, wrong(PartNetwork, "the transaction is of network %x, the genesis is that of %s", tx.Network, n.id)
	case len(p.Blocks) > maxBlocks:
		return nil, wrong(PartEncoding, "%d blocks, at most %d allowed", len(p.Blocks), maxBlocks)
	}
	f := &Finding{Tx: *tx, Shards: tx.shards()}
	var last header
	for i := range p.Blocks {
		x := &p.Blocks[i]
		h, err := x.header(n)
		if err != nil {
			return nil, err
		}
		s := f.shard(h.shard)
		switch {
		case s == nil:
			return nil, wrong(PartHeader, "%s: the transaction does not involve the shard", h.name())
		case i > 0 && (h.shard < last.shard || h.shard == last.shard && h.height <= last.height):
			return nil, wrong(PartHeader, "%s after %s: blocks must be in the order of shards and heights", h.name(), last.name())
		}
		signers, err := x.signers(n, &h)
		if err != nil {
			return nil, err
		}
		if err := x.contains(tx.ID, &h); err != nil {
			return nil, err
		}
		for _, r := range x.Results {
			s.Results = append(s.Results, Recorded{r, h.height, h.timeMS, h.digest, signers})
		}
		last = h
	}
	return f, nil
}

// name names the block of a header in errors.
func (h *header) name() string { return fmt.Sprintf("shard %d, block %d", h.shard, h.height) }

// header decodes the header and checks that it is one of the network, by the committee of the genesis.
func (x *Block) header(n *Network) (header, error) {
	h, err := readHeader(x.Header)
	switch {
	case err != nil:
		return h, wrong(PartHeader, "%v", err)
	case h.network != n.id:
		return h, wrong(PartNetwork, "%s: the header is of network %s, the genesis is that of %s", h.name(), h.network, n.id)
	case int(h.shard) >= n.Shards():
		return h, wrong(PartHeader, "%s: the network has %d shards", h.name(), n.Shards())
	case h.committee != 0:
		return h, wrong(PartHeader, "%s: version %d of the committee certifies it; this program knows version 0, that of the genesis", h.name(), h.committee)
	}
	return h, nil
}

// signers verifies the certificate: signatures of f+1 distinct replicas on the header.
func (x *Block) signers(n *Network, h *header) ([]uint16, error) {
	c := n.committees[h.shard]
	cert := protocols.Certificate{}
	signers := make([]uint16, len(x.Signatures))
	for i := range x.Signatures {
		s := x.Signatures[i].Signer
		if !c.Has(protocols.Index(s)) || i > 0 && s <= signers[i-1] {
			return nil, wrong(PartCertificate, "%s: signature %d is of replica %d, and the shard has replicas 0 to %d, each once in ascending order", h.name(), i, s, c.N()-1)
		}
		signers[i] = s
		cert.Signers.Add(protocols.Index(s))
		cert.Signatures = append(cert.Signatures, x.Signatures[i].Bytes)
	}
	certified := certify.Certified{Height: h.height, Header: h.digest, Certificate: cert}
	checks, err := certified.SignatureChecks(c)
	if err != nil {
		return nil, wrong(PartCertificate, "%s: %v", h.name(), err)
	}
	if !n.scheme.VerifyAll(checks) {
		return nil, wrong(PartCertificate, "%s: the signature of replica %d is not one on this header", h.name(), firstBad(n.scheme, checks, signers))
	}
	return signers, nil
}

// firstBad is the signer of the first signature that does not verify.
func firstBad(scheme *sig.Ed25519, checks []sig.Check, signers []uint16) uint16 {
	for i, c := range checks {
		if !scheme.Verify(c) {
			return signers[i]
		}
	}
	return signers[0] // unreachable: the scheme accepts a list exactly if it accepts each signature
}

// contains verifies the two paths: the block has these results of the transaction.
func (x *Block) contains(tx digest.Digest, h *header) error {
	ids, leaves := make([]digest.Digest, len(x.Results)), make([]digest.Digest, len(x.Results))
	for i, r := range x.Results {
		ids[i], leaves[i] = tx, receiptLeaf(tx, h, r)
		if hasReason := r.Verdict == Rejected || r.Verdict == Returned; r.Verdict < Settled || r.Verdict > Returned || hasReason != (r.Reason != 0) {
			return wrong(PartReceipt, "%s: verdict %d with reason %d", h.name(), r.Verdict, r.Reason)
		}
	}
	at, count := x.positions(), int(x.Receipts)
	if !path(x.Included).VerifySet(h.txRoot, ids, at, count) {
		return wrong(PartInclusion, "%s: no path shows transaction %s at position %v of %d", h.name(), tx, at, count)
	}
	if !path(x.Recorded).VerifySet(h.receipts, leaves, at, count) {
		return wrong(PartReceipt, "%s: no path shows the receipt %s at position %v of %d", h.name(), verdictNames(x.Results), at, count)
	}
	return nil
}

func verdictNames(results []Result) string {
	var b bytes.Buffer
	for i, r := range results {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(r.Verdict.String())
	}
	return b.String()
}

func path(siblings [][32]byte) merkle.Proof {
	p := merkle.Proof{Path: make([]digest.Digest, len(siblings))}
	for i := range siblings {
		p.Path[i] = siblings[i]
	}
	return p
}
