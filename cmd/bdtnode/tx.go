package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

func newTx(a *app) *cobra.Command {
	c := group(&cobra.Command{Use: "tx", Short: "Send transactions and query their states"})
	a.nodeFlag(c)
	a.keysFlag(c)
	c.AddCommand(newTxSend(a), newTxSubmit(a), newTxGet(a), newTxTrace(a))
	return c
}

func newTxGet(a *app) *cobra.Command {
	var prove string
	c := &cobra.Command{
		Use:   "get ID",
		Short: "Show the state of a transaction; exit code 4 if no replica asked knows the id",
		Long: `Shows the state of a transaction. It is settled when its outputs exist in every shard in which it creates some.

A transaction between shards has a part in each of its shards. The command shows each part: its stage (inputs in escrow,
settled, returned to the owners, or rejected), its height, and the verdicts of the input shards that the shard knows,
each with the block that received the verdict and the reason of a rejection. The part in a shard other than that of the
replica asked is the answer of f+1 replicas there. A shard that does not answer is shown as unreachable, one whose
replicas do not agree as unconfirmed; then the transaction is shown as settled only if all its outputs are known to
exist.

With --prove, the command also writes a proof of the result in all shards to a file. A party that has the genesis checks
it with bdtnode verify, without a network. There is a proof once the transaction is settled, or rejected by a block.`,
		Example: `  bdtnode tx get 01ab… --prove pay.proof
  bdtnode verify pay.proof --genesis genesis.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, net, err := connectFor(cmd.Context(), a, args[0])
			if err != nil {
				return err
			}
			answer, err := net.first().Tx(cmd.Context(), id)
			if err != nil {
				return err
			}
			if answer.State == api.StateUnknown {
				return output.NotFound("transaction %s is unknown to %s", id, net.first().URL())
			}
			if prove != "" {
				if err := a.writeProof(cmd.Context(), net.first(), id, prove); err != nil {
					return err
				}
			}
			return a.print.Data(answer, func(w io.Writer) { printAnswer(w, answer) })
		},
	}
	c.Flags().StringVar(&prove, "prove", "", "file to which a proof of the result is written")
	return c
}

// waitFlags are the flags of commands that wait for a transaction.
type waitFlags struct {
	wait    string
	timeout time.Duration
}

func (f *waitFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.wait, "wait", string(api.WaitSettled), "stage to wait for: accepted, ordered, certified or settled")
	words(c, "wait", string(api.WaitAccepted), string(api.WaitOrdered), string(api.WaitCertified), string(api.WaitSettled))
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "time to wait for the stage; then the outcome is unknown and the exit code 5")
}

func (f *waitFlags) check() error {
	if f.timeout <= 0 {
		return output.Usage("--timeout %v: use a time above 0", f.timeout)
	}
	return nil
}

func (f *waitFlags) delivery(net *replicas) *delivery {
	return &delivery{clients: net.clients, wait: api.Wait(f.wait), timeout: f.timeout}
}

func newTxSubmit(a *app) *cobra.Command {
	var waiting waitFlags
	var raw string
	c := &cobra.Command{
		Use:   "submit FILE|-",
		Short: "Submit a signed transaction; submitting it again gives the same answer",
		Example: `  bdtnode tx send --from alice --to bob --amount 5 --dry-run --out pay.tx
  bdtnode tx submit pay.tx
  bdtnode tx submit --raw 01ab…`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // completion offers files
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := waiting.check(); err != nil {
				return err
			}
			if (len(args) == 1) == (raw != "") {
				return output.Usage("give a file with a signed transaction, or the transaction with --raw")
			}
			text := []byte(raw)
			if len(args) == 1 {
				var err error
				if text, err = readSigned(args[0], a.in); err != nil {
					return err
				}
			}
			text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
			encoding := make([]byte, hex.DecodedLen(len(text)))
			if _, err := hex.Decode(encoding, text); err != nil {
				return output.Usage("not a signed transaction in hexadecimal: %v", err)
			}
			tx, err := ledger.DecodeTx(encoding)
			if err != nil {
				return output.Usage("not a signed transaction: %v", err)
			}
			net, err := connectTo(cmd.Context(), a, api.LedgerPayments)
			if err != nil {
				return err
			}
			if err := checkExpiry(tx, net.status, time.Now()); err != nil {
				return err
			}
			return a.submitOne(cmd.Context(), waiting.delivery(net), tx)
		},
	}
	c.Flags().StringVar(&raw, "raw", "", "signed transaction in hexadecimal, in place of a file")
	waiting.add(c)
	return c
}

// expiryMargin is the clock difference that is tolerated when an expiry is compared with the horizon.
const expiryMargin = 5 * time.Second

// checkExpiry refuses a transaction whose expiry is beyond the horizon of the network by more than expiryMargin.
func checkExpiry(tx *ledger.Tx, st api.Status, now time.Time) error {
	most := time.Duration(st.HorizonMS) * time.Millisecond
	latest := now.Add(most + expiryMargin).UnixMilli()
	if most == 0 || tx.ExpiryMS <= uint64(latest) {
		return nil
	}
	return output.Usage("the transaction expires at %s, but this network accepts at most %v from now",
		time.UnixMilli(int64(min(tx.ExpiryMS, 1<<53))).UTC().Format(time.RFC3339), most)
}

// readSigned reads a file that tx send --out wrote. The path - is standard input.
func readSigned(path string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, output.Usage("signed transaction: %v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 2*ledger.MaxTxBytes+2))
	if err != nil {
		return nil, fmt.Errorf("read signed transaction: %w", err)
	}
	return text, nil
}

// submitOne submits one transaction, waits, and prints the outcome.
func (a *app) submitOne(ctx context.Context, d *delivery, tx *ledger.Tx) error {
	started := time.Now()
	outcomes, err := d.send(ctx, []*ledger.Tx{tx})
	if err != nil {
		return err
	}
	return a.printOutcome(ctx, d, tx.ID(), outcomes[0], started)
}

// printOutcome prints the outcome of a transaction. The error carries the exit code: rejected, or outcome unknown.
func (a *app) printOutcome(ctx context.Context, d *delivery, id ledger.TxID, o outcome, started time.Time) error {
	if err := a.print.Data(o.answer, func(w io.Writer) { printAnswer(w, o.answer) }); err != nil {
		return err
	}
	switch {
	case !o.known && ctx.Err() != nil:
		return output.OutcomeUnknown("interrupted after %s: transaction %s was not %s by then; its outcome is unknown", waitedText(started), id, d.wait).
			WithHint("query it with: bdtnode tx get %s", id)
	case !o.known:
		return output.OutcomeUnknown("transaction %s is not %s after %s; its outcome is unknown", id, d.wait, waitedText(started)).
			WithHint("query it with: bdtnode tx get %s", id)
	case o.answer.State == api.StateRejected:
		return output.Rejected("transaction %s is rejected: %s", id, reasonOf(o.answer))
	}
	return nil
}

func reasonOf(t api.TxAnswer) string {
	switch {
	case t.Detail == "":
		return t.Reason
	case t.Reason == "":
		return t.Detail
	}
	return t.Reason + ", " + t.Detail
}

func printAnswer(w io.Writer, t api.TxAnswer) {
	fmt.Fprintf(w, "id\t%s\nstate\t%s%s\n", t.ID, t.State, unconfirmed(t.Unconfirmed))
	if t.Reason != "" || t.Detail != "" {
		fmt.Fprintf(w, "reason\t%s\n", reasonOf(t))
	}
	if t.Height > 0 {
		fmt.Fprintf(w, "block\tshard %d, height %d\ncertified\t%t\n", t.Shard, t.Height, t.Certified)
	}
	if len(t.Parts) > 0 {
		printParts(w, t.Parts)
	}
}

// printParts prints the part of a transaction in each shard, with the verdicts that the shard knows.
func printParts(w io.Writer, parts []api.Part) {
	parts = slices.SortedFunc(slices.Values(parts), func(a, b api.Part) int { return int(a.Shard) - int(b.Shard) })
	fmt.Fprintf(w, "\nSHARD\tSTAGE\tHEIGHT\tKNOWN VERDICTS\n")
	for _, p := range parts {
		verdicts := make([]string, len(p.Verdicts))
		for i, v := range p.Verdicts {
			verdicts[i] = verdictText(v)
		}
		height := "-"
		if p.Height > 0 {
			height = strconv.FormatUint(p.Height, 10)
		}
		stage := p.Stage
		if p.Reason != "" {
			stage += " (" + p.Reason + ")"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", p.Shard, stage, height, strings.Join(verdicts, "; "))
	}
}

func verdictText(v api.PartVerdict) string {
	text := fmt.Sprintf("shard %d %s", v.Shard, v.Verdict)
	if v.Reason != "" {
		text += " (" + v.Reason + ")"
	}
	if v.Height > 0 {
		text += fmt.Sprintf(" at %d", v.Height)
	}
	return text
}

// networkOf parses the network id of a status. Transactions are signed for this id.
func networkOf(st api.Status) (digest.Digest, error) {
	d, err := digest.Parse(st.Network)
	if err != nil {
		return d, fmt.Errorf("the replica's network id: %w", err)
	}
	return d, nil
}
