package prove

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/shard"
	"bdtnode/shard/proof"
	"bdtnode/shard/settlement"
)

const (
	shards      = 3
	replicas    = 4
	genesisTime = 60_000_000 // Unix ms, a whole minute
	coinValue   = 100
)

// world has the real ledgers of a network of three shards with one replica each, and the keys of all.
type world struct {
	t       testing.TB
	genesis *shard.Genesis
	file    []byte
	network *proof.Network
	keys    [shards][]*sig.Ed25519Key
	owners  [shards][]*sig.Ed25519Key // two accounts in each shard; the first has genesis outputs
	chains  [shards]*chain
	queues  [shards][shards][]*ledger.Delivery // by source and destination
}

// chain is the ledger of a shard with the transactions of its blocks. It implements [Source].
type chain struct {
	*ledger.State
	committee *protocols.Committee
	keys      []*sig.Ed25519Key
	blocks    []ledger.CommittedBlock // by height-1
	pending   bool                    // the last block is not certified
}

func key(t testing.TB, label string, i int) *sig.Ed25519Key {
	t.Helper()
	seed := digest.Of("test/seed/1", []byte(label), wire.AppendU32(nil, uint32(i)))
	k, err := sig.Ed25519FromSeed(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t testing.TB, name string) *world {
	t.Helper()
	w := &world{t: t, genesis: &shard.Genesis{
		Version: shard.GenesisVersion, Name: name, TimeMS: genesisTime, Consensus: shard.ConsensusBDT, HorizonMS: 3_600_000,
		Parameters: shard.DefaultParameters(),
	}}
	w.genesis.Parameters.Window = 4 << 20
	for s := range shards {
		var spec shard.Spec
		for i := range replicas {
			k := key(t, name, s*replicas+i)
			w.keys[s] = append(w.keys[s], k)
			spec.Members = append(spec.Members, shard.Member{Key: k.Public(), Peer: fmt.Sprintf("peer-%d-%d", s, i)})
		}
		w.genesis.Shards = append(w.genesis.Shards, spec)
	}
	for i := 0; slices.ContainsFunc(w.owners[:], func(o []*sig.Ed25519Key) bool { return len(o) < 2 }); i++ {
		k := key(t, "owner", i)
		s := w.genesis.Home(ledger.AddressOf(k.Public()))
		w.owners[s] = append(w.owners[s], k)
	}
	var allocations []ledger.Allocation
	for s := range shards {
		a := shard.Allocation{Address: w.address(uint16(s), 0), Amount: coinValue, Outputs: 8}
		w.genesis.Allocations = append(w.genesis.Allocations, a)
		allocations = append(allocations, ledger.Allocation(a))
	}
	var err error
	if w.file, err = json.Marshal(w.genesis); err != nil {
		t.Fatal(err)
	}
	if w.network, err = proof.ReadGenesis(w.file); err != nil {
		t.Fatal(err)
	}
	for s := range uint16(shards) {
		c, err := w.genesis.Committee(s)
		if err != nil {
			t.Fatal(err)
		}
		state, err := ledger.Open(kv.NewMem(), ledger.Config{
			Network: w.genesis.ID(), Shard: s, Home: w.genesis.Home, GenesisTimeMS: genesisTime, HorizonMS: w.genesis.HorizonMS,
			Allocations: allocations, Rules: settlement.Standard(),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.chains[s] = &chain{State: state, committee: c, keys: w.keys[s]}
	}
	return w
}

func (w *world) address(s uint16, i int) ledger.Address {
	return ledger.AddressOf(w.owners[s][i].Public())
}

// tx spends the genesis outputs with a number in the shards of from, and creates outputs of equal amounts in those of to.
func (w *world) tx(number int, from, to []uint16) *ledger.Tx {
	w.t.Helper()
	body := ledger.Body{Network: w.genesis.ID(), ExpiryMS: genesisTime + 60_000}
	var signers []sig.Signer
	for _, s := range from {
		a, err := w.chains[s].Account(w.address(s, 0), ledger.Page{Limit: 8})
		if err != nil {
			w.t.Fatal(err)
		}
		coin := a.Outputs[number]
		body.Inputs = append(body.Inputs, ledger.Input{Outpoint: coin.Outpoint, Key: w.owners[s][0].Public(), Amount: coin.Amount})
		signers = append(signers, w.owners[s][0])
	}
	each := uint64(len(from)) * coinValue / uint64(len(to))
	body.Fee = uint64(len(from))*coinValue - each*uint64(len(to))
	for _, s := range to {
		body.Outputs = append(body.Outputs, ledger.Output{Address: w.address(s, 1), Amount: each})
	}
	tx, err := body.Sign(signers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return tx
}

// order makes a block of a shard with transactions, and with all deliveries of other shards if deliver is set.
func (w *world) order(s uint16, deliver bool, txs ...*ledger.Tx) *ledger.Block {
	w.t.Helper()
	c := w.chains[s]
	height := c.Height() + 1
	in := ledger.CommittedBlock{Height: height, Epoch: 1, Slot: height, Digest: digest.Of("test/block/1"), TimeMS: genesisTime + height}
	for from := range w.queues {
		if deliver {
			in.Deliveries = append(in.Deliveries, w.queues[from][s]...)
			w.queues[from][s] = nil
		}
	}
	if len(txs) > 0 {
		in.Payloads = []*ledger.Payload{{Txs: txs}}
	}
	b, err := c.Execute(in)
	if err != nil {
		w.t.Fatal(err)
	}
	c.blocks = append(c.blocks, in)
	for _, o := range b.Outbox {
		w.queues[s][o.Delivery.Destination] = append(w.queues[s][o.Delivery.Destination], o.Delivery)
	}
	return b
}

// settle delivers until no delivery is left.
func (w *world) settle() {
	for {
		any := false
		for s := range uint16(shards) {
			for from := range w.queues {
				if len(w.queues[from][s]) > 0 {
					any = true
					w.order(s, true)
					break
				}
			}
		}
		if !any {
			return
		}
	}
}

// Certificate implements [Source]: all replicas but the first have signed.
func (c *chain) Certificate(height uint64) (*certify.Certified, error) {
	h, ok, err := c.Header(height)
	if err != nil || !ok || c.pending && height == c.Height() {
		return nil, err
	}
	x := &certify.Certified{Height: height, Header: h.Digest()}
	tally := protocols.NewTally(x.Header)
	for i := protocols.Index(1); i < replicas; i++ {
		tally.Add(i, c.keys[i].Sign(certify.Statement(c.committee, height, x.Header)))
	}
	x.Certificate = tally.Certificate()
	return x, nil
}

// Tx implements [Source].
func (c *chain) Tx(_ context.Context, height uint64, id ledger.TxID) ([]byte, error) {
	in := &c.blocks[height-1]
	for _, d := range in.Deliveries {
		for i := range d.Entries {
			if d.Entries[i].Tx.ID() == id {
				return d.Entries[i].Tx.Encode(), nil
			}
		}
	}
	for _, p := range in.Payloads {
		for _, tx := range p.Txs {
			if tx.ID() == id {
				return tx.Encode(), nil
			}
		}
	}
	return nil, nil
}

// prove makes the whole proof of a transaction, of the parts of the given shards.
func (w *world) prove(id ledger.TxID, from ...uint16) (*proof.Proof, error) {
	var parts []*proof.Proof
	for _, s := range from {
		p, err := Part(w.t.Context(), w.chains[s].committee, w.chains[s], id)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return Join(parts), nil
}
