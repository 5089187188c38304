package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

// Address identifies the owner of outputs: it is the tagged hash of an Ed25519 public key. Its first 8 bytes
// determine its home shard.
type Address digest.Digest

// TxID identifies a transaction: the tagged hash of its whole canonical encoding, signatures included.
type TxID digest.Digest

// Outpoint identifies one output of one transaction.
type Outpoint struct {
	Tx    TxID   `json:"tx"`
	Index uint16 `json:"index"`
}

// AddressOf returns the address whose outputs are spent with signatures of key.
func AddressOf(key sig.PublicKey) Address { return Address(digest.Of("bdt/address/1", key[:])) }

// ParseAddress parses the 64 hexadecimal characters of an address; everything else is an error.
func ParseAddress(s string) (Address, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return Address{}, fmt.Errorf("not an address: %w", err)
	}
	return Address(d), nil
}

// ParseTxID parses the 64 hexadecimal characters of an id; everything else is an error.
func ParseTxID(s string) (TxID, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return TxID{}, fmt.Errorf("not a transaction id: %w", err)
	}
	return TxID(d), nil
}

// String is the address in hexadecimal.
func (a Address) String() string { return digest.Digest(a).String() }

// MarshalText returns the text that String returns.
func (a Address) MarshalText() ([]byte, error) { return digest.Digest(a).MarshalText() }

// UnmarshalText decodes the text that String returns.
func (a *Address) UnmarshalText(b []byte) error { return (*digest.Digest)(a).UnmarshalText(b) }

// String is the id in hexadecimal.
func (t TxID) String() string { return digest.Digest(t).String() }

// MarshalText returns the text that String returns.
func (t TxID) MarshalText() ([]byte, error) { return digest.Digest(t).MarshalText() }

// UnmarshalText decodes the text that String returns.
func (t *TxID) UnmarshalText(b []byte) error { return (*digest.Digest)(t).UnmarshalText(b) }
