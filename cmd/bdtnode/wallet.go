package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bdtnode/cmd/bdtnode/output"
	"bdtnode/cmd/bdtnode/pay"
	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/client"
	"bdtnode/shard"
)

// Bounds of the work for one payment.
const (
	maxRebuilds = 4                      // further transactions after a rejected one
	maxAsked    = 16                     // earlier payments whose state is queried
	changePause = 200 * time.Millisecond // between two queries for the change of unsettled payments
)

// payWallet pays from one account. Its reservations keep other processes of this machine from spending the same
// outputs.
type payWallet struct {
	*pay.Wallet
	name    string
	net     *replicas
	network digest.Digest
	limit   time.Duration // longest wait for another process that is choosing outputs
	dir     string        // directory of reservations; empty if none can be written
	alone   *pay.Reservations
}

// payWallet opens the wallet of an account: it unlocks the key and prepares the directory of reservations.
func (a *app) payWallet(name string, net *replicas, limit time.Duration) (*payWallet, error) {
	acc, err := a.account(name, net.accounts)
	if err != nil {
		return nil, err
	}
	network, err := networkOf(net.status)
	if err != nil {
		return nil, err
	}
	key, err := acc.Unlock(func() (string, error) { return a.passphrase("Passphrase of " + name) })
	if err != nil {
		return nil, err
	}
	p := &payWallet{Wallet: pay.NewWallet(key), name: name, net: net, network: network, limit: limit}
	if p.dir, err = reservationsDir(); err != nil {
		a.print.Note("note: payments of other processes are not taken into account: %v", err)
		p.dir, p.alone = "", pay.NewReservations(p.Address())
	}
	return p, nil
}

// reservationsDir creates the directory of reservations if it is missing, and returns its path.
func reservationsDir() (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, ".local", "state")
	}
	dir = filepath.Join(dir, "bdtnode", "payments")
	return dir, os.MkdirAll(dir, 0o700)
}

// reserve calls f with the reservations of the account while they are locked against other processes.
func (p *payWallet) reserve(ctx context.Context, f func(*pay.Reservations) error) error {
	if p.alone != nil {
		return f(p.alone)
	}
	return pay.Reserve(ctx, p.dir, p.network, p.Address(), p.limit, f)
}

// inside reports whether a payment stays in the home shard of the account.
func (p *payWallet) inside(to ledger.Address) bool {
	return shard.Home(to, p.net.status.Shards) == shard.Home(p.Address(), p.net.status.Shards)
}

// fetch asks for the outputs of the account, without those that earlier payments spend, and records which of these
// payments are settled by now.
func (p *payWallet) fetch(ctx context.Context, r *pay.Reservations, amount uint64, outputs int) error {
	p.Forget()
	listing, err := p.Wallet.Fetch(ctx, p.net.first(), amount, outputs, r.Taken)
	if err != nil || !listing.Complete {
		return err
	}
	for n, id := range r.Open(listing) {
		if n == maxAsked {
			break
		}
		answer, err := p.net.first().Tx(ctx, id)
		switch {
		case errors.Is(err, client.ErrNotFound):
		case err != nil:
			return err
		case answer.State == api.StateSettled:
			r.Settled(id)
		case reached(answer, api.WaitSettled):
			r.Refused(id)
		}
	}
	r.Seen(listing)
	return nil
}

// singlePayment is one payment to make, with the findings of earlier attempts.
type singlePayment struct {
	to      ledger.Address
	amount  uint64
	dryRun  bool
	doubted map[ledger.Outpoint]bool // spent by transactions that were rejected as consumed
}

// prepared is a signed transaction, with the transactions that must be submitted before it.
type prepared struct {
	tx     *ledger.Tx
	before []*ledger.Tx
}

// errLater means that pending payments between shards will bring the missing funds.
var errLater = errors.New("the rest is change of payments between shards that are not settled yet")

// prepare chooses outputs, signs and reserves. It waits up to limit for change that cannot be spent yet.
func (p *payWallet) prepare(ctx context.Context, terms func() (pay.Terms, error), s *singlePayment, limit time.Duration) (prepared, error) {
	deadline := time.Now().Add(limit)
	for {
		t, err := terms()
		if err != nil {
			return prepared{}, err
		}
		var out prepared
		err = p.reserve(ctx, func(r *pay.Reservations) error {
			if out, err = p.choose(ctx, r, t, s); err != nil || s.dryRun {
				return err
			}
			return r.Add(out.tx, p.inside(s.to))
		})
		if !errors.Is(err, errLater) || time.Until(deadline) <= 0 {
			return out, p.named(err)
		}
		if !sleep(ctx, changePause) {
			return prepared{}, ctx.Err()
		}
	}
}

// choose signs a transaction. It spends listed outputs that are not doubted; if these are not enough, also change that
// no replica lists yet; then doubted outputs.
func (p *payWallet) choose(ctx context.Context, r *pay.Reservations, t pay.Terms, s *singlePayment) (prepared, error) {
	if err := p.fetch(ctx, r, saturated(s.amount, t.MostFee()), 1+len(s.doubted)); err != nil {
		return prepared{}, err
	}
	var doubted []pay.Coin
	p.Drop(func(c pay.Coin) bool {
		if s.doubted[c.Outpoint] {
			doubted = append(doubted, c)
		}
		return s.doubted[c.Outpoint]
	})
	tx, err := p.Transfer(t, s.to, s.amount)
	later := false
	if short(err) && !s.dryRun { // a dry run may be submitted without the payments before it
		var change []pay.Coin
		change, later = r.Change()
		p.add(change)
		tx, err = p.Transfer(t, s.to, s.amount)
	}
	if short(err) && len(doubted) > 0 {
		p.add(doubted)
		tx, err = p.Transfer(t, s.to, s.amount)
	}
	if short(err) && later {
		return prepared{}, fmt.Errorf("%w, and %w", err, errLater)
	}
	if err != nil {
		return prepared{}, err
	}
	return prepared{tx, r.Before(tx)}, nil
}

