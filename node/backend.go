package node

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"syscall"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/engine"
	"bdtnode/node/foreign"
	"bdtnode/node/replica"
)

// backend implements the client API with the parts of the node.
type backend struct{ *Node }

var stages = map[api.Wait]engine.Stage{
	api.WaitAccepted:  engine.Logged,
	api.WaitOrdered:   engine.Ordered,
	api.WaitCertified: engine.Certified,
	api.WaitSettled:   engine.Final,
}

// Account implements [api.Backend].
func (b backend) Account(ctx context.Context, addr ledger.Address, cursor string, limit int, older string, historyLimit int) (api.Account, error) {
	q := foreign.Account{Address: addr, Cursor: cursor, Limit: limit, Older: older, HistoryLimit: historyLimit}
	if home := b.home.Genesis.Home(addr); home != b.home.Shard {
		return b.foreign.Account(ctx, home, q)
	}
	return b.accountHere(&q)
}

// accountHere reads an account of this shard.
func (b backend) accountHere(q *foreign.Account) (api.Account, error) {
	a, err := b.state.Account(q.Address, ledger.Page{Cursor: q.Cursor, Limit: q.Limit, Older: q.Older, HistoryLimit: q.HistoryLimit})
	if errors.Is(err, ledger.ErrBadCursor) {
		err = fmt.Errorf("%w: %w", api.ErrBadCursor, err)
	}
	if err != nil {
		return api.Account{}, err
	}
	out := api.Account{
		Address: q.Address, Shard: b.home.Shard, Height: a.Height, Changed: api.Change(a.Changed), Balance: a.Balance, Count: a.Count,
		Outputs: make([]api.Output, 0, len(a.Outputs)), Next: a.Next, Older: a.Older, PrunedBelow: a.PrunedBelow,
	}
	for _, u := range a.Outputs {
		out.Outputs = append(out.Outputs, api.Output{Tx: u.Outpoint.Tx, Index: u.Outpoint.Index, Amount: u.Amount})
	}
	for _, h := range a.History {
		out.History = append(out.History, api.HistoryEntry{
			Tx: h.Tx, Height: h.Height, TimeMS: h.TimeMS, Received: h.Received, Spent: h.Spent,
		})
	}
	return out, nil
}

// Block implements [api.Backend].
func (b backend) Block(ctx context.Context, shard uint16, height uint64) (api.Block, error) {
	if int(shard) >= len(b.home.Genesis.Shards) {
		return api.Block{}, fmt.Errorf("shard %d: the network has shards 0 to %d: %w", shard, len(b.home.Genesis.Shards)-1, api.ErrNotFound)
	}
	if shard != b.home.Shard {
		return b.foreign.Block(ctx, shard, height)
	}
	return b.blockHere(height)
}

// blockHere reads a block of this shard.
func (b backend) blockHere(height uint64) (api.Block, error) {
	h, ok, err := b.chain.Header(height)
	if err != nil {
		return api.Block{}, err
	}
	if !ok {
		return api.Block{}, fmt.Errorf("block %d: the last executed block is %d: %w", height, b.chain.Height(), api.ErrNotFound)
	}
	var txs []ledger.TxID
	if b.state != nil {
		txs, _, err = b.state.BlockTxs(height)
		if gone := (*ledger.Pruned)(nil); errors.As(err, &gone) {
			return api.Block{}, fmt.Errorf("block %d: %w: %w", height, err, api.ErrNotFound)
		}
		if err != nil {
			return api.Block{}, err
		}
	}
	cert, err := replica.Certificate(b.consensus, height)
	if err != nil {
		return api.Block{}, err
	}
	out := api.Block{
		Shard: b.home.Shard, Height: height, HeaderHash: h.Digest().String(), Header: base64.StdEncoding.EncodeToString(h.Encode()),
		Parent: h.Parent.String(), Block: h.Block.String(), Epoch: h.Epoch, Slot: h.Slot, TimeMS: h.TimeMS,
		TxRoot: h.TxRoot.String(), Receipts: h.Receipts.String(), WriteSet: h.WriteSet.String(),
		Signers: []uint16{}, Txs: txs,
	}
	if cert != nil {
		out.Certified = true
		for _, i := range cert.Certificate.Signers.Members() {
			out.Signers = append(out.Signers, uint16(i))
		}
	}
	return out, nil
}

