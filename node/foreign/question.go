package foreign

import (
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/quorum"
	"bdtnode/protocols"
)

// TxQuestion is a question of [Reader.Tx] without a clock and without a network: its caller sends the calls, and gives it the
// answers and the time.
type TxQuestion struct {
	outcome
	q   question[api.TxAnswer]
	end func(h *outcome) Row
}

// AskTx begins the question of [Reader.Tx]. It returns the replicas to ask.
func (r *Reader) AskTx(now protocols.Time, shard uint16, id ledger.TxID) (*TxQuestion, []quorum.Ask) {
	q, end := r.txQuestion(shard, id)
	q.Deadline = now.Add(readTime)
	m, asks := quorum.New(q.Config, now)
	return &TxQuestion{outcome{Machine: m}, q, end}, asks
}

// Call is the call to each replica that is asked.
func (x *TxQuestion) Call() []byte { return x.q.call(readTime) }

// Reply takes the reply of a replica to the call, and returns the replicas to ask next.
func (x *TxQuestion) Reply(now protocols.Time, a quorum.Ask, raw []byte) []quorum.Ask {
	return processAnswer(&x.outcome, &x.q, now, a, raw, nil)
}

// Row is the result, once the question is done.
func (x *TxQuestion) Row() Row { return x.end(&x.outcome) }
