// Package pay turns payments into signed transactions: it keeps track of an account's unspent outputs, picks which of
// them to spend, and reads lists of transfers.
package pay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/api/client"
)

// Errors of [Wallet.Transfer].
var (
	// ErrFunds: the outputs known do not add up to the amount.
	ErrFunds = errors.New("not enough funds")
	// ErrScattered: they do, but no 64 of them, and a transaction spends at most that many.
	ErrScattered = fmt.Errorf("the funds are spread over too many outputs, and a transaction spends at most %d: send smaller amounts to yourself first", ledger.MaxInputs)
)

// Coin is one unspent output.
type Coin struct {
	Outpoint ledger.Outpoint
	Amount   uint64
}

// Wallet is what an account may spend. It is not safe for concurrent use.
type Wallet struct {
	key   sig.Signer
	addr  ledger.Address
	coins []Coin // descending by amount
}

// NewWallet is the empty wallet of a key.
func NewWallet(key sig.Signer) *Wallet {
	return &Wallet{key: key, addr: ledger.AddressOf(key.Public())}
}

// Address is the account's.
func (w *Wallet) Address() ledger.Address { return w.addr }

// Fetch asks a replica for unspent outputs until one transaction could pay the amount from them and at least so many
// are known, or there are no more.
func (w *Wallet) Fetch(ctx context.Context, c *client.Client, amount uint64, outputs int) error {
	q := client.AccountQuery{Outputs: api.MaxPage}
	for {
		acc, err := c.Account(ctx, w.addr, q)
		if err != nil {
			return fmt.Errorf("ask for outputs of %s: %w", w.addr, err)
		}
		for _, o := range acc.Outputs {
			w.Add(Coin{Outpoint: ledger.Outpoint{Tx: o.Tx, Index: o.Index}, Amount: o.Amount})
		}
		if _, err := pick(w.coins, amount); acc.Next == "" || err == nil && len(w.coins) >= outputs {
			return nil
		}
		q.Cursor = acc.Next
	}
}

// Add puts an output that now exists into the wallet. One that is there already is not added twice.
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

// Total is the sum of the outputs known.
func (w *Wallet) Total() uint64 {
	var sum uint64
	for _, c := range w.coins {
		sum += c.Amount // the supply fits in 64 bits
	}
	return sum
}

// Terms are what transfers of one network have in common.
type Terms struct {
	Network  digest.Digest
	ExpiryMS uint64 // last block time at which it may settle, Unix milliseconds
	Fee      uint64
}

// Transfer signs a transaction that pays amount to an address, from as few outputs as possible, the change back to
// the wallet's own. The outputs leave the wallet; if the transaction is not to be sent, or did not consume them, give
// them back with [Wallet.Add].
func (w *Wallet) Transfer(t Terms, to ledger.Address, amount uint64) (*ledger.Tx, error) {
	if amount > math.MaxUint64-t.Fee {
		return nil, fmt.Errorf("%w: amount and fee overflow 64 bits", ErrFunds)
	}
	want := amount + t.Fee
	chosen, err := pick(w.coins, want)
	if err != nil {
		return nil, err
	}
	body := ledger.Body{Network: t.Network, ExpiryMS: t.ExpiryMS, Fee: t.Fee, Outputs: []ledger.Output{{Address: to, Amount: amount}}}
	var sum uint64
	for _, i := range chosen {
		body.Inputs = append(body.Inputs, ledger.Input{Outpoint: w.coins[i].Outpoint, Key: w.key.Public(), Amount: w.coins[i].Amount})
		sum += w.coins[i].Amount
	}
	if sum > want {
		body.Outputs = append(body.Outputs, ledger.Output{Address: w.addr, Amount: sum - want})
	}
	tx, err := body.Sign(w.key)
	if err != nil {
		return nil, err
	}
	for n, i := range chosen { // ascending, so each one's place has moved by those removed before
		w.coins = slices.Delete(w.coins, i-n, i-n+1)
	}
	return tx, nil
}

// pick chooses coins, which are in descending order, that add up to at least want: the smallest single one that is
// enough, else the largest ones, which makes them the fewest possible. It answers their places, ascending.
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
		return nil, fmt.Errorf("%w: %d needed, %d there", ErrFunds, want, total)
	case sum < want:
		return nil, ErrScattered
	}
	return chosen, nil
}
