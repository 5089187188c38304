package client

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/shard"
)

// PublicKey is an Ed25519 public key.
type PublicKey [32]byte

// String is the key in lower-case hexadecimal.
func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// Signature is an Ed25519 signature.
type Signature [64]byte

// AddressOf returns the address whose outputs are spent with signatures of a key.
func AddressOf(key PublicKey) ledger.Address { return ledger.AddressOf(sig.PublicKey(key)) }

// Signer signs with one key. A key in hardware implements it.
type Signer interface {
	PublicKey() PublicKey
	// Sign signs a message with pure Ed25519 (RFC 8032), without a hash before.
	Sign(message []byte) Signature
}

// Key is a secret key in memory. Its String shows the public key only.
type Key struct{ secret *sig.Ed25519Key }

// NewKey makes a key at random.
func NewKey() (Key, error) {
	secret, err := sig.GenerateEd25519(rand.Reader)
	return Key{secret}, err
}

// KeyFromSeed makes the key of a seed of 32 bytes, as account files have it.
func KeyFromSeed(seed []byte) (Key, error) {
	secret, err := sig.Ed25519FromSeed(seed)
	return Key{secret}, err
}

// PublicKey implements [Signer].
func (k Key) PublicKey() PublicKey { return PublicKey(k.secret.Public()) }

// Sign implements [Signer].
func (k Key) Sign(message []byte) Signature { return Signature(k.secret.Sign(message)) }

// Seed returns a copy of the secret seed.
func (k Key) Seed() []byte { return k.secret.Seed() }

// String is the public key.
func (k Key) String() string { return "client.Key(" + k.PublicKey().String() + ")" }

// GoString is the public key.
func (k Key) GoString() string { return k.String() }

// signer is a Signer for the ledger.
type signer struct{ Signer }

func (s signer) Public() sig.PublicKey { return sig.PublicKey(s.PublicKey()) }
func (s signer) Sign(message []byte) sig.Signature {
	return sig.Signature(s.Signer.Sign(message))
}

// Input spends one output completely.
type Input struct {
	Outpoint ledger.Outpoint
	Key      PublicKey // of the owner
	Amount   uint64    // of the output
}

// Output gives an amount to an address.
type Output struct {
	Address ledger.Address
	Amount  uint64
}

// Body is a transaction without its signatures. The sum of the inputs is that of the outputs and the fee.
type Body struct {
	Network  [32]byte // id of the genesis
	ExpiryMS uint64   // last block time at which it may settle, Unix milliseconds
	Inputs   []Input
	Outputs  []Output
	Fee      uint64
}

// Sign makes the signed transaction. Each distinct key of the inputs needs one signer, in any order.
func (b *Body) Sign(signers ...Signer) (*Tx, error) {
	body := ledger.Body{Network: b.Network, ExpiryMS: b.ExpiryMS, Fee: b.Fee}
	for _, in := range b.Inputs {
		body.Inputs = append(body.Inputs, ledger.Input{Outpoint: in.Outpoint, Key: sig.PublicKey(in.Key), Amount: in.Amount})
	}
	for _, out := range b.Outputs {
		body.Outputs = append(body.Outputs, ledger.Output(out))
	}
	list := make([]sig.Signer, len(signers))
	for i, s := range signers {
		list[i] = signer{s}
	}
	tx, err := body.Sign(list...)
	if err != nil {
		return nil, err
	}
	if r := tx.Check(body.Network); r != nil {
		return nil, fmt.Errorf("sign a transaction: %w", r)
	}
	return &Tx{tx}, nil
}

// Tx is a signed transaction. It does not change.
type Tx struct{ tx *ledger.Tx }

// DecodeTx decodes a signed transaction. It does not verify the signatures, and keeps raw.
func DecodeTx(raw []byte) (*Tx, error) {
	tx, err := ledger.DecodeTx(raw)
	if err != nil {
		return nil, err
	}
	return &Tx{tx}, nil
}

// ID is the id of the transaction.
func (t *Tx) ID() ledger.TxID { return t.tx.ID() }

// Encode returns the encoding, for [Client.Submit]. The caller must not change it.
func (t *Tx) Encode() []byte { return t.tx.Encode() }

// Body returns the transaction without its signatures.
func (t *Tx) Body() Body {
	b := Body{Network: t.tx.Network, ExpiryMS: t.tx.ExpiryMS, Fee: t.tx.Fee}
	for _, in := range t.tx.Inputs {
		b.Inputs = append(b.Inputs, Input{Outpoint: in.Outpoint, Key: PublicKey(in.Key), Amount: in.Amount})
	}
	for _, out := range t.tx.Outputs {
		b.Outputs = append(b.Outputs, Output(out))
	}
	return b
}

// HomeShard is the number of the shard that has the outputs of an address, in a network with that many shards.
func HomeShard(a ledger.Address, shards int) uint16 { return shard.Home(a, shards) }
