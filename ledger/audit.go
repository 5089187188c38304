package ledger

import (
	"context"
	"errors"
	"fmt"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
)

// Audit is the value of a shard at one height, summed output by output and record by record.
//
// Value moves between shards in two steps: a settlement deletes escrow in the input shards and creates outputs in the
// output shards, in different blocks. Ceded is the value by which a shard has deleted more than it has created,
// Gained the value by which it has created more than it has deleted. When no settlement is under way, the sum of
// Ceded over all shards equals the sum of Gained, and the unspent outputs, escrow and burned fees of all shards equal
// the genesis value of the network.
type Audit struct {
	Height       uint64
	HeaderDigest digest.Digest
	Outputs      uint64 // number of unspent outputs
	Unspent      uint64 // value of the unspent outputs
	Escrow       uint64 // value held for transactions that are neither settled nor returned
	Open         uint64 // number of open records of transactions between shards
	Burned       uint64
	Gained       uint64
	Ceded        uint64
	Genesis      uint64 // value of the shard's outputs at genesis
}

// Conserved reports whether unspent + escrow + burned + ceded = genesis + gained, without overflow.
func (a *Audit) Conserved() bool {
	have, want := a.Genesis+a.Gained, a.Unspent
	for _, v := range []uint64{a.Escrow, a.Burned, a.Ceded} {
		if want += v; want < v {
			return false
		}
	}
	return have >= a.Genesis && have == want
}

// auditStride is the number of outputs, or records, that are counted between two checks of the context.
const auditStride = 4096

// Audit sums every unspent output and every escrow on a snapshot, while further blocks are executed. It returns the
// context's error if the context ends first.
func (s *State) Audit(ctx context.Context) (Audit, error) {
	snap, t, err := s.snapshot()
	if err != nil {
		return Audit{}, err
	}
	a := Audit{Height: t.header.Height, HeaderDigest: t.digest, Burned: t.burned, Gained: t.gained, Ceded: t.ceded, Genesis: t.genesis}
	err = errors.Join(a.countOutputs(ctx, snap), a.countEscrow(ctx, snap, s), snap.Close())
	if err != nil {
		return Audit{}, fmt.Errorf("audit: %w", err)
	}
	return a, nil
}

func (a *Audit) countOutputs(ctx context.Context, r kv.Reader) error {
	return kv.Each(r, []byte{keyCoin}, []byte{keyCoin + 1}, false, func(_, v []byte) (bool, error) {
		c, err := decodeCoin(Address{}, v)
		if err != nil {
			return false, err
		}
		if a.Unspent+c.amount < a.Unspent {
			return false, errors.New("the unspent outputs add up to more than 64 bits")
		}
		a.Outputs++
		a.Unspent += c.amount
		if a.Outputs%auditStride == 0 {
			return true, ctx.Err()
		}
		return true, nil
	})
}

func (a *Audit) countEscrow(ctx context.Context, r kv.Reader, s *State) error {
	var held []TxID
	err := r.Scan([]byte{keyOpen}, []byte{keyOpen + 1}, false, func(key, _ []byte) bool {
		held = append(held, TxID(key[1:]))
		return true
	})
	if err != nil {
		return err
	}
	a.Open = uint64(len(held))
	for i, id := range held {
		if i%auditStride == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		part, ok, err := readPart(r, id, s.cfg.Shard)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("the record of transaction %s is missing", id)
		}
		if part.Stage != StageEscrow {
			continue
		}
		raw, _, err := r.Get(append([]byte{keyOpen}, id[:]...))
		if err != nil {
			return err
		}
		tx, err := DecodeTx(raw)
		if err != nil {
			return fmt.Errorf("the record of transaction %s is damaged: %w", id, err)
		}
		a.Escrow += declared(tx, s.cfg.Home, s.cfg.Shard)
	}
	return nil
}
