package driver

import (
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/merkle"
	"bdtnode/node/admission"
	"bdtnode/node/intake"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

const (
	replicas  = 4
	genesisMS = 1_700_000_000_000
	t0        = protocols.Time(genesisMS * int64(time.Millisecond))
)

// message is one message for the network.
type message struct {
	to protocols.To
	protocols.Message
}

// fakeHost records the calls of a driver. Its clock stands still unless a test moves it.
type fakeHost struct {
	now       protocols.Time
	written   []Action
	sent      []message
	inbound   []replica.Verified
	faults    []protocols.Fault
	exceeding map[protocols.Index]intake.Exceeding
	serves    int
	publishes int
}

var _ Host = (*fakeHost)(nil)

func (h *fakeHost) Clock() (protocols.Time, time.Duration) { return h.now, 0 }
func (h *fakeHost) Write(a Action)                         { h.written = append(h.written, a) }
func (h *fakeHost) Send(to protocols.To, m protocols.Message) {
	h.sent = append(h.sent, message{to, m})
}
func (h *fakeHost) Execute(*bdt.Delivery)           {}
func (h *fakeHost) Inbound(x replica.Verified)      { h.inbound = append(h.inbound, x) }
func (h *fakeHost) Wake()                           {}
func (h *fakeHost) Attend()                         {}
func (h *fakeHost) Serve()                          { h.serves++ }
func (h *fakeHost) Publish()                        { h.publishes++ }
func (h *fakeHost) Verify()                         {}
func (h *fakeHost) Misbehaved(f protocols.Fault)    { h.faults = append(h.faults, f) }
func (h *fakeHost) RunsTwice(*replica.Twin)         {}
func (h *fakeHost) BrokeRules(*settlement.Evidence) {}
func (h *fakeHost) Frozen(*ledger.Freeze, uint64)   {}
func (h *fakeHost) OverBudget(from protocols.Index, x intake.Exceeding) {
	h.exceeding[from] = x
}

// bench is the driver of replica 0 of shard 0, in a network of two shards with the same keys.
type bench struct {
	t         *testing.T
	host      *fakeHost
	d         *Driver
	store     *kv.Mem
	signers   []*sig.Ed25519Key
	committee *protocols.Committee // of shard 0
	source    *protocols.Committee // of shard 1
	network   *settlement.Network
}

func newBench(t *testing.T, adjust ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, store: kv.NewMem(), host: &fakeHost{now: t0, exceeding: make(map[protocols.Index]intake.Exceeding)}}
	b.committee, b.signers = committeetest.Ed25519(t, replicas, digest.Of("test"), 0)
	b.source, _ = committeetest.Ed25519(t, replicas, b.committee.Network(), 1)
	b.network = settlement.NetworkOf([]*protocols.Committee{b.committee, b.source})
	state, err := ledger.Open(kv.NewMem(), ledger.Config{
		Network: b.network.ID(), Home: b.network.Home, GenesisTimeMS: genesisMS, HorizonMS: 600_000, Rules: settlement.Standard(),
		Allocations: []ledger.Allocation{{Address: ledger.AddressOf(b.signers[0].Public()), Amount: 10, Outputs: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tosses := coin.NewIdeal(1, b.committee.WeakQuorum())
	cfg := Config{
		Committee: b.committee, Signer: b.signers[0], Scheme: sig.NewEd25519(), Coin: tosses, Shares: tosses.Holder(0),
		GenesisTimeMS: genesisMS, Store: b.store, State: state, Limits: admission.StandardLimits(), Network: b.network,
	}
	for _, f := range adjust {
		f(&cfg)
	}
	if b.d, err = New(cfg, b.host); err != nil {
		t.Fatal(err)
	}
	return b
}

// batch is a batch of a peer's lane, signed by the peer.
func (b *bench) batch(lane protocols.Index, seq uint64, count uint32, payload []byte) *lanes.Batch {
	h := lanes.Header{Lane: lane, Seq: seq, Count: count, TimeMS: genesisMS}
	if seq > 1 {
		h.Parent = digest.Of("before")
	}
	return lanes.NewBatch(b.committee, b.signers[lane], h, payload)
}

// ld is an LD of shard 1 for shard 0, certified by f+1 replicas of shard 1.
func (b *bench) ld(number uint64) *settlement.LD {
	d := ledger.Delivery{Source: 1, Number: number}
	if number > 1 {
		d.Previous = digest.Of("before")
	}
	sealed := ledger.NewDelivery(d)
	leaves := []digest.Digest{sealed.Digest()}
	h := ledger.Header{Network: b.network.ID(), Shard: 1, Height: number, Outbox: merkle.Root(leaves)}
	tally := protocols.NewTally(h.Digest())
	for i, k := range b.signers[:b.source.WeakQuorum()] {
		tally.Add(protocols.Index(i), k.Sign(certify.Statement(b.source, number, tally.Digest)))
	}
	return settlement.NewLD(ledger.Outgoing{Height: number, Count: 1, Path: merkle.Prove(leaves, 0), Delivery: sealed}, h, tally.Certificate())
}
