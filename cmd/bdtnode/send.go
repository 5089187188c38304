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
	"bdtnode/node/api"
)

// sendFlags are the flags of tx send.
type sendFlags struct {
	from, to    string
	amount, fee uint64
	file        string
	expires     time.Duration
	dryRun      bool
	out         string
	feeGiven    bool // by --fee; otherwise the least fee is paid
	waitFlags
}

func newTxSend(a *app) *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send",
		Short: "Pay from an account to an address, or make all transfers of a file",
		Long: `Pays an amount from an account to an address or another account. The command picks unspent outputs, signs, submits, and
prints the transaction's id and its outcome. Payer and payee may have any home shards, and any replica may be asked. A
payment between shards takes a little longer; it settles in all its shards or in none.

Payments from one account on this machine may run at the same time: each reserves the outputs that it spends. A payment
that needs the change of an earlier one is submitted after it; if the earlier one is between shards, it first waits
until that one is settled. If outputs turn out to be spent by another machine, others are chosen.

With --file the command pays every line of a CSV file (from,to,amount; a header line may be first). Each line is a
transaction of its own. The command waits until each is settled, and counts the outcomes. A line that needs the change
or the payment of an earlier line waits for that line.`,
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
	fs.StringVar(&f.from, "from", "", "name of the account that pays")
	fs.StringVar(&f.to, "to", "", "address or account name that is paid")
	fs.Uint64Var(&f.amount, "amount", 0, "amount to pay, above 0")
	fs.Uint64Var(&f.fee, "fee", 0, "fee of each transaction, in addition to the amount; it is burned (default: the least fee of the network)")
	fs.StringVar(&f.file, "file", "", "CSV file of transfers, one a line: from,to,amount")
	fs.DurationVar(&f.expires, "expires-in", 5*time.Minute, "time after which the transaction cannot settle any more")
	fs.BoolVar(&f.dryRun, "dry-run", false, "sign and do not submit (default false)")
	fs.StringVar(&f.out, "out", "", "file to which the signed transaction is also written, for tx submit")
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
				return output.Usage("--%s cannot be used with --file", other)
			}
		}
		return nil
	}
	switch {
	case f.from == "" || f.to == "":
		return output.Usage("give --from ACCOUNT, --to ADDRESS and --amount N, or --file FILE")
	case f.amount == 0:
		return output.Usage("--amount is missing: give an amount above 0")
	}
	return nil
}

// terms are the fee, expiry and network of a transaction signed now. The error is a usage error if the network refuses
// so late an expiry.
func (f *sendFlags) terms(net *replicas) (pay.Terms, error) {
	id, err := networkOf(net.status)
	if most := time.Duration(net.status.HorizonMS) * time.Millisecond; most > 0 && f.expires > most {
		return pay.Terms{}, output.Usage("--expires-in %v: this network accepts at most %v", f.expires, most)
	}
	return pay.Terms{
		Network: id, ExpiryMS: uint64(time.Now().Add(f.expires).UnixMilli()),
		Fee: f.fee, FeeFixed: f.feeGiven, LeastFee: net.status.LeastFee,
	}, err
}

func (a *app) sendOne(ctx context.Context, f *sendFlags) error {
	net, err := connectTo(ctx, a, api.LedgerPayments)
	if err != nil {
		return err
	}
	to, err := a.address(f.to, net.accounts)
	if err != nil {
		return err
	}
	p, err := a.payWallet(f.from, net, f.timeout)
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

// writeSigned writes a signed transaction to the file of --out.
func (f *sendFlags) writeSigned(tx *ledger.Tx) error {
	if f.out == "" {
		return nil
	}
	if err := os.WriteFile(f.out, []byte(hex.EncodeToString(tx.Encode())+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the signed transaction: %w", err)
	}
	return nil
}

// printSigned prints a signed transaction that was not submitted.
func (a *app) printSigned(tx *ledger.Tx) error {
	signed := struct {
		ID     ledger.TxID `json:"id"`
		Signed string      `json:"signed"` // hexadecimal, for tx submit --raw
	}{tx.ID(), hex.EncodeToString(tx.Encode())}
	return a.print.Data(signed, func(w io.Writer) { fmt.Fprintf(w, "id\t%s\nsigned\t%s\n", signed.ID, signed.Signed) })
}
