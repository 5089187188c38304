package workload

import (
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/foreign"
	"bdtnode/node/quorum"
	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

// askEvery is the time between two questions of the clients of a run.
const askEvery = time.Second

// questions are the questions of clients to their replica about transactions in another shard. The replica asks replicas of
// that shard as a process does. The questions have random numbers and delays of their own, and change nothing in the run:
// it has the same trace with and without them.
type questions struct {
	w       *Workload
	draw    draw.Source
	readers map[*machine.Machine]*foreign.Reader
}

func newQuestions(w *Workload) *questions {
	return &questions{w: w, draw: draw.New(w.cfg.Seed, 0, "questions", 0), readers: make(map[*machine.Machine]*foreign.Reader)}
}

// repeat asks from time to time, until some time.
func (x *questions) repeat(until protocols.Time) {
	x.w.After(askEvery, func() {
		if x.w.Now() < until {
			x.ask()
			x.repeat(until)
		}
	})
}

// ask asks a replica for a recent transaction in another shard that the transaction involves.
func (x *questions) ask() {
	sent, shards := x.w.across.sent, x.w.Shards
	if len(sent) == 0 {
		return
	}
	tx := sent[max(0, len(sent)-1-x.draw.IntN(60))]
	involved := tx.Shards(x.w.Peers.Home).All().Members()
	shard := involved[x.draw.IntN(len(involved))]
	home := shards[(int(shard)+1+x.draw.IntN(len(shards)-1))%len(shards)]
	n := home.Machines[x.draw.IntN(len(home.Machines))]
	if !n.Alive() || !n.Honest() {
		return
	}
	q, asks := x.reader(n).AskTx(x.w.Now(), shard, tx.ID())
	a := &asking{TxQuestion: q, x: x, n: n, life: n.Life(), shard: shard, id: tx.ID()}
	a.send(asks)
}

// reader is the reader of other shards of a replica.
func (x *questions) reader(n *machine.Machine) *foreign.Reader {
	r := x.readers[n]
	if r == nil {
		committees := make([]*protocols.Committee, len(x.w.Shards))
		for i, s := range x.w.Shards {
			committees[i] = s.Committee
		}
		r = foreign.NewReader(n.ID(), committees, nil)
		x.readers[n] = r
	}
	return r
}

// delay is the time of a message to another shard.
func (x *questions) delay() time.Duration {
	return time.Duration(x.draw.Float(0.5, 1.5) * float64(x.w.CrossShard.Delay))
}

// asking is a question in progress.
type asking struct {
	*foreign.TxQuestion
	x     *questions
	n     *machine.Machine
	life  int // of n
	shard uint16
	id    ledger.TxID
	ended bool
}

// send sends calls to replicas, and sets the timer of the question.
func (a *asking) send(asks []quorum.Ask) {
	if a.ended = a.ended || a.n.Life() != a.life; a.ended {
		return
	}
	if a.Done() {
		a.ended = true
		a.tell()
		return
	}
	w := a.x.w
	for _, k := range asks {
		to := w.Shards[a.shard].Machines[k.To]
		w.After(a.x.delay(), func() {
			if !to.Alive() {
				return
			}
			reply := to.AnswerCall(a.Call())
			w.After(a.x.delay(), func() {
				if !a.ended {
					a.send(a.Reply(w.Now(), k, reply))
				}
			})
		})
	}
	wake := a.Wake()
	w.At(wake, func() {
		if !a.ended && a.Wake() == wake {
			a.send(a.Tick(w.Now()))
		}
	})
}

// tell gives the result to the checks, if it states a receipt.
func (a *asking) tell() {
	row := a.Row()
	if row.Unreachable || row.Unconfirmed || row.Answer.Height == 0 {
		return
	}
	a.x.w.checks.Told(a.n, a.shard, a.id, row.Answer.State == api.StateSettled, row.Answer.Height)
}
