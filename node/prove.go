package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/proof"
	"bdtnode/shard/prove"
	"bdtnode/shard/settlement"
)

// Bounds of the work for proofs: places for clients, and as many for replicas of other shards. A proof reads all receipts of
// a block or two, and the batches of one until it finds the transaction.
const (
	maxProofs = 2
	// proofRest is the time for which a place stays empty after a proof, as a multiple of the time that the proof took. So
	// the places of one kind together take half a processor at most.
	proofRest = 3
	proofWait = 2 * time.Second // time for which a request waits for a place
)

// proofs makes proofs of transactions.
type proofs struct {
	network *proof.Network
	shard   *shardBlocks
	clients chan struct{} // a place for each proof that is being made for a client
	peers   chan struct{} // the same for replicas of other shards
}

func newProofs(n *Node) (proofs, error) {
	raw, err := json.Marshal(n.home.Genesis)
	if err != nil {
		return proofs{}, fmt.Errorf("proofs: %w", err)
	}
	network, err := proof.ReadGenesis(raw)
	if err == nil && network.ID() != n.committee.Network() {
		err = fmt.Errorf("the genesis has the id %s, its proofs the id %x", n.committee.Network(), network.ID())
	}
	if err != nil {
		return proofs{}, fmt.Errorf("proofs: %w", err)
	}
	return proofs{
		network: network,
		shard: &shardBlocks{
			State: n.state, store: n.consensus, committee: n.committee, kinds: n.network.Kinds(n.home.Shard),
			genesis: bolt.Genesis(n.committee, n.home.Genesis.TimeMS, len(n.home.Genesis.Shards)),
		},
		clients: make(chan struct{}, maxProofs), peers: make(chan struct{}, maxProofs),
	}, nil
}

// part makes the own shard's part of a proof, in one of the places.
func (p *proofs) part(ctx context.Context, places chan struct{}, id ledger.TxID) (*proof.Proof, error) {
	ctx, cancel := context.WithTimeout(ctx, proofWait)
	defer cancel()
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("too many proofs are being made: %w", api.ErrUnavailable)
	}
	began := time.Now()
	defer func() { time.AfterFunc(proofRest*time.Since(began), func() { <-places }) }()
	return prove.Part(ctx, p.shard.committee, p.shard, id)
}

