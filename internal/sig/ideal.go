package sig

import (
	"crypto/sha256"
	"encoding/binary"
)

// Ideal is an unforgeable scheme for simulations: a signature is a hash over a secret of the scheme, the key and the
// message, so only the scheme can make one. All parties must use the same Ideal.
type Ideal struct{ secret [32]byte }

// NewIdeal makes a scheme from a seed. Signatures of one seed do not verify under another.
func NewIdeal(seed uint64) *Ideal {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seed)
	return &Ideal{secret: sha256.Sum256(append([]byte("bdt/ideal-signatures/1"), b[:]...))}
}

// Signer returns signer number i of the scheme.
func (s *Ideal) Signer(i uint64) Signer {
	k := idealSigner{scheme: s}
	binary.BigEndian.PutUint64(k.public[:], i)
	copy(k.public[8:], "ideal")
	return k
}

// Verify checks one signature.
func (s *Ideal) Verify(it Check) bool { return s.tag(it.Key, it.Message) == it.Signature }

// VerifyAll checks each signature.
func (s *Ideal) VerifyAll(checks []Check) bool {
	for i := range checks {
		if !s.Verify(checks[i]) {
			return false
		}
	}
	return true
}

func (s *Ideal) tag(k PublicKey, message []byte) Signature {
	b := make([]byte, 0, 256)
	b = append(append(b, s.secret[:]...), k[:]...)
	sum := sha256.Sum256(append(b, message...))
	var out Signature
	copy(out[:], sum[:])
	return out
}

type idealSigner struct {
	scheme *Ideal
	public PublicKey
}

func (k idealSigner) Public() PublicKey             { return k.public }
func (k idealSigner) Sign(message []byte) Signature { return k.scheme.tag(k.public, message) }
