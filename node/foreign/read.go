package foreign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/quorum"
	"bdtnode/protocols"
)

// Account reads an account of another shard. Replicas agree if they report the same account and the same last change,
// at any heights; the answer has the lowest of these heights. If too few agree, because the account keeps changing or
// replicas do not answer, the result is the answer of the most replicas, marked as unconfirmed.
func (r *Reader) Account(ctx context.Context, shard uint16, c Account) (api.Account, error) {
	answers := newAnswerSet(func(first, further *api.Account) { first.Height = min(first.Height, further.Height) })
	q := question[api.Account]{
		Config: r.reading(shard), shard: shard, most: mostAnswer,
		call: func(time.Duration) []byte { return encode(Call{Account: &c}) },
		read: func(_ protocols.Index, a *api.Account, err error) ([]quorum.Key, error) {
			if err != nil {
				return refused(err)
			}
			if a.Address != c.Address || a.Shard != shard || a.Height < a.Changed.Height {
				return nil, fmt.Errorf("an answer about %s of shard %d at height %d, changed at %d", a.Address, a.Shard, a.Height, a.Changed.Height)
			}
			a.Unconfirmed = false
			same := *a
			same.Height = 0
			key := keyOf(same)
			answers.note(0, key, a)
			return []quorum.Key{key}, nil
		},
	}
	h := askShard(ctx, r, q, readTime)
	a, ok, err := result(&h, shard, answers)
	if err != nil {
		return api.Account{}, err
	}
	a.Unconfirmed = !ok
	return *a, nil
}

// Block reads a block of another shard. Its certificate is not compared, because replicas hold different ones. Signers
// of the result are those that all agreeing replicas list.
func (r *Reader) Block(ctx context.Context, shard uint16, height uint64) (api.Block, error) {
	answers := newAnswerSet(func(first, further *api.Block) {
		first.Certified = first.Certified && further.Certified
		first.Signers = intersection(first.Signers, further.Signers)
	})
	q := question[api.Block]{
		Config: r.reading(shard), shard: shard, most: mostBlock,
		call: func(time.Duration) []byte { return encode(Call{Block: &Block{height}}) },
		read: func(_ protocols.Index, b *api.Block, err error) ([]quorum.Key, error) {
			if err != nil {
				return refused(err)
			}
			if b.Shard != shard || b.Height != height {
				return nil, fmt.Errorf("an answer about block %d of shard %d", b.Height, b.Shard)
			}
			same := *b
			same.Certified, same.Signers = false, nil
			key := keyOf(same)
			answers.note(0, key, b)
			return []quorum.Key{key}, nil
		},
	}
	h := askShard(ctx, r, q, readTime)
	b, ok, err := result(&h, shard, answers)
	if err == nil && !ok {
		err = h.unavailable(shard)
	}
	if err != nil {
		return api.Block{}, err
	}
	return *b, nil
}

func intersection(a, b []uint16) []uint16 {
	out := []uint16{}
	for _, x := range a {
		for _, y := range b {
			if x == y {
				out = append(out, x)
			}
		}
	}
	return out
}

var errSilent = errors.New("no answer")

// Proof reads a shard's part of the proof of a transaction. check decides whether an answer is such a part. The first one
// counts, because a part proves itself.
func (r *Reader) Proof(ctx context.Context, shard uint16, id ledger.TxID, check func(part []byte) error) ([]byte, error) {
	var part []byte
	q := question[[]byte]{
		Config: r.reading(shard), shard: shard, most: mostAnswer,
		call: func(time.Duration) []byte { return encode(Call{Proof: &Proof{id}}) },
		read: func(_ protocols.Index, a *[]byte, err error) ([]quorum.Key, error) {
			if err == nil {
				err = check(*a)
			}
			if err != nil {
				return nil, err
			}
			part = *a
			return []quorum.Key{"proof"}, nil
		},
	}
	q.Need = 1
	h := askShard(ctx, r, q, readTime)
	if part == nil {
		return nil, fmt.Errorf("no replica of shard %d gave the shard's part of the proof: %w (%w)", shard, api.ErrUnavailable, cmp.Or(h.last, ctx.Err(), errSilent))
	}
	return part, nil
}

