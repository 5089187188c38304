package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/pay"
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// maxListed bounds the number of failed transfers that the summary lists.
const maxListed = 100

// maxRoundBytes is the size from which a request takes no further transaction: half of the 4 MiB that a replica
// accepts, so one more transaction of any size still fits.
const maxRoundBytes = 2 << 20

// sendSummary is the result of sending a file of transfers.
type sendSummary struct {
	Transfers int `json:"transfers"`
	Settled   int `json:"settled"`
	Rejected  int `json:"rejected"` // these can never settle
	Unfunded  int `json:"unfunded"` // not sent, since the balance of the account was too low
	Unknown   int `json:"unknown"`  // no final answer in time; these may still settle
	NotSent   int `json:"not_sent"` // not sent, since the run ended early

	Problems []sendProblem `json:"problems"` // the first 100 transfers that did not settle
}

// sendProblem is a transfer that did not settle.
type sendProblem struct {
	Line   int    `json:"line"`
	ID     string `json:"id,omitempty"`
	State  string `json:"state"` // rejected, unfunded or unknown
	Reason string `json:"reason,omitempty"`
}

// payer is an account of the file with its remaining transfers, in the order of the file.
type payer struct {
	name   string
	wallet *payWallet
	queue  []payment
}

type payment struct {
	pay.Transfer
	to    ledger.Address
	tries int // number of its transactions that were rejected as consumed
}

// sent is a submitted transfer.
type sent struct {
	payment
	from *payer
	tx   *ledger.Tx
}

// fileRun is the state of sending one file.
type fileRun struct {
	flags   *sendFlags
	net     *replicas
	payers  []*payer
	byAddr  map[ledger.Address]*payer
	summary sendSummary
	stale   bool // a rejection has shown that the wallets' lists of unspent outputs are out of date
	bar     func(n int)
}

func (a *app) sendFile(ctx context.Context, f *sendFlags) error {
	in, err := os.Open(f.file)
	if err != nil {
		return output.Usage("transfers: %v", err)
	}
	defer in.Close()
	list, err := pay.ReadList(in)
	if err != nil {
		return output.Usage("%s: %v", f.file, err)
	}
	net, err := connectTo(ctx, a, api.LedgerPayments)
	if err != nil {
		return err
	}
	if _, err := f.terms(net); err != nil {
		return err
	}
	run := &fileRun{flags: f, net: net, byAddr: make(map[ledger.Address]*payer), summary: sendSummary{Transfers: len(list), Problems: []sendProblem{}}}
	if err := a.preparePayers(ctx, run, list); err != nil {
		return err
	}
	started := time.Now()
	finish := a.drawBar(run, len(list))
	err = run.work(ctx)
	finish()
	s := run.summary
	s.NotSent = s.Transfers - s.Settled - s.Rejected - s.Unfunded - s.Unknown
	if perr := a.print.Data(s, func(w io.Writer) { printSummary(w, s) }); perr != nil {
		return perr
	}
	switch {
	case ctx.Err() != nil && s.Unknown+s.NotSent > 0:
		return interruptedFile(s, started)
	case s.Unknown > 0:
		return output.OutcomeUnknown("%d of %d transfers have no answer yet, and may still settle", s.Unknown, s.Transfers).
			WithHint("query each with: bdtnode tx get ID")
	case err != nil:
		return err
	case s.Rejected > 0:
		return output.Rejected("%d of %d transfers were rejected", s.Rejected, s.Transfers)
	case s.Unfunded > 0:
		return fmt.Errorf("%d of %d transfers were not sent: the balances of their accounts are too low", s.Unfunded, s.Transfers)
	}
	return nil
}

// interruptedFile is the error of an interrupted run, with the numbers of unanswered and unsent transfers.
func interruptedFile(s sendSummary, started time.Time) error {
	if s.Unknown > 0 {
		return output.OutcomeUnknown("interrupted after %s: %d of %d transfers have no answer yet, and may still settle; %d were not sent",
			waitedText(started), s.Unknown, s.Transfers, s.NotSent).WithHint("query each with: bdtnode tx get ID")
	}
	return output.Interrupted("interrupted after %s: %d of %d transfers were not sent", waitedText(started), s.NotSent, s.Transfers)
}

