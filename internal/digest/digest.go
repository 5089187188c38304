// Package digest has the one hash of the system: SHA-256 with a domain tag in front.
//
// A tag is the name of what is hashed, with the version of its encoding ("bdt/block/1"). It is hashed behind its
// length, so no value of one kind can be taken for a value of another.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Size is the length of a digest in bytes.
const Size = sha256.Size

// Digest is a SHA-256 digest. The zero Digest stands for "none"; no value hashes to it.
type Digest [Size]byte

// Of hashes parts, one after another, under tag. Callers frame the parts themselves: only canonical encodings
// and fields of fixed width may be passed.
func Of(tag string, parts ...[]byte) Digest {
	h := sha256.New()
	h.Write([]byte{byte(len(tag))})
	h.Write([]byte(tag))
	for _, p := range parts {
		h.Write(p)
	}
	var d Digest
	h.Sum(d[:0])
	return d
}

// IsZero reports whether d is the zero Digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is d in lower-case hexadecimal, 64 characters.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short is the first 8 characters of String, for logs.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// MarshalText is String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads exactly what String writes.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := Parse(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// Parse reads 64 hexadecimal characters.
func Parse(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*Size {
		return d, fmt.Errorf("digest %q has %d characters, want %d hexadecimal ones", s, len(s), 2*Size)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("digest %q is not hexadecimal: %w", s, err)
	}
	return d, nil
}
