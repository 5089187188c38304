package foreign

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
)

// behaviour is the reaction of a replica of the other shard to a call: a result or an error. A silent replica answers
// when ctx ends.
type behaviour func(ctx context.Context, c Call) (any, error)

var errAway = errors.New("not connected")

// away is a replica without a connection, silent one that does not answer.
func away(context.Context, Call) (any, error) { return nil, errAway }

func silent(ctx context.Context, _ Call) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// always gives the same answer to every call.
func always(v any) behaviour { return func(context.Context, Call) (any, error) { return v, nil } }

func fails(err error) behaviour { return func(context.Context, Call) (any, error) { return nil, err } }

// otherShard is shard 1, with a behaviour for each replica.
type otherShard struct {
	t        testing.TB
	replicas []behaviour

	mu    sync.Mutex
	calls int
	most  int // size of the largest call, in bytes
}

func (o *otherShard) Call(ctx context.Context, shard uint16, to protocols.Index, raw []byte, most int64) ([]byte, error) {
	o.mu.Lock()
	o.calls++
	o.most = max(o.most, len(raw))
	o.mu.Unlock()
	var c Call
	if err := json.Unmarshal(raw, &c); err != nil || shard != 1 {
		o.t.Errorf("a call to shard %d: %v", shard, err)
	}
	v, err := o.replicas[to](ctx, c)
	if errors.Is(err, errAway) || ctx.Err() != nil {
		return nil, err
	}
	return EncodeReply(v, err), nil
}

// reader asks a shard with one replica for each behaviour, beginning with the first.
func reader(t testing.TB, replicas ...behaviour) (*Reader, *otherShard) {
	t.Helper()
	c := committeetest.Ideal(t, sig.NewIdeal(1), 0, len(replicas), digest.Of("test"), 1)
	o := &otherShard{t: t, replicas: replicas}
	return NewReader(protocols.Index(len(replicas)-1), []*protocols.Committee{nil, c}, o), o
}

// waits returns the context of a request that may wait for d.
func waits(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

var (
	owner = ledger.Address{7}
	id    = ledger.TxID{9}
)

// account is the answer of an honest replica at a height about owner.
func account(balance, changed, height uint64) api.Account {
	return api.Account{Address: owner, Shard: 1, Height: height, Changed: api.Change{Height: changed, Position: changed},
		Balance: balance, Count: 1, Outputs: []api.Output{{Tx: id, Amount: balance}}}
}