// preparePayers resolves every name of the list before anything is sent, and fetches the outputs of the payers.
func (a *app) preparePayers(ctx context.Context, run *fileRun, list []pay.Transfer) error {
	byName := make(map[string]*payer)
	addrs := make(map[string]ledger.Address)
	for _, t := range list {
		to, ok := addrs[t.To]
		if !ok {
			var err error
			if to, err = a.address(t.To, run.net.accounts); err != nil {
				return fmt.Errorf("%s line %d: %w", run.flags.file, t.Line, err)
			}
			addrs[t.To] = to
		}
		p := byName[t.From]
		if p == nil {
			w, err := a.payWallet(t.From, run.net, run.flags.timeout)
			if err != nil {
				return fmt.Errorf("%s line %d: %w", run.flags.file, t.Line, err)
			}
			p = &payer{name: t.From, wallet: w}
			byName[t.From], run.byAddr[w.Address()] = p, p
			run.payers = append(run.payers, p)
		}
		p.queue = append(p.queue, payment{Transfer: t, to: to})
	}
	for _, p := range run.payers {
		if err := run.fetch(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// fetch asks for the outputs of a payer. It asks for at least one output for each transfer, so that all can be sent at
// once; otherwise each would wait for the change of the one before.
func (r *fileRun) fetch(ctx context.Context, p *payer) error {
	terms, err := r.flags.terms(r.net)
	if err != nil {
		return err
	}
	var need uint64
	for _, t := range p.queue {
		need = saturated(need, saturated(t.Amount, terms.MostFee())) // no account has a balance of 2^64-1, so all outputs are fetched
	}
	return p.wallet.reserve(ctx, func(book *pay.Reservations) error {
		return p.wallet.fetch(ctx, book, need, len(p.queue))
	})
}

// work pays in rounds. Each round sends the transfers for which outputs are available; its change and payments fund the
// next round.
func (r *fileRun) work(ctx context.Context) error {
	for ctx.Err() == nil {
		round, more, err := r.nextRound(ctx)
		if err != nil {
			return err
		}
		if len(round) == 0 {
			if !more {
				return nil
			}
			if !r.stale {
				r.dropUnfunded()
				continue
			}
			if err := r.refetch(ctx); err != nil {
				return err
			}
			continue
		}
		txs := make([]*ledger.Tx, len(round))
		for i := range round {
			txs[i] = round[i].tx
		}
		outcomes, err := r.settle(ctx, txs)
		if err != nil { // no replica accepted a transaction
			return errors.Join(err, r.release(context.WithoutCancel(ctx), round, nil))
		}
		r.confirm(ctx, round, outcomes)
		for i, o := range outcomes {
			r.record(round[i], o)
		}
		if err := r.release(context.WithoutCancel(ctx), round, outcomes); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// settle waits until the transactions are settled, even if --wait names an earlier stage, because the next round spends
// their outputs. With --wait certified it first waits for certificates, which may come before settlement in all shards.
func (r *fileRun) settle(ctx context.Context, txs []*ledger.Tx) ([]outcome, error) {
	d := r.flags.delivery(r.net)
	if d.wait != api.WaitCertified {
		d.wait = api.WaitSettled
		return d.send(ctx, txs)
	}
	out, err := d.send(ctx, txs)
	if err != nil {
		return nil, err
	}
	var open []int
	var rest []*ledger.Tx
	for i, o := range out {
		if o.known && !reached(o.answer, api.WaitSettled) {
			open, rest = append(open, i), append(rest, txs[i])
		}
	}
	if len(rest) == 0 {
		return out, nil
	}
	d.wait = api.WaitSettled
	last, err := d.send(ctx, rest)
	for n, i := range open {
		if err == nil {
			out[i] = last[n]
		} else {
			out[i].known = false // certified, so a replica accepted it before this error
		}
	}
	return out, nil
}

// nextRound signs transfers in each payer's order until the outputs are used up or the request is full. more is true if
// transfers are left.
func (r *fileRun) nextRound(ctx context.Context) (round []sent, more bool, err error) {
	terms, err := r.flags.terms(r.net)
	if err != nil {
		return nil, false, err
	}
	size := 0
	for _, p := range r.payers {
		err := p.wallet.reserve(ctx, func(book *pay.Reservations) error {
			p.wallet.Drop(func(c pay.Coin) bool { return book.Taken(c.Outpoint) }) // reserved by other processes
			for len(p.queue) > 0 && len(round) < api.MaxTxsPerRequest && size < maxRoundBytes {
				next := p.queue[0]
				tx, err := p.wallet.Transfer(terms, next.to, next.Amount)
				if short(err) {
					break
				}
				if err == nil {
					err = book.Add(tx, p.wallet.inside(next.to))
				}
				if err != nil {
					return err
				}
				round, size = append(round, sent{next, p, tx}), size+len(tx.Encode())
				p.queue = p.queue[1:]
			}
			return nil
		})
		if err != nil {
			return nil, false, errors.Join(p.wallet.named(err), r.release(ctx, round, nil))
		}
		more = more || len(p.queue) > 0
	}
	return round, more, nil
}

// confirm marks a transaction as unknown if one replica rejected it as consumed and another replica denies that. Such a
// transfer is not made again.
func (r *fileRun) confirm(ctx context.Context, round []sent, outcomes []outcome) {
	var at []int
	var txs []*ledger.Tx
	for i, o := range outcomes {
		if consumed(o) {
			at, txs = append(at, i), append(txs, round[i].tx)
		}
	}
	for n, ok := range r.flags.delivery(r.net).confirmed(ctx, txs, r.net.status.Faulty) {
		outcomes[at[n]].known = ok
	}
}

// release ends the reservations of a round, except those of transactions without a final outcome. If outcomes is nil,
// no transaction was accepted and all reservations end.
func (r *fileRun) release(ctx context.Context, round []sent, outcomes []outcome) error {
	var all []error
	for _, p := range r.payers {
		all = append(all, p.wallet.reserve(ctx, func(book *pay.Reservations) error {
			for i, s := range round {
				switch {
				case s.from != p:
				case outcomes == nil || outcomes[i].known && outcomes[i].answer.State == api.StateRejected:
					book.Refused(s.tx.ID())
				case outcomes[i].known:
					book.Done(s.tx.ID())
				}
			}
			return nil
		}))
	}
	return errors.Join(all...)
}

// dropUnfunded gives up the first transfer left in the file, because no pending transfer can fund it. Later transfers
// may still be funded.
func (r *fileRun) dropUnfunded() {
	var first *payer
	for _, p := range r.payers {
		if len(p.queue) > 0 && (first == nil || p.queue[0].Line < first.queue[0].Line) {
			first = p
		}
	}
	r.summary.Unfunded++
	r.problem(sendProblem{Line: first.queue[0].Line, State: "unfunded", Reason: fmt.Sprintf("%s has %d", first.name, first.wallet.Total())})
	first.queue = first.queue[1:]
}

// refetch fetches the outputs of all payers again, after a rejection has shown that the lists are out of date. A
// rejected transfer between shards also refunds its inputs as new outputs.
func (r *fileRun) refetch(ctx context.Context) error {
	r.stale = false
	for _, p := range r.payers {
		p.wallet.Forget()
		if err := r.fetch(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// record counts an outcome. The outputs of a settled transfer are added to the wallets of those payers that own them.
func (r *fileRun) record(s sent, o outcome) {
	id := s.tx.ID()
	switch {
	case !o.known:
		r.summary.Unknown++
		r.problem(sendProblem{Line: s.Line, ID: id.String(), State: "unknown"})
		return
	case consumed(o) && s.tries < maxRebuilds: // the rejection is final, so another transaction may be made for the transfer
		s.tries++
		at, _ := slices.BinarySearchFunc(s.from.queue, s.Line, func(p payment, line int) int { return p.Line - line })
		s.from.queue = slices.Insert(s.from.queue, at, s.payment)
		r.stale = r.summary.Unknown == 0
		return
	case o.answer.State == api.StateRejected:
		r.summary.Rejected++
		r.stale = r.summary.Unknown == 0 // if outcomes are unknown, a refetched list would still contain their inputs
		r.problem(sendProblem{Line: s.Line, ID: id.String(), State: "rejected", Reason: reasonOf(o.answer)})
		return
	}
	r.summary.Settled++
	r.bar(1)
	for i, out := range s.tx.Outputs {
		if owner := r.byAddr[out.Address]; owner != nil {
			owner.wallet.Add(pay.Coin{Outpoint: ledger.Outpoint{Tx: id, Index: uint16(i)}, Amount: out.Amount})
		}
	}
}

func (r *fileRun) problem(p sendProblem) {
	r.bar(1)
	if len(r.summary.Problems) < maxListed {
		r.summary.Problems = append(r.summary.Problems, p)
	}
}

// drawBar shows progress on a terminal. finish stops drawing.
func (a *app) drawBar(run *fileRun, total int) (finish func()) {
	if !a.print.Live() {
		run.bar = func(int) {}
		return func() {}
	}
	progress := mpb.New(mpb.WithOutput(a.print.Bars()), mpb.WithWidth(40))
	bar := progress.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name("transfers "), decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s"), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))
	run.bar = bar.IncrBy
	return func() {
		bar.Abort(false) // has no effect on a complete bar
		progress.Wait()
	}
}

func printSummary(w io.Writer, s sendSummary) {
	fmt.Fprintf(w, "transfers\t%d\nsettled\t%d\nrejected\t%d\nunfunded\t%d\nunknown\t%d\n", s.Transfers, s.Settled, s.Rejected, s.Unfunded, s.Unknown)
	if s.NotSent > 0 {
		fmt.Fprintf(w, "not sent\t%d\n", s.NotSent)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "line %d\t%s\t%s\t%s\n", p.Line, p.State, p.Reason, p.ID)
	}
}
