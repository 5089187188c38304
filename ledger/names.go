package ledger

import (
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
)

// Address is the owner of outputs: the tagged hash of an Ed25519 public key. Its first bytes fix its home shard.
type Address digest.Digest

// TxID identifies a transaction: the tagged hash of its whole canonical encoding, signatures included.
type TxID digest.Digest

// Outpoint names one output of one transaction.
type Outpoint struct {
	Tx    TxID   `json:"tx"`
	Index uint16 `json:"index"`
}

// AddressOf is the address that key's owner spends from.
func AddressOf(key sig.PublicKey) Address { return Address(digest.Of("bdt/address/1", key[:])) }

// ParseAddress reads the 64 hexadecimal characters that String writes.
func ParseAddress(s string) (Address, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return Address{}, fmt.Errorf("not an address: %w", err)
	}
	return Address(d), nil
}

// ParseTxID reads the 64 hexadecimal characters that String writes.
func ParseTxID(s string) (TxID, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return TxID{}, fmt.Errorf("not a transaction id: %w", err)
	}
	return TxID(d), nil
}

// String is the address in hexadecimal.
func (a Address) String() string { return digest.Digest(a).String() }

// MarshalText is String.
func (a Address) MarshalText() ([]byte, error) { return digest.Digest(a).MarshalText() }

// UnmarshalText reads what String writes.
func (a *Address) UnmarshalText(b []byte) error { return (*digest.Digest)(a).UnmarshalText(b) }

// String is the id in hexadecimal.
func (t TxID) String() string { return digest.Digest(t).String() }

// MarshalText is String.
func (t TxID) MarshalText() ([]byte, error) { return digest.Digest(t).MarshalText() }

// UnmarshalText reads what String writes.
func (t *TxID) UnmarshalText(b []byte) error { return (*digest.Digest)(t).UnmarshalText(b) }
