package sig

import (
	"crypto/rand"
	"fmt"
	"io"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519/extra/cache"
)

// SeedSize is the length in bytes of the secret seed of an Ed25519 key.
const SeedSize = voi.SeedSize

// keyCacheSize is the number of public keys that are cached in expanded form: 4,096 keys, about 6 MiB.
const keyCacheSize = 4096

// zip215 are the verification rules. All replicas of a network must use the same, since consensus depends on equal
// results.
var zip215 = &voi.Options{Verify: voi.VerifyOptionsZIP_215}

// Ed25519 is the production scheme. It caches expanded public keys; [NewEd25519] makes one.
type Ed25519 struct{ keys *cache.Verifier }

// NewEd25519 returns a scheme with an empty key cache.
func NewEd25519() *Ed25519 {
	return &Ed25519{keys: cache.NewVerifier(cache.NewLRUCache(keyCacheSize))}
}

// Verify checks one signature.
func (s *Ed25519) Verify(it Check) bool {
	return s.keys.VerifyWithOptions(it.Key[:], it.Message, it.Signature[:], zip215)
}

// VerifyAll checks many signatures in one multi-scalar multiplication.
func (s *Ed25519) VerifyAll(checks []Check) bool {
	switch len(checks) {
	case 0:
		return true
	case 1:
		return s.Verify(checks[0])
	}
	batch := voi.NewBatchVerifierWithCapacity(len(checks))
	for i := range checks {
		it := &checks[i]
		s.keys.AddWithOptions(batch, it.Key[:], it.Message, it.Signature[:], zip215)
	}
	return batch.VerifyBatchOnly(rand.Reader)
}

// Ed25519Key is a secret key. Its String and GoString show the public key only.
type Ed25519Key struct {
	secret voi.PrivateKey
	public PublicKey
}

// GenerateEd25519 makes a new key with a seed read from random, which is crypto/rand.Reader in production. It is an
// error if random has fewer than [SeedSize] bytes.
func GenerateEd25519(random io.Reader) (*Ed25519Key, error) {
	seed := make([]byte, SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("read randomness for a key: %w", err)
	}
	return Ed25519FromSeed(seed)
}

// Ed25519FromSeed makes the key of a seed of [SeedSize] bytes.
func Ed25519FromSeed(seed []byte) (*Ed25519Key, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("an Ed25519 seed has %d bytes, this one %d", SeedSize, len(seed))
	}
	k := &Ed25519Key{secret: voi.NewKeyFromSeed(seed)}
	copy(k.public[:], k.secret[voi.SeedSize:])
	return k, nil
}

// Seed returns a copy of the secret seed.
func (k *Ed25519Key) Seed() []byte { return append([]byte(nil), k.secret[:voi.SeedSize]...) }

// Public returns the public key.
func (k *Ed25519Key) Public() PublicKey { return k.public }

// Sign signs message.
func (k *Ed25519Key) Sign(message []byte) Signature {
	var s Signature
	copy(s[:], voi.Sign(k.secret, message))
	return s
}

// GoString keeps the secret out of formatted output.
func (k *Ed25519Key) GoString() string { return "sig.Ed25519Key(" + k.public.String() + ")" }

// String keeps the secret out of formatted output.
func (k *Ed25519Key) String() string { return k.GoString() }