func (p *payWallet) add(coins []pay.Coin) {
	for _, c := range coins {
		p.Add(c)
	}
}

// short reports whether a transfer failed for lack of outputs.
func short(err error) bool { return errors.Is(err, pay.ErrFunds) || errors.Is(err, pay.ErrScattered) }

// saturated is a+b, or 2^64-1 if the sum overflows.
func saturated(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}

// named adds the account or the flag to an error.
func (p *payWallet) named(err error) error {
	switch {
	case errors.Is(err, pay.ErrFee):
		return output.Usage("--fee: %v", err)
	case short(err):
		return fmt.Errorf("account %s: %w", p.name, err)
	}
	return err
}

// finish updates the reservation of a payment after its outcome.
func (p *payWallet) finish(ctx context.Context, id ledger.TxID, o outcome) error {
	return p.reserve(ctx, func(r *pay.Reservations) error {
		switch {
		case !o.known:
		case o.answer.State == api.StateSettled:
			r.Settled(id)
		case o.answer.State == api.StateRejected:
			r.Refused(id)
		}
		return nil
	})
}

// sentPayment is a submitted payment and its outcome.
type sentPayment struct {
	tx *ledger.Tx
	outcome
}

// pay makes one payment. It chooses outputs and submits the transaction. If the transaction is rejected because others
// consumed its inputs, it tries again with other outputs, up to maxRebuilds times. That rejection is final, so nothing
// is paid twice. signed is called with each transaction before it is submitted.
func (p *payWallet) pay(ctx context.Context, a *app, d *delivery, terms func() (pay.Terms, error), s *singlePayment, signed func(*ledger.Tx) error) (sentPayment, error) {
	for try := 0; ; try++ {
		next, err := p.prepare(ctx, terms, s, d.timeout)
		if err == nil {
			err = signed(next.tx)
		}
		if err != nil || s.dryRun {
			return sentPayment{tx: next.tx}, err
		}
		o, err := p.deliver(ctx, d, next)
		id := next.tx.ID()
		if err != nil { // no replica accepted the transaction
			o = outcome{api.TxAnswer{State: api.StateRejected}, true}
		}
		if ferr := p.finish(context.WithoutCancel(ctx), id, o); ferr != nil {
			a.print.Note("note: the inputs of %s stay reserved until it expires: %v", id, ferr)
		}
		if err != nil || !consumed(o) || try == maxRebuilds {
			return sentPayment{next.tx, o}, err
		}
		if !d.confirmed(ctx, []*ledger.Tx{next.tx}, p.net.status.Faulty)[0] {
			return sentPayment{next.tx, outcome{answer: o.answer}}, nil
		}
		a.print.Note("Transaction %s is rejected: %s. Paying with other outputs", id, reasonOf(o.answer))
		if s.doubted == nil {
			s.doubted = make(map[ledger.Outpoint]bool)
		}
		for _, in := range next.tx.Inputs {
			s.doubted[in.Outpoint] = true
		}
		if !sleep(ctx, time.Duration(try+1)*changePause) {
			return sentPayment{next.tx, o}, nil
		}
	}
}

// consumed reports whether a transaction was rejected because other transactions spent its inputs.
func consumed(o outcome) bool {
	return o.known && o.answer.State == api.StateRejected && o.answer.Reason == ledger.ReasonConsumed.String()
}

// lookBack is the waiting time after which the payments whose change a payment spends are submitted again.
const lookBack = 5 * time.Second

// deliver submits a payment after the payments whose change it spends, because the processes that made these may have
// been killed before they submitted them. If one of these is rejected, the payment can never settle either.
func (p *payWallet) deliver(ctx context.Context, d *delivery, next prepared) (outcome, error) {
	if len(next.before) == 0 {
		return first(d.send(ctx, []*ledger.Tx{next.tx}))
	}
	deadline := time.Now().Add(d.timeout)
	for try := 0; ; try++ {
		ahead := delivery{clients: d.clients, wait: api.WaitAccepted, timeout: max(time.Until(deadline), shortPause)}
		outcomes, err := ahead.send(ctx, next.before)
		if err != nil && try == 0 {
			return outcome{}, err
		}
		for i, o := range outcomes {
			if o.known && o.answer.State == api.StateRejected {
				err := p.finish(ctx, next.before[i].ID(), o)
				return outcome{api.TxAnswer{
					ID: next.tx.ID(), State: api.StateRejected, Reason: ledger.ReasonConsumed.String(),
					Detail: fmt.Sprintf("it spends change of %s, which is rejected: %s", next.before[i].ID(), reasonOf(o.answer)),
				}, true}, err
			}
		}
		part := delivery{clients: d.clients, wait: d.wait, timeout: max(min(time.Until(deadline), lookBack), shortPause)}
		o, err := first(part.send(ctx, []*ledger.Tx{next.tx}))
		if err != nil && try == 0 || err == nil && o.known || ctx.Err() != nil || time.Until(deadline) <= 0 {
			return o, err
		}
	}
}

// first returns the outcome of the only transaction that was submitted.
func first(outcomes []outcome, err error) (outcome, error) {
	if err != nil {
		return outcome{}, err
	}
	return outcomes[0], nil
}
