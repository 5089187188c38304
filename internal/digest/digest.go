// Package digest has the only hash function of the system: SHA-256 with a domain tag in front.
//
// A tag names the kind of the hashed value and the version of its encoding ("bdt/block/1"). The length of the tag is
// hashed before the tag, so that no two kinds of values have the same hash input.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Size is the length of a digest in bytes.
const Size = sha256.Size

// Digest is a SHA-256 digest. The zero Digest means "none"; no known value hashes to it.
type Digest [Size]byte

// Of hashes tag and parts, one after another. Part boundaries are not hashed: callers must pass only canonical
// encodings and fields of fixed width. A tag has at most 255 bytes.
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

// Plain is the SHA-256 of b without a tag, for values that other programs compute too.
func Plain(b []byte) Digest { return sha256.Sum256(b) }

// IsZero reports whether d is the zero Digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is d in lower-case hexadecimal, 64 characters.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short is the first 8 characters of String, for logs.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// MarshalText returns the text that String returns.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText decodes the text that String returns; everything else is an error, which leaves d unchanged.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := Parse(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// Parse reads 64 hexadecimal characters; everything else is an error.
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