// Proof implements [api.Backend]. It takes the own shard's part from the stores, and the parts of the other shards from
// one replica of each. Each part is checked before it is used.
func (b backend) Proof(ctx context.Context, id ledger.TxID) ([]byte, error) {
	var parts []*proof.Proof
	own, err := b.proofs.part(ctx, b.proofs.clients, id)
	switch {
	case err == nil:
		parts = append(parts, own)
	case !errors.Is(err, prove.ErrNoReceipt):
		return nil, asAPI(err)
	}
	others, err := b.othersInvolved(ctx, own, id)
	if err != nil {
		return nil, err
	}
	further := make([]*proof.Proof, len(others))
	errs := make([]error, len(others))
	var wg sync.WaitGroup
	for i, s := range others {
		wg.Go(func() { further[i], errs[i] = b.foreignPart(ctx, s, id) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p := prove.Join(append(parts, further...))
	if _, err := p.Verify(b.proofs.network); err != nil {
		return nil, fmt.Errorf("the shards' parts about transaction %s make no proof: %w: %w", id, err, api.ErrUnavailable)
	}
	return p.Encode(), nil
}

// othersInvolved lists the other shards that a transaction involves: from the transaction in the own shard's part, or, if
// own is nil because this shard has no receipt, from the answers of the other shards.
func (b backend) othersInvolved(ctx context.Context, own *proof.Proof, id ledger.TxID) ([]uint16, error) {
	var out []uint16
	if own != nil {
		f, err := own.VerifyBlocks(b.proofs.network)
		if err != nil {
			return nil, fmt.Errorf("the own part of the proof of transaction %s: %w", id, err)
		}
		for i := range f.Shards {
			out = append(out, f.Shards[i].Shard)
		}
	} else {
		a, err := b.Tx(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case a.Height == 0 && a.State == api.StateRejected:
			return nil, fmt.Errorf("transaction %s was refused without a receipt (%s), so no block proves it: %w", id, a.Reason, api.ErrNotFound)
		case a.State != api.StateSettled && a.State != api.StateRejected:
			return nil, fmt.Errorf("transaction %s is %s: there is a proof once it is settled or rejected: %w", id, a.State, api.ErrNotFound)
		}
		out = append(append(out, a.Inputs...), a.Outputs...)
		if len(out) == 0 {
			out = []uint16{a.Shard}
		}
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return slices.DeleteFunc(out, func(s uint16) bool { return s == b.home.Shard }), nil
}

// foreignPart asks another shard for its part.
func (b backend) foreignPart(ctx context.Context, shard uint16, id ledger.TxID) (*proof.Proof, error) {
	var part *proof.Proof
	_, err := b.foreign.Proof(ctx, shard, id, func(raw []byte) error {
		p, err := proof.Decode(raw)
		if err != nil {
			return err
		}
		f, err := p.VerifyBlocks(b.proofs.network)
		switch {
		case err != nil:
			return err
		case f.Tx.ID != id:
			return fmt.Errorf("a part of the proof of transaction %x", f.Tx.ID)
		}
		for i := range f.Shards {
			if s := &f.Shards[i]; s.Shard != shard && len(s.Results) > 0 {
				return fmt.Errorf("a part of shard %d", s.Shard)
			}
		}
		if err := f.Complete(shard); err != nil {
			return err
		}
		part = p
		return nil
	})
	return part, err
}

// partHere is the own shard's part, encoded.
func (b backend) partHere(ctx context.Context, id ledger.TxID) ([]byte, error) {
	p, err := b.proofs.part(ctx, b.proofs.peers, id)
	if err != nil {
		return nil, asAPI(err)
	}
	return p.Encode(), nil
}

// asAPI makes an error of package prove one of the API.
func asAPI(err error) error {
	switch {
	case errors.Is(err, prove.ErrOpen), errors.Is(err, prove.ErrNoReceipt):
		return fmt.Errorf("%w: %w", err, api.ErrNotFound)
	case errors.Is(err, prove.ErrNotCertified):
		return fmt.Errorf("%w: %w", err, api.ErrUnavailable)
	}
	return err
}

// shardBlocks reads the blocks of the own shard from the two stores, for proofs.
type shardBlocks struct {
	*ledger.State
	store     kv.Reader // the consensus store
	committee *protocols.Committee
	kinds     ledger.Kinds
	genesis   *bolt.Block
}

var _ prove.Source = (*shardBlocks)(nil)

// Certificate implements [prove.Source].
func (s *shardBlocks) Certificate(height uint64) (*certify.Certified, error) {
	return replica.Certificate(s.store, height)
}

// Tx implements [prove.Source]: it looks through the LDs and then the batches that the block ordered.
func (s *shardBlocks) Tx(ctx context.Context, height uint64, id ledger.TxID) ([]byte, error) {
	block, err := s.block(height)
	if err != nil {
		return nil, err
	}
	parent, err := s.block(height - 1)
	if err != nil {
		return nil, err
	}
	for source, t := range block.Inbound {
		for t.Seq > parent.Inbound[source].Seq && ctx.Err() == nil {
			raw, previous, err := s.txInLD(uint16(source), t, id)
			if raw != nil || err != nil {
				return raw, err
			}
			t = previous
		}
	}
	for lane, t := range block.Cut {
		for t.Seq > parent.Cut[lane].Seq && ctx.Err() == nil {
			raw, previous, err := s.txInBatch(protocols.Index(lane), t, id)
			if raw != nil || err != nil {
				return raw, err
			}
			t = previous
		}
	}
	return nil, ctx.Err()
}

// block reads a committed block.
func (s *shardBlocks) block(height uint64) (*bolt.Block, error) {
	if height == 0 {
		return s.genesis, nil
	}
	value, ok, err := s.store.Get(bdt.CommitKey(height))
	if err == nil && !ok {
		err = errors.New("it is not in the store")
	}
	if err != nil {
		return nil, fmt.Errorf("committed block %d: %w", height, err)
	}
	b, err := bdt.DecodeCommit(s.committee, value)
	if err != nil {
		return nil, fmt.Errorf("committed block %d: %w: the store is damaged", height, err)
	}
	return b, nil
}

// txInLD finds a transaction in an LD. Otherwise it returns the position of the LD before.
func (s *shardBlocks) txInLD(source uint16, t lanes.Tip, id ledger.TxID) (raw []byte, previous lanes.Tip, err error) {
	stored, err := replica.StoredLD(s.store, source, t)
	if err != nil || stored == nil {
		return nil, lanes.Tip{}, err
	}
	ld, err := settlement.DecodeLD(stored.Raw)
	if err != nil {
		return nil, lanes.Tip{}, fmt.Errorf("LD %d of shard %d: %w: the store is damaged", t.Seq, source, err)
	}
	for i := range ld.Delivery.Entries {
		if tx := ld.Delivery.Entries[i].Tx; tx.ID() == id {
			return tx.Encode(), lanes.Tip{}, nil
		}
	}
	return nil, lanes.Tip{Seq: t.Seq - 1, Digest: stored.Previous}, nil
}

// txInBatch finds a transaction in a batch. Otherwise it returns the position of the batch before. Transactions of a lane
// that is frozen at this block are found too: an id is the hash of the encoding, so any copy will do.
func (s *shardBlocks) txInBatch(lane protocols.Index, t lanes.Tip, id ledger.TxID) (raw []byte, previous lanes.Tip, err error) {
	batch, err := replica.Batch(s.committee, s.store, lane, t)
	if err != nil || batch == nil {
		return nil, lanes.Tip{}, err
	}
	payload, err := ledger.DecodePayload(s.kinds, batch.Payload)
	if err != nil {
		return nil, lanes.Tip{}, fmt.Errorf("batch %d of lane %d: %w: the store is damaged", t.Seq, lane, err)
	}
	for _, tx := range payload.Txs {
		if tx.ID() == id {
			return tx.Encode(), lanes.Tip{}, nil
		}
	}
	return nil, lanes.Tip{Seq: batch.Seq - 1, Digest: batch.Parent}, nil
}