// Status implements [api.Backend].
func (b backend) Status() api.Status {
	s := b.engine.Status()
	h, d, _ := b.chain.Tip()
	out := api.Status{
		Version: b.version, Network: b.committee.Network().String(), NetworkName: b.home.Genesis.Name,
		Consensus: b.home.Genesis.Consensus, Ledger: b.home.Genesis.Parameters.Ledger, HorizonMS: b.home.Genesis.HorizonMS, LeastFee: b.home.Genesis.Parameters.LeastFee,
		Shard: b.home.Shard, Shards: len(b.home.Genesis.Shards),
		Replica: uint16(b.home.Replica), Replicas: b.committee.N(), Faulty: b.committee.F(), PeerID: b.net.PeerID(),
		Epoch: s.Epoch, Leader: uint16(s.Leader), Height: h.Height, Certified: s.Certified, HeaderDigest: d.String(),
		BlockTimeMS: h.TimeMS, TxsOrdered: h.Txs, BookSize: b.engine.Holding().Mempool, ConnectedPeer: b.net.ReadyPeers(),
		UptimeSeconds: time.Since(b.started).Seconds(), CPUSeconds: cpuSeconds(), Syncs: b.syncs(),
		LatencyMS: b.engine.Latency().Seconds() * 1000,
	}
	r := b.read()
	out.NotReady, out.Degraded = r.notReady(), r.degraded()
	out.Ready = out.NotReady == ""
	out.Answering, out.ClockOffsetMS = r.answering, r.clockOffset.Milliseconds()
	if r.waited > 0 {
		out.WaitingMS = max(1, r.waited.Milliseconds())
	}
	return out
}

// Peers implements [api.Backend].
func (b backend) Peers() []api.Peer {
	var out []api.Peer
	presence := b.engine.Presence()
	for _, p := range b.net.Peers() {
		q := api.Peer{
			Shard: p.Shard, Replica: uint16(p.Index), PeerID: p.ID, Self: p.Self, Connected: p.Connected,
			Addresses: p.Addrs, RTTMicros: p.RTT.Microseconds(),
		}
		switch {
		case p.Self:
			q.Height, q.Answers = b.chain.Height(), presence.LoopRuns
		case p.Shard == b.home.Shard:
			q.Height = b.engine.PeerHeight(p.Index)
			q.Answers = presence.Answers(p.Index, presence.Now)
			if c := presence.Peers[p.Index]; q.Answers && c.Compared {
				q.ClockMS = c.Ahead.Milliseconds()
			}
		}
		if q.Addresses == nil {
			q.Addresses = []string{}
		}
		out = append(out, q)
	}
	return out
}

// Events implements [api.Backend].
func (b backend) Events(q api.EventQuery) (api.EventStream, error) {
	if b.log != nil && len(q.Accounts) > 0 {
		return nil, fmt.Errorf("%w: the network orders opaque payloads (ledger log) and has no accounts", api.ErrBadQuery)
	}
	return b.events.Open(q)
}

// commits returns the newest commits above a height, oldest first.
func (n *Node) commits(after uint64) []api.Commit {
	var out []api.Commit
	for _, c := range n.engine.Commits(after) {
		out = append(out, api.Commit{Height: c.Height, CommitEvent: api.CommitEvent{
			Epoch: c.Epoch, Leader: uint16(c.Leader), AtUS: c.At.UnixMicro(), WaitedUS: c.Waited.Microseconds(),
		}})
	}
	return out
}

// Audit implements [api.Backend].
func (b backend) Audit(ctx context.Context) (api.Audit, error) {
	a, err := b.state.Audit(ctx)
	if err != nil {
		return api.Audit{}, err
	}
	return api.Audit{
		Shard: b.home.Shard, Height: a.Height, HeaderDigest: a.HeaderDigest.String(), Outputs: a.Outputs,
		Unspent: a.Unspent, Escrow: a.Escrow, Open: a.Open, Burned: a.Burned, Gained: a.Gained, Ceded: a.Ceded,
		Genesis: a.Genesis, Conserved: a.Conserved(),
	}, nil
}

func (n *Node) syncs() uint64 { return n.consensus.Syncs() + n.ledgerKV.Syncs() }

// cpuSeconds is the processor time that this process has used, user and system; 0 if it cannot be read.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

var _ api.Backend = backend{}
