package adversary

import (
	"bdtnode/ledger"
	"bdtnode/node/api"
)

// inventedHeight is the height in all invented answers. No run comes to it.
const inventedHeight = 1 << 40

// InventedTx is the answer that each Byzantine replica gives to other shards about a transaction. All give the same one, so that
// their answers count together.
func InventedTx(shard uint16, id ledger.TxID) api.TxAnswer {
	return api.TxAnswer{
		ID: id, Shard: shard, State: api.StateSettled, Height: inventedHeight,
		Parts: []api.Part{{Shard: shard, Stage: ledger.StageSettled.String(), Height: inventedHeight}},
	}
}