// Row is the data about a transaction in another shard.
type Row struct {
	Shard       uint16
	Unreachable bool // no replica answers
	Unconfirmed bool // replicas answer, but too few agree
	// Accepted means that replicas, possibly fewer than f+1, have the transaction in their mempools. It is only a hint,
	// because replicas need not agree about a transaction that is not ordered.
	Accepted bool
	Answer   api.TxAnswer // its state is unknown if the shard has not ordered the transaction
}

// Tx asks a shard for its part of a transaction. Replicas agree if receipt, stage and verdicts are equal. f+1 equal
// final answers decide. If the part is not final, some replicas may already be further: then all replicas are asked,
// and f+1 equal answers that are not final count only if no final answer has f+1.
func (r *Reader) Tx(ctx context.Context, shard uint16, id ledger.TxID) Row {
	q, row := r.txQuestion(shard, id)
	h := askShard(ctx, r, q, readTime)
	return row(&h)
}

// txQuestion is the question of [Reader.Tx], and its result once it has ended.
func (r *Reader) txQuestion(shard uint16, id ledger.TxID) (q question[api.TxAnswer], end func(h *outcome) Row) {
	row := Row{Shard: shard, Answer: api.TxAnswer{ID: id, Shard: shard, State: api.StateUnknown}}
	answers := newAnswerSet(func(first, further *api.TxAnswer) { first.Certified = first.Certified && further.Certified })
	open := make(map[protocols.Index]quorum.Key) // latest answers that are not final, by replica
	q = question[api.TxAnswer]{
		Config: r.reading(shard), shard: shard, most: mostAnswer,
		call: func(time.Duration) []byte { return encode(Call{Tx: &Tx{id}}) },
		read: func(from protocols.Index, a *api.TxAnswer, err error) ([]quorum.Key, error) {
			if err != nil {
				return nil, err
			}
			if a.ID != id || a.Shard != shard || len(a.Parts) > 1 || len(a.Parts) == 1 && a.Parts[0].Shard != shard {
				return nil, fmt.Errorf("an answer about transaction %s in shard %d", a.ID, a.Shard)
			}
			if a.Height == 0 && len(a.Parts) == 0 && a.State != api.StateRejected {
				row.Accepted = row.Accepted || a.State == api.StateAccepted
				*a = api.TxAnswer{ID: id, Shard: shard, State: api.StateUnknown}
			}
			same := *a
			same.Certified = false
			key := keyOf(same)
			answers.note(0, key, a)
			if a.State != api.StateSettled && a.State != api.StateRejected {
				open[from] = key
				return []quorum.Key{""}, nil
			}
			return []quorum.Key{key}, nil
		},
	}
	return q, func(h *outcome) Row {
		a, ok, _ := result(h, shard, answers)
		if !ok {
			a, ok = openAnswer(open, answers, q.Need)
		}
		switch {
		case ok:
			row.Answer = *a
		case h.Heard() == 0:
			row.Unreachable = true
		default:
			row.Unconfirmed = true
		}
		return row
	}
}

// openAnswer returns the answer, not final, that at least need replicas gave last. Of several it returns that with the
// latest block.
func openAnswer(open map[protocols.Index]quorum.Key, answers *answerSet[api.TxAnswer], need int) (latest *api.TxAnswer, ok bool) {
	count := make(map[quorum.Key]int)
	for _, key := range open {
		if count[key]++; count[key] < need {
			continue
		}
		if a := answers.by[itemKey{0, key}]; latest == nil || noted(a) > noted(latest) {
			latest = a
		}
	}
	return latest, latest != nil
}

// noted is the height of the last block that an answer contains.
func noted(a *api.TxAnswer) uint64 {
	height := a.Height
	for i := range a.Parts {
		height = max(height, a.Parts[i].Height)
		for k := range a.Parts[i].Verdicts {
			height = max(height, a.Parts[i].Verdicts[k].Height)
		}
	}
	return height
}
