// Package pay makes payments of the user's accounts: it keeps reservations of outputs, and reads lists of transfers. The
// wallet is that of package client.
package pay

import (
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/client"
)

// Parts of the wallet, see package client.
type (
	Coin    = client.Coin
	Terms   = client.Terms
	Listing = client.Listing
)

// Errors of [Wallet.Transfer], see package client.
var (
	ErrFunds     = client.ErrFunds
	ErrFee       = client.ErrFee
	ErrScattered = client.ErrScattered
)

// Wallet is a wallet whose transactions are decoded.
type Wallet struct{ *client.Wallet }

// NewWallet returns an empty wallet for a key.
func NewWallet(key sig.Signer) *Wallet { return &Wallet{client.NewWallet(signer{key})} }

// Transfer is [client.Wallet.Transfer].
func (w *Wallet) Transfer(t Terms, to ledger.Address, amount uint64) (*ledger.Tx, error) {
	tx, err := w.Wallet.Transfer(t, to, amount)
	if err != nil {
		return nil, err
	}
	return ledger.DecodeTx(tx.Encode())
}

// signer signs for a wallet.
type signer struct{ key sig.Signer }

func (s signer) PublicKey() client.PublicKey { return client.PublicKey(s.key.Public()) }
func (s signer) Sign(message []byte) client.Signature {
	return client.Signature(s.key.Sign(message))
}
