package protocols

import (
	"fmt"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
)

// Statement is the byte string that a replica signs: a kind with its version ("bdt/vote/1"), the network, the shard, and
// the fields that the kind defines, each of fixed width. Every signature covers a Statement, so a signature of one
// network, shard, kind or instance is not valid in another.
func (c *Committee) Statement(kind string, fields ...[]byte) []byte {
	b := make([]byte, 0, 128)
	b = append(b, byte(len(kind)))
	b = append(b, kind...)
	b = append(b, c.network[:]...)
	b = wire.AppendU16(b, c.shard)
	for _, f := range fields {
		b = append(b, f...)
	}
	return b
}

// SignatureCheck is the check of the signature s of replica i on a statement. It panics if i is not a replica of the
// shard.
func (c *Committee) SignatureCheck(i Index, statement []byte, s sig.Signature) sig.Check {
	return sig.Check{Key: c.keys[i], Message: statement, Signature: s}
}

// CertificateMax is the greatest length of an encoded Certificate, in bytes.
const CertificateMax = 2 + MaxReplicas*(2+sig.SignatureSize)

// Certificate has signatures of distinct replicas on one statement.
type Certificate struct {
	Signers    Set
	Signatures []sig.Signature // in ascending order of signers
}

// IsZero reports whether the certificate is empty.
func (c *Certificate) IsZero() bool { return len(c.Signatures) == 0 }

// Append encodes the certificate: the number of signers (2 bytes), then for each signer, in ascending order, its index
// (2 bytes) and its signature.
func (c *Certificate) Append(b []byte) []byte {
	b = wire.AppendU16(slices.Grow(b, c.Size()), uint16(len(c.Signatures)))
	for k, i := range c.Signers.Members() {
		b = wire.AppendU16(b, uint16(i))
		b = append(b, c.Signatures[k][:]...)
	}
	return b
}

// Size is the length of the encoding, in bytes.
func (c *Certificate) Size() int { return 2 + len(c.Signatures)*(2+sig.SignatureSize) }

// ReadCertificate decodes the output of Append. It refuses signers that are not in strictly ascending order, so also a
// signer that appears twice, and a signer of [MaxReplicas] or above.
func ReadCertificate(r *wire.Reader) Certificate {
	n := r.Count(MaxReplicas, 2+sig.SignatureSize)
	c := Certificate{Signatures: slices.Grow([]sig.Signature(nil), n)}
	last := -1
	for range n {
		i := int(r.U16())
		if i <= last || i >= MaxReplicas {
			r.Fail("certificate names signer %d after %d", i, last)
			return Certificate{}
		}
		last = i
		c.Signers.Add(Index(i))
		var s sig.Signature
		r.Fixed(s[:])
		c.Signatures = append(c.Signatures, s)
	}
	return c
}

// SignatureChecks lists the signature checks that prove the certificate on statement. It returns an error if the
// certificate has fewer signers than threshold, or a signer that is not a replica of the shard.
func (c *Committee) SignatureChecks(cert *Certificate, threshold int, statement []byte) ([]sig.Check, error) {
	if len(cert.Signatures) < threshold {
		return nil, fmt.Errorf("certificate has %d signers, want %d", len(cert.Signatures), threshold)
	}
	checks := make([]sig.Check, 0, len(cert.Signatures))
	for k, i := range cert.Signers.Members() {
		if !c.Has(i) {
			return nil, fmt.Errorf("certificate names signer %d of %d replicas", i, c.N())
		}
		checks = append(checks, c.SignatureCheck(i, statement, cert.Signatures[k]))
	}
	return checks, nil
}

// Tally collects checked signatures on one digest, at most one of each replica, for a certificate.
type Tally struct {
	Digest digest.Digest
	signed Set
	sigs   []sig.Signature // in ascending order of signers
}

// NewTally makes an empty tally for d.
func NewTally(d digest.Digest) *Tally { return &Tally{Digest: d} }

// Add counts the signature of replica i and reports whether it is the first of i. Later ones are ignored.
func (t *Tally) Add(i Index, s sig.Signature) bool {
	if !t.signed.Add(i) {
		return false
	}
	if t.sigs == nil {
		t.sigs = make([]sig.Signature, 0, MinReplicas)
	}
	t.sigs = slices.Insert(t.sigs, t.signed.below(i), s)
	return true
}

// Len is the number of distinct signers.
func (t *Tally) Len() int { return len(t.sigs) }

// Signers is the set of replicas whose signature is counted.
func (t *Tally) Signers() Set { return t.signed }

// Certificate has all counted signatures.
func (t *Tally) Certificate() Certificate {
	return Certificate{Signers: t.signed, Signatures: append(make([]sig.Signature, 0, len(t.sigs)), t.sigs...)}
}
