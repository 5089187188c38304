package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/pay"
	"bdtnode/ledger"
)

// sendFlags are those of tx send.
type sendFlags struct {
	from, to    string
	amount, fee uint64
	file        string
	expires     time.Duration
	dryRun      bool
	out         string
	feeGiven    bool // rather than the least one
	waitFlags
}

func newTxSend(a *app) *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send",
		Short: "Pay from an account to an address, or all transfers of a file",
		Long: `Pays an amount from an account to an address or another account: picks unspent outputs, signs, submits, and
prints the transaction's id and what became of it. It makes no difference in which shards payer and payee are at
home, nor whose replica is asked: a payment between shards takes a little longer, and settles in all or in none.

Payments from one account on this machine do not get in each other's way, however many are made at a time: each
reserves the outputs that it spends. One that needs the change of another goes behind it, or waits until it is settled
if that is between shards. If the outputs turn out to be spent from elsewhere, others are chosen.

With --file it pays every line of a CSV file (from,to,amount; a header line may be first), each line a
transaction of its own, waits until each is settled, and counts the outcomes. A line that needs the change of an
earlier one, or money that an earlier one brings, waits for that.`,
		Example: `  bdtnode tx send --from alice --to bob --amount 5
  bdtnode tx send --from alice --to 5f0c… --amount 5 --fee 1 --wait certified -o json
  bdtnode tx send --file transfers.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			f.feeGiven = cmd.Flags().Changed("fee")
			if f.file != "" {
				return a.sendFile(cmd.Context(), &f)
			}
			return a.sendOne(cmd.Context(), &f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.from, "from", "", "account that pays")
	fs.StringVar(&f.to, "to", "", "address or account that is paid")
	fs.Uint64Var(&f.amount, "amount", 0, "how much")
	fs.Uint64Var(&f.fee, "fee", 0, "fee of each transaction, on top of the amount; it is burned (default the least that the network takes)")
	fs.StringVar(&f.file, "file", "", "CSV file of transfers: from,to,amount")
	fs.DurationVar(&f.expires, "expires-in", 5*time.Minute, "time after which the transaction can no longer settle")
	fs.BoolVar(&f.dryRun, "dry-run", false, "sign, and do not submit")
	fs.StringVar(&f.out, "out", "", "also write the signed transaction to this file, for tx submit")
	paths(fs, "file", "out")
	for _, flag := range []string{"from", "to"} {
		cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, a.completeAccounts))
	}
	f.add(c)
	return c
}

func (f *sendFlags) check(cmd *cobra.Command) error {
	if err := f.waitFlags.check(); err != nil {
		return err
	}
	if f.expires <= 0 {
		return output.Usage("--expires-in %v: use a time above 0", f.expires)
	}
	if f.file != "" {
		for _, other := range []string{"from", "to", "amount", "dry-run", "out"} {
			if cmd.Flags().Changed(other) {
				return output.Usage("--%s does not go with --file", other)
			}
		}
		return nil
	}
	switch {
	case f.from == "" || f.to == "":
		return output.Usage("--from ACCOUNT, --to ADDRESS and --amount N are needed, or --file FILE")
	case f.amount == 0:
		return output.Usage("--amount is needed, and above 0")
	}
	return nil
}

// terms are those of a transaction signed now.
func (f *sendFlags) terms(net *replicas) (pay.Terms, error) {
	id, err := networkOf(net.status)
	if most := time.Duration(net.status.HorizonMS) * time.Millisecond; most > 0 && f.expires > most {
		return pay.Terms{}, output.Usage("--expires-in %v: this network takes at most %v", f.expires, most)
	}
	return pay.Terms{
		Network: id, ExpiryMS: uint64(time.Now().Add(f.expires).UnixMilli()),
		Fee: f.fee, FeeFixed: f.feeGiven, LeastFee: net.status.LeastFee,
	}, err
}

func (a *app) sendOne(ctx context.Context, f *sendFlags) error {
	net, err := a.connect(ctx)
	if err != nil {
		return err
	}
	to, err := a.address(f.to, net.accounts)
	if err != nil {
		return err
	}
	p, err := a.purse(f.from, net, f.timeout)
	if err != nil {
		return err
	}
	started := time.Now()
	d := f.delivery(net)
	s := singlePayment{to: to, amount: f.amount, dryRun: f.dryRun}
	sent, err := p.pay(ctx, a, d, func() (pay.Terms, error) { return f.terms(net) }, &s, f.writeSigned)
	switch {
	case err != nil:
		return err
	case f.dryRun:
		return a.printSigned(sent.tx)
	}
	return a.printOutcome(ctx, d, sent.tx.ID(), sent.outcome, started)
}

// writeSigned writes a signed transaction to the file that was asked for.
func (f *sendFlags) writeSigned(tx *ledger.Tx) error {
	if f.out == "" {
		return nil
	}
	if err := os.WriteFile(f.out, []byte(hex.EncodeToString(tx.Encode())+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the signed transaction: %w", err)
	}
	return nil
}

// printSigned prints a transaction that was not submitted.
func (a *app) printSigned(tx *ledger.Tx) error {
	signed := struct {
		ID     ledger.TxID `json:"id"`
		Signed string      `json:"signed"` // for tx submit --raw
	}{tx.ID(), hex.EncodeToString(tx.Encode())}
	return a.print.Data(signed, func(w io.Writer) { fmt.Fprintf(w, "id\t%s\nsigned\t%s\n", signed.ID, signed.Signed) })
}
