package engine

import (
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/protocols"
	"bdtnode/protocols/channels"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/votes"
	"bdtnode/shard/settlement"
)

// TestRefusedLDComesAgain: an LD that was verified and too far ahead of the order to be kept is taken when it comes
// again.
func TestRefusedLDComesAgain(t *testing.T) {
	c := newCluster(t)
	var keys []sig.PublicKey
	for _, k := range c.signers {
		keys = append(keys, k.Public())
	}
	source, err := protocols.NewCommittee(c.committee.Network(), 1, keys)
	if err != nil {
		t.Fatal(err)
	}
	network := settlement.NetworkOf([]*protocols.Committee{c.committee, source})
	state, err := ledger.Open(kv.NewMem(), ledger.Config{
		Network: network.ID(), Home: network.Home, GenesisTimeMS: c.genesis, HorizonMS: horizonMS, Rules: settlement.Standard(),
		Allocations: []ledger.Allocation{{Address: ledger.AddressOf(c.owner.Public()), Amount: 10, Outputs: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tosses := coin.NewIdeal(1, c.committee.WeakQuorum())
	e, err := New(Config{
		Committee: c.committee, Self: 0, Signer: c.signers[0], Scheme: sig.NewEd25519(), Coin: tosses, Shares: tosses.Holder(0),
		GenesisTimeMS: c.genesis, Store: kv.NewMem(), State: state, Book: ledger.NewBook(1, 1<<20), Network: network,
	})
	if err != nil {
		t.Fatal(err)
	}
	offer := func(number uint64) (handled int) {
		d := ledger.Delivery{Source: 1, Number: number}
		if number > 1 {
			d.Previous = digest.Of("before")
		}
		x := ledger.NewDelivery(d)
		leaves := []digest.Digest{x.Digest()}
		h := ledger.Header{Network: network.ID(), Shard: 1, Height: number, Outbox: merkle.Root(leaves)}
		tally := protocols.NewTally(h.Digest())
		for i, k := range c.signers[:source.WeakQuorum()] {
			tally.Add(protocols.Index(i), k.Sign(votes.Statement(source, number, tally.Digest)))
		}
		ld := settlement.NewLD(ledger.Outgoing{Height: number, Count: 1, Path: merkle.Prove(leaves, 0), Delivery: x}, h, tally.Certificate())
		if err := e.Offer(ld); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case ev := <-e.in:
				e.handle(t.Context(), ev)
				e.publish()
				handled++
				continue
			default:
			}
			return handled
		}
	}
	ahead := uint64(channels.Window + 1)
	for range 2 {
		if offer(ahead) != 1 {
			t.Error("an LD that was refused by its number never reaches the replica again")
		}
	}
	if offer(1) != 1 || e.NextLD(1) != 2 {
		t.Fatalf("the next one is not taken: %d is lacking", e.NextLD(1))
	}
	if offer(1) != 0 {
		t.Error("an LD that is held reaches the replica again")
	}
}
