// Package sig has the signatures of clients and replicas behind one interface.
//
// [Ed25519] is the production scheme: Ed25519 with the verification rules of ZIP-215, under which a signature
// that a batch check accepts is one that a single check accepts, so no two replicas can differ on one.
// [Ideal] is unforgeable by construction and as cheap as a hash, for simulations.
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

// PublicKey names a signer.
type PublicKey [PublicKeySize]byte

// Signature is one signature.
type Signature [SignatureSize]byte

// String is the key in lower-case hexadecimal.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// MarshalText is String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads exactly what String writes.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) != 2*PublicKeySize {
		return fmt.Errorf("public key %q has %d characters, want %d hexadecimal ones", text, len(text), 2*PublicKeySize)
	}
	_, err := hex.Decode(k[:], text)
	return err
}

// Signer signs for one key. Message is whatever the caller wants bound: callers sign tagged digests or
// statements that begin with their own domain.
type Signer interface {
	Public() PublicKey
	Sign(message []byte) Signature
}

// Item is one signature to check.
type Item struct {
	Key       PublicKey
	Message   []byte
	Signature Signature
}

// Scheme checks signatures. It is safe for concurrent use.
type Scheme interface {
	// Verify checks one signature.
	Verify(it Item) bool
	// VerifyAll checks many, faster than one by one. It is true only if each is valid; to learn which is not,
	// callers check singly. No items are valid.
	VerifyAll(items []Item) bool
}
