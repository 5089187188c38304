package machine

import (
	"encoding/json"

	"bdtnode/node/foreign"
	"bdtnode/node/sim/adversary"
)

// AnswerCall is the reply to a call of another shard about a transaction. A Byzantine replica invents it.
func (n *Machine) AnswerCall(raw []byte) (reply []byte) {
	var c foreign.Call
	if err := json.Unmarshal(raw, &c); err != nil {
		panic(err) // the clients of a run make well-formed calls
	}
	id := c.Tx.ID
	if !n.Guarded() {
		return foreign.EncodeReply(adversary.InventedTx(n.s.Number, id), nil)
	}
	p, known := n.Find(id)
	part, has, err := n.state.Part(id)
	must(err)
	own := &part
	if !has {
		own = nil
	}
	a, _ := foreign.Own(n.s.Number, id, p, known, own)
	return foreign.EncodeReply(a, nil)
}
