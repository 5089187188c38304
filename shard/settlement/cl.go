package settlement

import (
	"fmt"
	"slices"

	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/cancel"
)

// CLVersion is the version of a CL's encoding, its first byte. Its highest bit is set, so a CL is no LD: both come over
// the same topics.
const CLVersion = 0x81

// MaxCLBytes is the greatest length of an encoded CL.
const MaxCLBytes = 1 + 2 + protocols.CertificateMax + 4 + ledger.MaxTxBytes

// CL is a cancellation: f+1 replicas of an input shard of a transaction state that it can never be SPENT there. It is
// immutable.
//
// A CL is no verdict. A replica that has not ordered the transaction drops it from its mempool. In another input shard
// that has the transaction in escrow, a CL is an entry of a batch that returns the escrow at once. Its signers cannot
// be wrong unless more than f of them are Byzantine, so the verdict that follows is REJECTED.
type CL struct {
	Source      uint16 // the shard whose replicas signed
	Certificate protocols.Certificate
	Tx          *ledger.Tx
	network     *Network
}

// NewCL makes the CL of a certified transaction of shard source. The transaction must decode.
func NewCL(n *Network, source uint16, x *cancel.Certified) (*CL, error) {
	tx, err := ledger.DecodeTx(x.Content)
	if err != nil {
		return nil, err
	}
	return &CL{Source: source, Certificate: x.Certificate, Tx: tx, network: n}, nil
}

// Append encodes the CL: version 1 byte, source 2, certificate, transaction behind its length 4.
func (c *CL) Append(b []byte) []byte {
	b = wire.AppendU16(append(b, CLVersion), c.Source)
	return wire.AppendBytes(c.Certificate.Append(b), c.Tx.Encode())
}

// Encode implements [ledger.Notice]. It is the canonical encoding.
func (c *CL) Encode() []byte { return c.Append(nil) }

// Equal reports whether two CLs have the same encoding. CLs of one transaction may differ in their signers.
func (c *CL) Equal(x *CL) bool {
	return c.Source == x.Source && c.Certificate.Signers == x.Certificate.Signers && slices.Equal(c.Certificate.Signatures, x.Certificate.Signatures) && c.Tx.ID() == x.Tx.ID()
}

// IsCL reports whether a message of a topic is a CL and not an LD.
func IsCL(b []byte) bool { return len(b) > 0 && b[0] == CLVersion }

// DecodeCL decodes exactly one CL. Its transaction aliases b. It checks the encoding only, see [CL.Verify].
func DecodeCL(n *Network, b []byte) (*CL, error) {
	if len(b) > MaxCLBytes {
		return nil, fmt.Errorf("CL: %w: %d bytes, at most %d allowed", wire.ErrMalformed, len(b), MaxCLBytes)
	}
	r := wire.NewReader(b)
	if v := r.U8(); v != CLVersion {
		r.Fail("CL version %d is unknown", v)
	}
	c := &CL{Source: r.U16(), Certificate: protocols.ReadCertificate(r), network: n}
	raw := r.Bytes(ledger.MaxTxBytes)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("CL: %w", err)
	}
	var err error
	if c.Tx, err = ledger.DecodeTx(raw); err != nil {
		return nil, fmt.Errorf("CL: %w", err)
	}
	return c, nil
}

// decodeCancel decodes a CL as an entry of a batch of a shard. The CL must be of another shard, and about a transaction
// that has inputs here: no other can have anything in escrow.
func (n *Network) decodeCancel(shard uint16, content []byte) (*CL, error) {
	c, err := DecodeCL(n, content)
	if err != nil {
		return nil, err
	}
	if c.Source == shard || !c.Tx.Shards(n.Home).Inputs.Has(shard) {
		return nil, fmt.Errorf("%w: a CL of shard %d for a transaction without inputs in shard %d", wire.ErrMalformed, c.Source, shard)
	}
	return c, nil
}

// SignatureChecks lists the signature checks that prove the CL. It returns an error if the source is no input shard of
// the transaction, if the transaction is malformed or involves no other shard, or if the certificate has fewer than
// f+1 signers of the source.
//
// The signatures of the transaction are not checked. An honest replica signs a CL_M only for a transaction whose
// signatures it verified, and a CL for another one changes nothing anywhere.
func (c *CL) SignatureChecks() ([]sig.Check, error) {
	committee := c.network.Committee(c.Source)
	p := c.Tx.Shards(c.network.Home)
	switch {
	case committee == nil:
		return nil, fmt.Errorf("CL of shard %d: the network has %d shards", c.Source, c.network.Shards())
	case !p.Inputs.Has(c.Source) || p.Inside(c.Source):
		return nil, fmt.Errorf("CL of shard %d for transaction %s, which has inputs in shards %v", c.Source, c.Tx.ID(), p.Inputs.Members())
	}
	if r := c.Tx.Check(c.network.ID()); r != nil {
		return nil, fmt.Errorf("CL of shard %d for transaction %s: %w", c.Source, c.Tx.ID(), r)
	}
	x := cancel.Certified{Content: c.Tx.Encode(), Certificate: c.Certificate}
	checks, err := x.SignatureChecks(committee)
	if err != nil {
		return nil, fmt.Errorf("CL of shard %d for transaction %s: %w", c.Source, c.Tx.ID(), err)
	}
	return checks, nil
}

// Check implements [ledger.Notice]: it verifies the CL.
func (c *CL) Check(scheme sig.Scheme) error {
	checks, err := c.SignatureChecks()
	if err == nil && !scheme.VerifyAll(checks) {
		err = fmt.Errorf("CL of shard %d for transaction %s: a signature does not verify", c.Source, c.Tx.ID())
	}
	return err
}

// Execute implements [ledger.Notice]: it is the rule Cancel.
func (c *CL) Execute(d *ledger.BlockState) error { return cancelled(d, c.Tx.ID(), c.Source) }

// Size is the length of the encoding in bytes.
func (c *CL) Size() int {
	return 1 + 2 + 2 + len(c.Certificate.Signatures)*(2+sig.SignatureSize) + 4 + len(c.Tx.Encode())
}
