package pay

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/config"
)

// reservationVersion is the version of the format of a file of reservations.
const reservationVersion = 1

// Bounds of reservations.
const (
	maxPayments = 10_000           // payments of one account without a final outcome
	maxChain    = 32               // pending payments in a chain, each spending the change of the one before
	expirySlack = 30 * time.Second // time after an expiry, for replicas whose clocks are behind this one
)

// Reservations are the payments from one account on one network that processes of this machine have made and whose
// effects may not show in a replica's list yet. Their inputs are not spent again.
type Reservations struct {
	addr     ledger.Address
	payments []*reserved // oldest first
	byID     map[ledger.TxID]*reserved
	spent    map[ledger.Outpoint]struct{} // inputs of the payments
	changed  bool
}

// reserved is one payment.
type reserved struct {
	tx      *ledger.Tx
	inside  bool // all inputs and outputs have one home shard: its outputs may be spent before it is settled
	settled bool // a replica reported it settled in all shards
}

type reservedFile struct {
	Version  int               `json:"version"`
	Payments []reservedPayment `json:"payments"`
}

type reservedPayment struct {
	Tx      string `json:"tx"` // encoded, in hexadecimal
	Inside  bool   `json:"inside_one_shard"`
	Settled bool   `json:"settled"`
}

// Reserve calls f with the reservations of an account while they are locked against other processes, and stores the
// changes of f. They are in a file below dir, which is replaced atomically. limit bounds the wait for another process
// that holds the lock.
func Reserve(ctx context.Context, dir string, network digest.Digest, addr ledger.Address, limit time.Duration, f func(*Reservations) error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("reservations: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s-%s", network.String()[:16], addr))
	release, err := config.AwaitLock(ctx, path+".lock", "the wallet of "+addr.String(), limit)
	if err != nil {
		return err
	}
	defer release()
	r := NewReservations(addr)
	if err := r.read(path + ".json"); err != nil {
		return err
	}
	r.expire(time.Now())
	err = f(r)
	if r.changed {
		err = errors.Join(err, r.write(path+".json"))
	}
	return err
}

// NewReservations returns reservations without payments, which are not stored in a file.
func NewReservations(addr ledger.Address) *Reservations {
	return &Reservations{addr: addr, byID: make(map[ledger.TxID]*reserved), spent: make(map[ledger.Outpoint]struct{})}
}

func (r *Reservations) read(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reservations: %w", err)
	}
	var in reservedFile
	if err := json.Unmarshal(raw, &in); err != nil || in.Version != reservationVersion {
		return fmt.Errorf("%s does not have version %d: delete it when no payment is pending", path, reservationVersion)
	}
	for _, p := range in.Payments {
		encoded, err := hex.DecodeString(p.Tx)
		if err != nil {
			return fmt.Errorf("%s is damaged: delete it when no payment is pending", path)
		}
		tx, err := ledger.DecodeTx(encoded)
		if err != nil {
			return fmt.Errorf("%s is damaged: delete it when no payment is pending: %w", path, err)
		}
		r.put(&reserved{tx, p.Inside, p.Settled})
	}
	return nil
}

