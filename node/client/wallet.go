package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Errors of [Wallet.Transfer].
var (
	// ErrFunds: the sum of the known outputs is less than amount and fee.
	ErrFunds = errors.New("not enough funds")
	// ErrFee: the fee given is below the least fee of the network.
	ErrFee = errors.New("the fee is too low")
	// ErrScattered: the sum of all outputs is enough, but no 64 of them are, and a transaction has at most 64 inputs.
	ErrScattered = fmt.Errorf("the funds are spread over too many outputs, and a transaction spends at most %d: send smaller amounts to yourself first", ledger.MaxInputs)
)

// Coin is one unspent output.
type Coin struct {
	Outpoint ledger.Outpoint
	Amount   uint64
}

// Wallet holds the outputs that an account may spend. It is not safe for concurrent use.
type Wallet struct {
	key   sig.Signer // of the account
	addr  ledger.Address
	coins []Coin // sorted by amount, largest first
}

// NewWallet returns an empty wallet for a key.
func NewWallet(key Signer) *Wallet {
	return &Wallet{key: signer{key}, addr: AddressOf(key.PublicKey())}
}

// Address is the address of the account.
func (w *Wallet) Address() ledger.Address { return w.addr }

// Listing is a list of an account's unspent outputs from a replica.
type Listing struct {
	Complete bool // the list has all outputs, and is not marked unconfirmed
	Outputs  map[ledger.Outpoint]struct{}
}

// Has reports whether an output was listed.
func (l Listing) Has(at ledger.Outpoint) bool {
	_, ok := l.Outputs[at]
	return ok
}

// Fetch asks a replica for unspent outputs until one transaction could pay the amount from them and at least the given
// number is known, or until there are no more. Outputs for which skip returns true are in the listing but not in the
// wallet; nil skips none.
func (w *Wallet) Fetch(ctx context.Context, c *Client, amount uint64, outputs int, skip func(ledger.Outpoint) bool) (Listing, error) {
	l := Listing{Outputs: make(map[ledger.Outpoint]struct{})}
	q := AccountQuery{Outputs: api.MaxPage}
	for confirmed := true; ; {
		acc, err := c.Account(ctx, w.addr, q)
		if err != nil {
			return l, fmt.Errorf("query outputs of %s: %w", w.addr, err)
		}
		for _, o := range acc.Outputs {
			at := ledger.Outpoint{Tx: o.Tx, Index: o.Index}
			l.Outputs[at] = struct{}{}
			if skip == nil || !skip(at) {
				w.Add(Coin{Outpoint: at, Amount: o.Amount})
			}
		}
		confirmed = confirmed && !acc.Unconfirmed
		l.Complete = confirmed && acc.Next == ""
		if _, err := pick(w.coins, amount); acc.Next == "" || err == nil && len(w.coins) >= outputs {
			return l, nil
		}
		q.Cursor = acc.Next
	}
}

// Drop removes outputs from the wallet.
func (w *Wallet) Drop(which func(Coin) bool) { w.coins = slices.DeleteFunc(w.coins, which) }

// Add puts an existing output into the wallet. Adding it again has no effect.
func (w *Wallet) Add(c Coin) {
	i, _ := slices.BinarySearchFunc(w.coins, c, func(a, b Coin) int { return cmp.Compare(b.Amount, a.Amount) })
	for j := i; j < len(w.coins) && w.coins[j].Amount == c.Amount; j++ {
		if w.coins[j].Outpoint == c.Outpoint {
			return
		}
	}
	w.coins = slices.Insert(w.coins, i, c)
}

// Forget empties the wallet.
func (w *Wallet) Forget() { w.coins = nil }

// Total is the sum of the outputs in the wallet.
func (w *Wallet) Total() uint64 {
	var sum uint64
	for _, c := range w.coins {
		sum += c.Amount // no overflow: the supply fits in 64 bits
	}
	return sum
}

// Terms are the settings that transfers on one network share.
type Terms struct {
	Network  [32]byte // id of the genesis
	ExpiryMS uint64   // last block time at which it may settle, Unix milliseconds
	Fee      uint64   // least fee
	FeeFixed bool     // Fee is exact
	LeastFee uint64   // least fee for each byte of a transaction's encoding
}

