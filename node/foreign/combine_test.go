package foreign

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"bdtnode/node/api"
)

// of is a shard's answer about a transaction with inputs in shard 0 and outputs in shards 0, 1 and 2. rejects are the
// shards whose rejections it knows.
func of(shard uint16, state api.State, stage string, rejects ...uint16) api.TxAnswer {
	a := api.TxAnswer{ID: id, Shard: shard, State: state, Height: 4, Inputs: []uint16{0}, Outputs: []uint16{0, 1, 2}}
	a.Parts = []api.Part{{Shard: shard, Stage: stage}}
	for _, s := range rejects {
		a.Parts[0].Verdicts = append(a.Parts[0].Verdicts, api.PartVerdict{Shard: s, Verdict: "rejected", Reason: "consumed"})
	}
	if state == api.StateRejected {
		a.Reason = "consumed"
	}
	return a
}

func TestCombine(t *testing.T) {
	row := func(a api.TxAnswer) Row { return Row{Shard: a.Shard, Answer: a} }
	nothing := func(s uint16) Row {
		return Row{Shard: s, Answer: api.TxAnswer{ID: id, Shard: s, State: api.StateUnknown}}
	}
	out, unsure := Row{Shard: 2, Unreachable: true}, Row{Shard: 2, Unconfirmed: true}
	own := func(a api.TxAnswer) *api.TxAnswer { return &a }
	here := of(0, api.StateSettled, "settled")
	inside := api.TxAnswer{ID: id, Shard: 1, State: api.StateSettled, Height: 4}
	for name, x := range map[string]struct {
		own    *api.TxAnswer
		rows   []Row
		state  api.State
		stages []string // stages of shards 0, 1 and 2
		reason string
		unsure bool
		err    error
	}{
		"settled in all":              {own(here), []Row{row(of(1, api.StateSettled, "settled")), row(of(2, api.StateSettled, "settled"))}, api.StateSettled, []string{"settled", "settled", "settled"}, "", false, nil},
		"one output shard pending":    {own(here), []Row{row(of(1, api.StateSettled, "settled")), row(of(2, api.StateOrdered, "pending"))}, api.StateOrdered, []string{"settled", "settled", "pending"}, "", false, nil},
		"unknown to an output shard":  {own(here), []Row{row(of(1, api.StateSettled, "settled")), nothing(2)}, api.StateOrdered, []string{"settled", "settled", "pending"}, "", false, nil},
		"output shard is unreachable": {own(here), []Row{row(of(1, api.StateSettled, "settled")), out}, api.StateOrdered, []string{"settled", "settled", "unreachable"}, "", false, nil},
		"replicas there disagree":     {own(here), []Row{row(of(1, api.StateSettled, "settled")), unsure}, api.StateOrdered, []string{"settled", "settled", "unconfirmed"}, "", false, nil},
		"spent only":                  {own(of(0, api.StateOrdered, "escrow")), []Row{nothing(1), nothing(2)}, api.StateOrdered, []string{"escrow", "pending", "pending"}, "", false, nil},
		"asked elsewhere": {nil, []Row{row(here), row(of(1, api.StateSettled, "settled")), row(of(2, api.StateSettled, "settled"))},
			api.StateSettled, []string{"settled", "settled", "settled"}, "", false, nil},
		"asked elsewhere, one unreachable": {nil, []Row{row(here), row(of(1, api.StateSettled, "settled")), out},
			api.StateOrdered, []string{"settled", "settled", "unreachable"}, "", false, nil},
		"rejected here": {own(of(0, api.StateRejected, "rejected", 0)), []Row{nothing(1), out}, api.StateRejected, []string{"rejected", "pending", "unreachable"}, "consumed", false, nil},
		"rejected there": {own(of(0, api.StateOrdered, "escrow")), []Row{row(of(1, api.StateRejected, "rejected", 1)), nothing(2)},
			api.StateRejected, []string{"escrow", "rejected", "pending"}, "consumed", false, nil},
		"a contradiction": {own(here), []Row{row(of(1, api.StateSettled, "settled", 0)), row(of(2, api.StateSettled, "settled"))},
			api.StateOrdered, []string{"settled", "settled", "settled"}, "", true, nil},
		"inside one shard":         {own(api.TxAnswer{ID: id, State: api.StateSettled, Height: 4}), nil, api.StateSettled, nil, "", false, nil},
		"inside another":           {nil, []Row{row(inside), nothing(2)}, api.StateSettled, nil, "", false, nil},
		"in this mempool":          {own(api.TxAnswer{ID: id, State: api.StateAccepted}), []Row{nothing(1), out}, api.StateAccepted, nil, "", false, nil},
		"in a mempool elsewhere":   {nil, []Row{nothing(1), {Shard: 2, Accepted: true}}, api.StateAccepted, nil, "", true, nil},
		"unknown everywhere":       {nil, []Row{nothing(1), nothing(2)}, "", nil, "", false, api.ErrNotFound},
		"unknown, one unreachable": {nil, []Row{nothing(1), out}, "", nil, "", false, api.ErrUnavailable},
	} {
		a, err := Combine(id, x.own, x.rows)
		var stages []string
		for i, p := range a.Parts {
			if int(p.Shard) != i {
				t.Errorf("%s: row %d is of shard %d", name, i, p.Shard)
			}
			stages = append(stages, p.Stage)
		}
		if a.State != x.state || !slices.Equal(stages, x.stages) || a.Reason != x.reason || a.Unconfirmed != x.unsure || !errors.Is(err, x.err) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestInvolved(t *testing.T) {
	own := of(1, api.StateSettled, "settled")
	own.Outputs = []uint16{1, 3}
	for name, x := range map[string]struct {
		own  *api.TxAnswer
		want []uint16
	}{
		"no data":          {nil, []uint16{0, 2, 3}},
		"in the mempool":   {&api.TxAnswer{State: api.StateAccepted}, []uint16{0, 2, 3}},
		"inside one shard": {&api.TxAnswer{State: api.StateSettled, Height: 3}, nil},
		"between three":    {&own, []uint16{0, 3}},
	} {
		if got := Involved(1, 4, x.own); !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}