func (r *Reservations) write(path string) error {
	out := reservedFile{Version: reservationVersion, Payments: []reservedPayment{}}
	for _, p := range r.payments {
		out.Payments = append(out.Payments, reservedPayment{hex.EncodeToString(p.tx.Encode()), p.inside, p.settled})
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(out); err != nil {
		return fmt.Errorf("reservations: %w", err)
	}
	if err := os.WriteFile(path+".new", b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("reservations: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("reservations: %w", err)
	}
	return nil
}

// expire drops the payments that have expired at a time, by the clocks of all replicas.
func (r *Reservations) expire(now time.Time) {
	before := now.Add(-expirySlack).UnixMilli()
	for _, p := range slices.Clone(r.payments) {
		if int64(p.tx.ExpiryMS) >= before {
			continue
		}
		for _, later := range r.payments {
			if !p.settled && later.spendsFrom(p.tx.ID()) {
				later.inside = false // its change must not be spent unless it shows as settled
			}
		}
		r.drop(p.tx.ID())
	}
}

// Add reserves the inputs of a payment. inside is true if all its inputs and outputs have one home shard. It fails if
// maxPayments payments have no final outcome.
func (r *Reservations) Add(tx *ledger.Tx, inside bool) error {
	if len(r.payments) >= maxPayments {
		return fmt.Errorf("%d payments from %s have no known outcome: wait until they settle or expire", len(r.payments), r.addr)
	}
	r.put(&reserved{tx: tx, inside: inside})
	r.changed = true
	return nil
}

// Settled records that a payment is settled in all shards.
func (r *Reservations) Settled(id ledger.TxID) {
	if p := r.byID[id]; p != nil && !p.settled {
		p.settled, r.changed = true, true
	}
}

// Done drops a settled payment whose outputs the caller tracks itself.
func (r *Reservations) Done(id ledger.TxID) { r.drop(id) }

// Refused releases the inputs of a payment that can never settle. Payments that spend its change are dropped too, since
// they cannot settle either.
func (r *Reservations) Refused(id ledger.TxID) {
	r.drop(id)
	for _, p := range slices.Clone(r.payments) {
		if p.spendsFrom(id) {
			r.Refused(p.tx.ID())
		}
	}
}

// Seen drops settled payments of whose inputs a complete list of the account's outputs has none any more. A payment
// that spends the change of a kept payment is kept too, because the replica may not list that change yet.
func (r *Reservations) Seen(l Listing) {
	if !l.Complete {
		return
	}
	for _, p := range slices.Clone(r.payments) {
		behind := slices.ContainsFunc(p.tx.Inputs, func(in ledger.Input) bool { return r.byID[in.Outpoint.Tx] != nil })
		if p.settled && !behind && !p.listed(l) {
			r.drop(p.tx.ID())
		}
	}
}

// Open returns the payments that may have settled without this machine having seen it: none of their inputs is listed.
func (r *Reservations) Open(l Listing) (ids []ledger.TxID) {
	for _, p := range r.payments {
		if !p.settled && !p.listed(l) && len(r.Before(p.tx)) == 0 {
			ids = append(ids, p.tx.ID())
		}
	}
	return ids
}

// Taken reports whether a payment spends an output.
func (r *Reservations) Taken(at ledger.Outpoint) bool {
	_, taken := r.spent[at]
	return taken
}

// Change returns the outputs of payments to the account itself that can be spent now: those of settled payments, and of
// payments inside one shard, because that shard orders a payment before another one that spends its change. later is
// true if there will be more once other payments are settled.
func (r *Reservations) Change() (coins []Coin, later bool) {
	for _, p := range r.payments {
		spendable := p.settled || p.inside && len(r.Before(p.tx)) < maxChain
		for i, out := range p.tx.Outputs {
			at := ledger.Outpoint{Tx: p.tx.ID(), Index: uint16(i)}
			switch {
			case out.Address != r.addr || r.Taken(at):
			case spendable:
				coins = append(coins, Coin{Outpoint: at, Amount: out.Amount})
			default:
				later = true
			}
		}
	}
	return coins, later
}

// Before returns the payments not known to be settled whose change a payment spends, directly or through others, in the
// order in which they must be submitted.
func (r *Reservations) Before(tx *ledger.Tx) []*ledger.Tx {
	found := make(map[ledger.TxID]bool)
	var look func(*ledger.Tx)
	look = func(tx *ledger.Tx) {
		for _, in := range tx.Inputs {
			p := r.byID[in.Outpoint.Tx]
			if p != nil && !p.settled && !found[p.tx.ID()] {
				found[p.tx.ID()] = true
				look(p.tx)
			}
		}
	}
	look(tx)
	var out []*ledger.Tx
	for _, p := range r.payments { // oldest first: each spends outputs of older ones only
		if found[p.tx.ID()] {
			out = append(out, p.tx)
		}
	}
	return out
}

// put appends a payment.
func (r *Reservations) put(p *reserved) {
	r.payments = append(r.payments, p)
	r.byID[p.tx.ID()] = p
	for _, in := range p.tx.Inputs {
		r.spent[in.Outpoint] = struct{}{}
	}
}

func (r *Reservations) drop(id ledger.TxID) {
	p := r.byID[id]
	if p == nil {
		return
	}
	r.changed = true
	r.payments = slices.DeleteFunc(r.payments, func(x *reserved) bool { return x == p })
	delete(r.byID, id)
	for _, in := range p.tx.Inputs {
		delete(r.spent, in.Outpoint)
	}
}

// spendsFrom reports whether a payment spends an output of the transaction with this id.
func (p *reserved) spendsFrom(id ledger.TxID) bool {
	return slices.ContainsFunc(p.tx.Inputs, func(in ledger.Input) bool { return in.Outpoint.Tx == id })
}

// listed reports whether any input of a payment is listed as unspent.
func (p *reserved) listed(l Listing) bool {
	return slices.ContainsFunc(p.tx.Inputs, func(in ledger.Input) bool { return l.Has(in.Outpoint) })
}
