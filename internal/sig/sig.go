// Package sig has the signature schemes of clients and replicas behind one interface.
//
// [Ed25519] is the production scheme: Ed25519 with the verification rules of ZIP-215. Under these rules, a batch
// check accepts a signature exactly if a single check does, so two replicas never differ on one. [Ideal] is
// unforgeable by construction and costs one hash; simulations use it.
package sig

import (
	"encoding/hex"
	"fmt"
)

// Sizes in bytes.
const (
	PublicKeySize = 32
	SignatureSize = 64
)

// PublicKey identifies a signer.
type PublicKey [PublicKeySize]byte

// Signature is one signature.
type Signature [SignatureSize]byte

// String is the key in lower-case hexadecimal.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText returns the text that String returns.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText decodes the text that String returns; everything else is an error.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) != 2*PublicKeySize {
		return fmt.Errorf("public key %q has %d characters, want %d hexadecimal ones", text, len(text), 2*PublicKeySize)
	}
	_, err := hex.Decode(k[:], text)
	return err
}

// Signer signs messages with one key. Callers sign tagged digests, or statements that begin with a domain of their
// own, so that a signature is never valid for a message of another kind.
type Signer interface {
	Public() PublicKey
	Sign(message []byte) Signature
}

// Check is one signature to verify.
type Check struct {
	Key       PublicKey
	Message   []byte
	Signature Signature
}

// Scheme checks signatures. It is safe for concurrent use.
type Scheme interface {
	// Verify checks one signature.
	Verify(it Check) bool
	// VerifyAll checks many signatures, faster than one by one. It returns true only if all are valid; to find an
	// invalid one, callers check them singly. It returns true for no checks.
	VerifyAll(checks []Check) bool
}
