package workload

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/appends"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// appending is the clients of a log. Each request has several payloads, which no other request has, but for those with an
// id: a client brings these again, to any replica, as after a lost answer.
type appending struct {
	w      *Workload
	s      *machine.Shard
	number int        // of requests so far
	again  [][]string // payloads with ids of earlier requests
}

func (x *appending) load(rate float64, until protocols.Time) {
	if rate == 0 {
		return
	}
	x.s.Repeat(time.Duration(float64(time.Second)/rate), func() {
		if x.s.Now() < until {
			x.appendSome()
		}
	})
}

// appendSome brings one request to one replica.
func (x *appending) appendSome() {
	rng := x.s.Rand
	n := x.s.Machines[rng.IntN(len(x.s.Machines))]
	var payloads []string
	identified := rng.IntN(4) == 0
	if identified && len(x.again) > 0 && rng.IntN(2) == 0 {
		recent := min(1+rng.IntN(4), len(x.again))
		payloads = x.again[len(x.again)-recent]
	} else {
		x.number++
		for i := range 1 + rng.IntN(6) {
			payloads = append(payloads, fmt.Sprintf("%d.%d", x.number, i))
		}
		if identified {
			x.again = append(x.again, payloads)
		}
	}
	if n.Alive() {
		x.bring(n, payloads, identified)
	}
}

func (x *appending) bring(n *machine.Machine, payloads []string, identified bool) {
	rng := x.s.Rand
	var raw []byte
	for _, p := range payloads {
		var id []byte
		if identified {
			id = fmt.Appendf(nil, "%-32s", p)
		}
		raw = ledger.AppendOpaque(raw, id, []byte(p))
		x.w.checks.Offered(p, identified)
	}
	entries, err := ledger.ReadOpaque(raw)
	if err != nil {
		panic(err) // they were encoded above
	}
	stage := []admission.Stage{admission.Logged, admission.Ordered, admission.Certified}[rng.IntN(3)]
	life, a := n.Life(), machine.Appends(n)
	var r *appends.Request
	over := false
	end := func() {
		if over || n.Life() != life {
			return // a crash ended the request
		}
		over = true
		x.answered(n, payloads, a.Close(r))
	}
	r = appends.NewRequest(admission.Party(fmt.Sprintf("client %d", x.number%3)), entries, stage, func() { x.s.After(0, end) })
	n.Do(func() {
		if !a.Open(r) {
			panic("a request of a few bytes has no room")
		}
	})
	leave := 20 * time.Second
	if rng.IntN(8) == 0 { // the client leaves early
		leave = x.s.Between(0, 100*time.Millisecond)
	}
	x.s.After(leave, end)
}

// answered records the answer to a request.
func (x *appending) answered(n *machine.Machine, payloads []string, r appends.Result) {
	x.w.Shards[n.Shard()].Trace.Add(x.w.Now(), "appended", int(n.ID()), -1, nil, fmt.Sprintf("%s: %+v", payloads[0], r))
	if !n.Honest() {
		return
	}
	for _, p := range payloads[:r.Accepted] {
		x.w.checks.Kept(n, p)
	}
	first := make(map[int]ledger.LogPlace)
	for _, again := range r.Repeated {
		first[again.Index] = again.Of
	}
	for _, p := range r.Placed {
		for i := range p.Count {
			at := p.At
			at.Position += uint32(i)
			if of, ok := first[p.Index+i]; ok {
				at = of
			}
			x.w.checks.Placed(n, payloads[p.Index+i], at)
		}
	}
}
