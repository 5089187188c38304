// Command pay-and-follow pays from an account and follows the events of its shard until the payment has settled.
//
//	pay-and-follow -node http://127.0.0.1:26700 -key accounts/alice.json -to ADDRESS -amount 5
//
// It is a module of its own, as a program outside of bdtnode is.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
)

func main() {
	node := flag.String("node", "http://127.0.0.1:26700", "URL of a replica in the payer's shard")
	key := flag.String("key", "", "account file of the payer, without a passphrase")
	to := flag.String("to", "", "address of the payee")
	amount := flag.Uint64("amount", 1, "amount to pay")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := run(ctx, *node, *key, *to, *amount); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// errSettled ends the stream of events.
var errSettled = errors.New("settled")

func run(ctx context.Context, node, keyFile, payee string, amount uint64) error {
	key, err := readKey(keyFile)
	if err != nil {
		return err
	}
	to, err := ledger.ParseAddress(payee)
	if err != nil {
		return err
	}
	c, err := client.New(node, client.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	w := client.NewWallet(key)
	if home := client.HomeShard(w.Address(), st.Shards); home != st.Shard {
		return fmt.Errorf("the account is in shard %d, and %s is a replica of shard %d: name a replica of shard %d", home, node, st.Shard, home)
	}

	// Sign.
	terms, err := client.TermsFor(st, time.Minute)
	if err != nil {
		return err
	}
	if _, err := w.Fetch(ctx, c, amount+terms.MostFee(), 1, nil); err != nil {
		return err
	}
	tx, err := w.Transfer(terms, to, amount)
	if err != nil {
		return err
	}

	// Submit. Sending the same transaction again, also to another replica, is safe.
	answers, err := c.Submit(ctx, [][]byte{tx.Encode()}, api.WaitAccepted, 10*time.Second)
	if err != nil {
		return err
	}
	if a := answers[0]; a.State == api.StateRejected || a.State == api.StateUnknown {
		return fmt.Errorf("%s is %s: %s %s", tx.ID(), a.State, a.Reason, a.Detail)
	}
	fmt.Println("paid", tx.ID())

	// Follow, from a height at which the transaction was not submitted yet: so no event of it is missed.
	q := client.EventQuery{
		From:  fmt.Sprint(st.Height),
		Kinds: []api.EventKind{api.EventVerdict, api.EventSettlement, api.EventTransaction}, Accounts: []ledger.Address{w.Address()},
	}
	cursor, err := c.Follow(ctx, q, func(e api.Event) error {
		switch {
		case e.Transaction != nil && e.Transaction.Tx == tx.ID():
			change := e.Transaction.Changes[0]
			fmt.Printf("%s account: spent %d, received %d\n", e.Cursor, change.Spent, change.Received)
		case e.Verdict != nil && e.Verdict.Tx == tx.ID():
			fmt.Printf("%s verdict: %s %s\n", e.Cursor, e.Verdict.Result, e.Verdict.Reason)
			if e.Verdict.Result == "rejected" {
				return fmt.Errorf("rejected: %s", e.Verdict.Reason)
			}
		case e.Settlement != nil && e.Settlement.Tx == tx.ID():
			fmt.Printf("%s settlement: %s\n", e.Cursor, e.Settlement.Result)
			return errSettled
		}
		return nil
	})
	if !errors.Is(err, errSettled) {
		return err
	}
	fmt.Println("events up to", cursor)
	return nil
}

// readKey reads the secret key of an account file that is not encrypted.
func readKey(path string) (client.Key, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return client.Key{}, err
	}
	var account struct {
		Seed string `json:"seed"`
	}
	if err := json.Unmarshal(raw, &account); err != nil {
		return client.Key{}, fmt.Errorf("%s: %w", path, err)
	}
	seed, err := hex.DecodeString(account.Seed)
	if err != nil || account.Seed == "" {
		return client.Key{}, fmt.Errorf("%s has no seed: it is encrypted, or is no account file", path)
	}
	return client.KeyFromSeed(seed)
}
