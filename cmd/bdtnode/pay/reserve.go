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

// reservationVersion is the version of a file of reservations.
const reservationVersion = 1

// Bounds of reservations.
const (
	maxPayments = 10_000           // of one account without a known end
	maxChain    = 32               // payments, each spending the change of the one before, that are on their way
	expirySlack = 30 * time.Second // after its expiry, for clocks of replicas behind this one
)

// Reservations are the payments from one account on one network that processes of this machine have made and whose end
// may not show in what a replica lists yet. What they spend is not spent again.
type Reservations struct {
	addr     ledger.Address
	payments []*reserved // oldest first
	byID     map[ledger.TxID]*reserved
	spent    map[ledger.Outpoint]struct{} // by payments
	changed  bool
}

// reserved is one payment.
type reserved struct {
	tx      *ledger.Tx
	inside  bool // in one shard: what it creates may be spent before it is settled
	settled bool // everywhere, a replica said
}

type reservedFile struct {
	Version  int               `json:"version"`
	Payments []reservedPayment `json:"payments"`
}

type reservedPayment struct {
	Tx      string `json:"tx"` // encoded, hexadecimal
	Inside  bool   `json:"inside_one_shard"`
	Settled bool   `json:"settled"`
}

// Reserve calls f with the reservations of an account, while no other process can, and keeps what f makes of them. They
// are in a file below dir, which is replaced in one step. Limit bounds how long another process may have them.
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

// NewReservations has no payments.
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
		return fmt.Errorf("%s is not of version %d: delete it once no payment is under way", path, reservationVersion)
	}
	for _, p := range in.Payments {
		encoded, err := hex.DecodeString(p.Tx)
		if err != nil {
			return fmt.Errorf("%s is damaged: delete it once no payment is under way", path)
		}
		tx, err := ledger.DecodeTx(encoded)
		if err != nil {
			return fmt.Errorf("%s is damaged: delete it once no payment is under way: %w", path, err)
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

// expire drops payments that can no longer settle, or have, at a time.
func (r *Reservations) expire(now time.Time) {
	before := now.Add(-expirySlack).UnixMilli()
	for _, p := range slices.Clone(r.payments) {
		if int64(p.tx.ExpiryMS) >= before {
			continue
		}
		for _, later := range r.payments {
			if !p.settled && later.spendsFrom(p.tx.ID()) {
				later.inside = false // unless it shows as settled, nothing is built on it
			}
		}
		r.drop(p.tx.ID())
	}
}

// Add reserves what a payment spends. Inside says that all that it spends and creates is at home in one shard.
func (r *Reservations) Add(tx *ledger.Tx, inside bool) error {
	if len(r.payments) >= maxPayments {
		return fmt.Errorf("%d payments from %s have no known end: wait until they have, or have expired", len(r.payments), r.addr)
	}
	r.put(&reserved{tx: tx, inside: inside})
	r.changed = true
	return nil
}

// Settled notes that a payment is settled in all shards.
func (r *Reservations) Settled(id ledger.TxID) {
	if p := r.byID[id]; p != nil && !p.settled {
		p.settled, r.changed = true, true
	}
}

// Done drops a payment that is settled and of which the caller keeps track itself.
func (r *Reservations) Done(id ledger.TxID) { r.drop(id) }

// Refused gives back what a payment spends that will never settle. Payments that spend its change will not either.
func (r *Reservations) Refused(id ledger.TxID) {
	r.drop(id)
	for _, p := range slices.Clone(r.payments) {
		if p.spendsFrom(id) {
			r.Refused(p.tx.ID())
		}
	}
}

// Seen drops the settled payments none of whose inputs a complete list of the account's outputs has any more. One that
// spends the change of a payment which is kept is kept too: the replica may not list that change yet.
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

// Open are the payments that may be settled although this machine has not seen it: none of their inputs is listed.
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

// Change are the outputs of payments to the account itself that can be spent now: those of settled payments, and of
// payments inside one shard, since that shard orders a payment before one that spends its change. Later says whether
// there will be more once other payments are settled.
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

// Before are the payments not known to be settled whose change a payment spends, directly or through others, in the
// order in which they have to arrive.
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
	for _, p := range r.payments { // oldest first, and each spends from older ones only
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

// listed reports whether any output that a payment spends is listed as unspent.
func (p *reserved) listed(l Listing) bool {
	return slices.ContainsFunc(p.tx.Inputs, func(in ledger.Input) bool { return l.Has(in.Outpoint) })
}