// TermsFor returns the terms of transfers signed now on the network of a replica's status. They expire after a time, which
// the horizon of the network bounds, and pay the least fee.
func TermsFor(st api.Status, expiry time.Duration) (Terms, error) {
	id, err := digest.Parse(st.Network)
	if err != nil {
		return Terms{}, fmt.Errorf("the replica's network id: %w", err)
	}
	if most := time.Duration(st.HorizonMS) * time.Millisecond; most > 0 && expiry > most {
		return Terms{}, fmt.Errorf("an expiry after %v: this network accepts at most %v", expiry, most)
	}
	return Terms{Network: id, ExpiryMS: uint64(time.Now().Add(expiry).UnixMilli()), LeastFee: st.LeastFee}, nil
}

// MostFee is an upper bound of the fee of a transfer on these terms.
func (t *Terms) MostFee() uint64 { return max(t.Fee, t.LeastFee*ledger.MaxTxBytes) }

// Transfer signs a transaction that pays amount to an address from as few outputs as possible. The change goes back to
// the wallet's address. The fee is the least that the terms allow. The outputs leave the wallet; if the transaction is
// not sent, or did not consume them, return them with [Wallet.Add]. Errors: [ErrFunds], [ErrFee], [ErrScattered].
func (w *Wallet) Transfer(t Terms, to ledger.Address, amount uint64) (*Tx, error) {
	for { // terminates: the fee grows each time, and the size of a transaction is bounded
		if amount > math.MaxUint64-t.Fee {
			return nil, fmt.Errorf("%w: amount and fee overflow 64 bits", ErrFunds)
		}
		chosen, err := pick(w.coins, amount+t.Fee)
		if err != nil {
			return nil, err
		}
		tx, err := w.sign(&t, chosen, to, amount)
		if err != nil {
			return nil, err
		}
		least := t.LeastFee * uint64(len(tx.Encode()))
		switch {
		case t.Fee >= least:
			for n, i := range chosen { // ascending, so the removals before have moved each index
				w.coins = slices.Delete(w.coins, i-n, i-n+1)
			}
			return &Tx{tx}, nil
		case t.FeeFixed:
			return nil, fmt.Errorf("%w: the network takes at least %d for this transaction, %d a byte", ErrFee, least, t.LeastFee)
		}
		t.Fee = least
	}
}

// sign signs a transfer that spends the coins with the chosen indexes.
func (w *Wallet) sign(t *Terms, chosen []int, to ledger.Address, amount uint64) (*ledger.Tx, error) {
	body := ledger.Body{Network: t.Network, ExpiryMS: t.ExpiryMS, Fee: t.Fee, Outputs: []ledger.Output{{Address: to, Amount: amount}}}
	var sum uint64
	for _, i := range chosen {
		body.Inputs = append(body.Inputs, ledger.Input{Outpoint: w.coins[i].Outpoint, Key: w.key.Public(), Amount: w.coins[i].Amount})
		sum += w.coins[i].Amount
	}
	if change := sum - amount - t.Fee; change > 0 {
		body.Outputs = append(body.Outputs, ledger.Output{Address: w.addr, Amount: change})
	}
	return body.Sign(w.key)
}

// pick chooses coins whose sum is at least want from coins in descending order: the smallest single one that is enough,
// otherwise the largest ones, which makes their number minimal. It returns their indexes in ascending order.
func pick(coins []Coin, want uint64) ([]int, error) {
	if enough, _ := slices.BinarySearchFunc(coins, want, func(c Coin, want uint64) int {
		if c.Amount >= want {
			return -1
		}
		return 1
	}); enough > 0 {
		return []int{enough - 1}, nil
	}
	var chosen []int
	var sum, total uint64
	for i, c := range coins {
		total += c.Amount
		if len(chosen) < ledger.MaxInputs && sum < want {
			chosen, sum = append(chosen, i), sum+c.Amount
		}
	}
	switch {
	case total < want:
		return nil, fmt.Errorf("%w: %d needed, %d available", ErrFunds, want, total)
	case sum < want:
		return nil, ErrScattered
	}
	return chosen, nil
}
