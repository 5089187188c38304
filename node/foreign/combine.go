package foreign

import (
	"fmt"
	"slices"

	"bdtnode/ledger"
	"bdtnode/node/api"
)

// Involved lists the other shards to ask about a transaction, of which this shard knows own (nil if it knows nothing):
// the shards with a part in it, or all others if this shard has no part and cannot name them.
func Involved(self uint16, shards int, own *api.TxAnswer) []uint16 {
	if own != nil && len(own.Parts) == 0 && own.Height > 0 {
		return nil // all of it is in this shard
	}
	var out []uint16
	for s := range uint16(shards) {
		if s != self && (own == nil || len(own.Parts) == 0 || slices.Contains(own.Inputs, s) || slices.Contains(own.Outputs, s)) {
			out = append(out, s)
		}
	}
	return out
}

// Combine combines the answers of this shard and of others about a transaction. The result has a row for every shard
// with a part in it, also if the part is not known. It is settled if its outputs are known to exist in every shard in
// which it creates some, and rejected if an input shard is known to have rejected it. Otherwise it has the state that
// has been seen, at most ordered.
func Combine(id ledger.TxID, own *api.TxAnswer, rows []Row) (api.TxAnswer, error) {
	base := own
	complete := true
	for i := range rows {
		r := &rows[i]
		complete = complete && !r.Unreachable && !r.Unconfirmed
		if r.known() && (base == nil || base.Height == 0 && r.Answer.Height > 0) {
			base = &r.Answer
		}
	}
	if base == nil {
		if i := slices.IndexFunc(rows, func(r Row) bool { return r.Accepted }); i >= 0 {
			return api.TxAnswer{ID: id, State: api.StateAccepted, Shard: rows[i].Shard, Unconfirmed: true}, nil
		}
	}
	switch {
	case base == nil && complete:
		return api.TxAnswer{}, fmt.Errorf("transaction %s: %w", id, api.ErrNotFound)
	case base == nil:
		return api.TxAnswer{}, fmt.Errorf("transaction %s: no shard that answers has it: %w", id, api.ErrUnavailable)
	}
	out := *base
	out.Parts, out.Inputs, out.Outputs = nil, nil, nil
	all := rows
	if own != nil {
		all = append([]Row{{Shard: own.Shard, Answer: *own}}, rows...)
	}
	for i := range all {
		if r := &all[i]; r.known() {
			out.Inputs, out.Outputs = union(out.Inputs, r.Answer.Inputs), union(out.Outputs, r.Answer.Outputs)
		}
	}
	if len(out.Inputs) == 0 {
		return out, nil // all of it is in one shard, or no shard has ordered it
	}
	for _, s := range union(out.Inputs, out.Outputs) {
		out.Parts = append(out.Parts, part(s, all))
	}
	conclude(&out)
	return out, nil
}

// known reports whether the shard has data about the transaction.
func (r *Row) known() bool {
	return !r.Unreachable && !r.Unconfirmed && r.Answer.State != "" && r.Answer.State != api.StateUnknown
}

// part is the row of a shard in the answer.
func part(shard uint16, rows []Row) api.Part {
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Shard != shard:
		case r.Unreachable:
			return api.Part{Shard: shard, Stage: api.StageUnreachable}
		case r.Unconfirmed:
			return api.Part{Shard: shard, Stage: api.StageUnconfirmed}
		case len(r.Answer.Parts) == 1:
			return r.Answer.Parts[0]
		default: // the shard has no data about the transaction
			return api.Part{Shard: shard, Stage: ledger.StagePending.String()}
		}
	}
	return api.Part{Shard: shard, Stage: api.StageUnreachable} // the shard was not asked
}

// conclude sets the state of a transaction between shards from its parts.
func conclude(a *api.TxAnswer) {
	settled := true
	var rejection *api.PartVerdict
	for i := range a.Parts {
		p := &a.Parts[i]
		if slices.Contains(a.Outputs, p.Shard) && p.Stage != ledger.StageSettled.String() {
			settled = false
		}
		for k := range p.Verdicts {
			if v := &p.Verdicts[k]; v.Verdict == ledger.VerdictRejected.String() && rejection == nil {
				rejection = v
			}
		}
	}
	switch {
	case settled && rejection != nil:
		a.State, a.Reason, a.Detail, a.Unconfirmed = api.Seen(a.Certified), "", "", true
	case settled:
		a.State = api.StateSettled
	case rejection != nil && a.State != api.StateRejected:
		a.State, a.Reason, a.Detail = api.StateRejected, rejection.Reason, ""
	case rejection == nil && (a.State == api.StateSettled || a.State == api.StateRejected && a.Height > 0):
		a.State, a.Reason, a.Detail = api.Seen(a.Certified), "", ""
	}
}

func union(a, b []uint16) []uint16 {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}
