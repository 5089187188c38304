// Package cancel collects the statements of the replicas of one shard that a transaction can never be SPENT there
// (docs/design.md §6.7: CL_M and CL).
//
// Guarantee: a CL proves that one honest replica of the shard has committed state in which the transaction can never
// be SPENT in this shard, if at most f of its replicas are Byzantine. Why f+1 signers suffice: one of them is honest.
// It signs only a fact that every later state keeps: an input was consumed by another transaction, or an output has
// another owner or amount than declared. All honest replicas commit the same blocks, so no block of the shard can
// contradict that fact, whichever heights the signers had executed.
//
// A CL promises nothing else. CL_Ms are sent once and may be lost; they are not stored, since the committed state
// gives the same fact again. No safety and no liveness of the settlement depends on one.
//
// A transaction is opaque content here. The caller checks its form, its signatures and that this shard is one of its
// input shards before it hands a CL_M to the machine, and reads the committed state when the machine asks for it.
package cancel

import (
	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/protocols"
)

// KindCLM is the kind of a CL_M on the wire.
const KindCLM = protocols.KindsCancel + 0

// MaxContent is the greatest length of a transaction in a CL_M, in bytes.
const MaxContent = 16 << 10

// Messages is the table of the messages of this package.
var Messages = protocols.Entries(protocols.KindsCancel, protocols.SignedEntry{
	Kind: KindCLM, Name: "CL_M", Max: 4 + MaxContent + sig.SignatureSize,
	Decode: protocols.Decoder(DecodeCLM), Check: protocols.SenderCheck((*CLM).SignatureChecks),
})

// CLM is the CL_M of one replica: its signature that a transaction can never be SPENT in its shard. It has the
// transaction, so that a replica that does not know the transaction can check it and sign too.
type CLM struct {
	Content   []byte // the transaction
	Digest    digest.Digest
	Signature sig.Signature
}

// DigestOf is the digest of a transaction in statements of this package.
func DigestOf(content []byte) digest.Digest { return digest.Of("bdt/cancelled/1", content) }

// Kind is KindCLM.
func (*CLM) Kind() protocols.Kind { return KindCLM }

// Append encodes the transaction behind its length, and the signature.
func (m *CLM) Append(b []byte) []byte {
	return append(wire.AppendBytes(b, m.Content), m.Signature[:]...)
}

// DecodeCLM reads the body of a CL_M. It refuses an empty transaction.
func DecodeCLM(b []byte) (*CLM, error) {
	r := wire.NewReader(b)
	m := &CLM{Content: r.Bytes(MaxContent)}
	r.Fixed(m.Signature[:])
	if len(m.Content) == 0 {
		r.Fail("a CL_M without a transaction")
	}
	m.Digest = DigestOf(m.Content)
	return m, r.Done()
}

// SignatureChecks lists the signature check that proves the CL_M from replica from.
func (m *CLM) SignatureChecks(c *protocols.Committee, from protocols.Index) ([]sig.Check, error) {
	return []sig.Check{c.SignatureCheck(from, Statement(c, m.Digest), m.Signature)}, nil
}

// Statement is the byte string that a CL_M signs. The instance is the transaction.
func Statement(c *protocols.Committee, d digest.Digest) []byte {
	return c.Statement("bdt/CL_M/1", d[:])
}

// Certified is a transaction with f+1 CL_Ms: the content of a CL.
type Certified struct {
	Content     []byte
	Certificate protocols.Certificate
}

// SignatureChecks lists the signature checks that prove the certificate. It returns an error for fewer than f+1
// signers, or a signer outside the committee.
func (x *Certified) SignatureChecks(c *protocols.Committee) ([]sig.Check, error) {
	return c.SignatureChecks(&x.Certificate, c.WeakQuorum(), Statement(c, DigestOf(x.Content)))
}
