package engine

import (
	"slices"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/p2p"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// offers is an engine of shard 0 that is offered LDs of shard 1.
type offers struct {
	t       *testing.T
	c       *cluster
	e       *Engine
	source  *protocols.Committee
	network *settlement.Network
}

func newOffers(t *testing.T) *offers {
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
	e, err := New(Config{Store: kv.NewMem(), Net: nowhere{}, Config: driver.Config{
		Committee: c.committee, Self: 0, Signer: c.signers[0], Scheme: sig.NewEd25519(), Coin: tosses, Shares: tosses.Holder(0),
		GenesisTimeMS: c.genesis, State: state, Limits: admission.StandardLimits(), Network: network,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &offers{t, c, e, source, network}
}

// ld is certified by f+1 replicas of shard 1.
func (x *offers) ld(number uint64, entries ...ledger.Entry) *settlement.LD {
	d := ledger.Delivery{Source: 1, Number: number, Entries: entries}
	if number > 1 {
		d.Previous = digest.Of("before")
	}
	sealed := ledger.NewDelivery(d)
	leaves := []digest.Digest{sealed.Digest()}
	h := ledger.Header{Network: x.network.ID(), Shard: 1, Height: number, Outbox: merkle.Root(leaves)}
	tally := protocols.NewTally(h.Digest())
	for i, k := range x.c.signers[:x.source.WeakQuorum()] {
		tally.Add(protocols.Index(i), k.Sign(certify.Statement(x.source, number, tally.Digest)))
	}
	return settlement.NewLD(ledger.Outgoing{Height: number, Count: 1, Path: merkle.Prove(leaves, 0), Delivery: sealed}, h, tally.Certificate())
}

// nowhere is a Sender that sends no frame.
type nowhere struct{}

func (nowhere) Send(protocols.Index, p2p.Class, []byte) {}

// asked opens the gates for LDs from members, as if the replica had requested some.
func (x *offers) asked() {
	fetch := protocols.Send{To: protocols.Everyone, Message: &inbound.FetchLD{Source: 1, Tip: lanes.Tip{Seq: 100}}}
	x.e.driver.Send(&driver.Action{Step: replica.Step{Sends: []protocols.Send{fetch}}})
}

// handled is the number of events that have come to the loop. It handles them.
func (x *offers) handled() (n int) {
	for {
		select {
		case ev := <-x.e.inputs.events:
			x.e.handle(ev)
			x.e.driver.Turn()
			n++
			continue
		default:
		}
		return n
	}
}

// TestRefusedLDComesAgain: an LD that was verified, and was too far ahead of the order to be kept, is accepted when it
// comes again.
func TestRefusedLDComesAgain(t *testing.T) {
	x := newOffers(t)
	offer := func(number uint64) int {
		if err := x.e.driver.Exchange().Take(x.ld(number)); err != nil {
			t.Fatal(err)
		}
		return x.handled()
	}
	ahead := uint64(inbound.Window + 1)
	for range 2 {
		if offer(ahead) != 1 {
			t.Error("an LD that was refused by its number never reaches the replica again")
		}
	}
	if offer(1) != 1 || x.e.driver.NextLD(1) != 2 {
		t.Fatalf("the next one is not taken: %d is lacking", x.e.driver.NextLD(1))
	}
	if offer(1) != 0 {
		t.Error("an LD that is held reaches the replica again")
	}
}

// TestEvidenceStaysOut: an LD that is certified by its source and has a transaction with a bad signature is refused
// from every sender and on every path, and no sender is blamed for passing it on.
func TestEvidenceStaysOut(t *testing.T) {
	x := newOffers(t)
	thief, victim := x.c.resident(t, x.network, 1), x.c.resident(t, x.network, 0)
	body := ledger.Body{
		Network: x.network.ID(), ExpiryMS: x.c.genesis + horizonMS/2,
		Inputs: []ledger.Input{
			{Outpoint: ledger.Outpoint{Tx: ledger.TxID{1}}, Key: thief.Public(), Amount: 1},
			{Outpoint: ledger.Outpoint{Tx: ledger.TxID{2}}, Key: victim.Public(), Amount: 9},
		},
		Outputs: []ledger.Output{{Address: ledger.AddressOf(thief.Public()), Amount: 10}},
	}
	tx, err := body.Sign(thief, victim)
	if err != nil {
		t.Fatal(err)
	}
	raw := slices.Clone(tx.Encode())
	raw[len(raw)-1] ^= 1 // the victim has signed nothing
	forged, err := ledger.DecodeTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		tx   *ledger.Tx
		next uint64
	}{"good": {tx, 2}, "forged": {forged, 1}} {
		ld := x.ld(1, ledger.Entry{Verdict: ledger.VerdictSpent, Tx: want.tx})
		for way, come := range map[string]func() error{
			"gossip": func() error { return x.e.driver.Exchange().Take(ld) },
			"stream": func() error { return x.e.Receive(1, p2p.Bulk, replica.Encode(&replica.NewInbound(ld).LD)) },
		} {
			x.e = newOffers(t).e
			x.asked()
			if err := come(); err != nil {
				t.Errorf("%s, by %s: whoever passes it on is blamed: %v", name, way, err)
			}
			if x.handled(); x.e.driver.NextLD(1) != want.next {
				t.Errorf("%s, by %s: the next LD is %d, want %d", name, way, x.e.driver.NextLD(1), want.next)
			}
		}
	}
}

// resident is a key whose address belongs to a shard.
func (c *cluster) resident(t *testing.T, network *settlement.Network, home uint16) *sig.Ed25519Key {
	for seed := range byte(255) {
		k, err := sig.Ed25519FromSeed(append(make([]byte, sig.SeedSize-1), seed))
		if err != nil {
			t.Fatal(err)
		}
		if network.Home(ledger.AddressOf(k.Public())) == home {
			return k
		}
	}
	t.Fatalf("nobody lives in shard %d", home)
	return nil
}

// TestCopyOfAVerifiedLD: a copy of a verified LD with another certificate, header or path has the same delivery and is
// verified by itself, both if the good one waits for the loop, if it is held, and if it was too far ahead to be kept.
func TestCopyOfAVerifiedLD(t *testing.T) {
	spoil := map[string]func(*settlement.LD){
		"certificate": func(ld *settlement.LD) {
			ld.Certificate.Signatures = slices.Clone(ld.Certificate.Signatures)
			ld.Certificate.Signatures[0][5] ^= 1
		},
		"header": func(ld *settlement.LD) { ld.Header.TimeMS++ },
		"index":  func(ld *settlement.LD) { ld.Index++ },
	}
	for _, number := range []uint64{1, inbound.Window + 1} {
		for name, wrong := range spoil {
			for _, handled := range []bool{false, true} {
				x := newOffers(t)
				good := x.ld(number)
				bad := *good
				wrong(&bad)
				if err := x.e.driver.Exchange().Take(good); err != nil {
					t.Fatal(err)
				}
				if handled {
					x.handled()
				}
				x.asked()
				if err := x.e.Receive(1, p2p.Bulk, replica.Encode(&replica.NewInbound(&bad).LD)); err == nil {
					t.Errorf("LD %d, handled %v: a copy with a bad %s is taken from a member", number, handled, name)
				}
				if err := x.e.driver.Exchange().Take(&bad); err == nil {
					t.Errorf("LD %d, handled %v: a copy with a bad %s is taken from outside", number, handled, name)
				}
			}
		}
	}
}

// TestUnaskedFrames: a member's frames without a request, or above its budget, are neither decoded nor verified, and do
// not reach the loop. A malformed request ends its stream.
func TestUnaskedFrames(t *testing.T) {
	x := newOffers(t)
	ld := replica.Encode(&replica.NewInbound(x.ld(1)).LD)
	loose := 0
	for range 64 {
		if err := x.e.Receive(1, p2p.Bulk, ld); err != nil {
			t.Fatal(err)
		}
		loose += x.handled()
	}
	if loose == 0 || loose == 64 {
		t.Errorf("%d LDs that nobody asked for are taken, want a few", loose)
	}
	if err := x.e.Receive(1, p2p.Bulk, replica.Encode(&replica.History{})); err != nil || x.handled() != 0 {
		t.Errorf("a history that nobody asked for is taken: %v", err)
	}
	x.asked()
	for range 64 {
		if err := x.e.Receive(2, p2p.Bulk, ld); err != nil || x.handled() != 1 {
			t.Fatalf("an LD that was asked for is not taken: %v", err)
		}
	}
	if err := x.e.Receive(2, p2p.Control, replica.Encode(&inbound.FetchLD{Source: 7, Tip: lanes.Tip{Seq: 3, Digest: digest.Of("x")}})); err == nil {
		t.Error("a request for the LDs of a shard that does not exist is no fault")
	}
	taken := 0
	for range 160 {
		if err := x.e.Receive(3, p2p.Control, replica.Encode(&replica.Request{From: 1})); err != nil {
			t.Fatal(err)
		}
		taken += x.handled()
	}
	if taken < 100 || taken == 160 {
		t.Errorf("of 160 requests at once %d are taken, want the budget of 100 and what comes back meanwhile", taken)
	}
}
