package adversary

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/clock"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// The behaviour of a test is that of replica self of shard 0, in a network of three shards of four replicas.
const (
	replicas = 4
	shards   = 3
	self     = protocols.Index(2)
)

// stage is the surroundings of a behaviour, and a receiver of its frames. A test gives the behaviour messages.
type stage struct {
	Replica // methods that no test needs
	t       *testing.T
	view    *View
	scheme  *sig.Ideal
	network *settlement.Network
	now     protocols.Time
	lives   [replicas]int
	junk    byte
	sent    []protocols.Message
	gossip  []gossiped
}

// gossiped is a frame on the topic of a shard.
type gossiped struct {
	shard uint16
	network.Packet
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, scheme: sig.NewIdeal(1), now: clock.Begin}
	var committees []*protocols.Committee
	for k := range shards {
		committees = append(committees, committeetest.Ideal(t, s.scheme, uint64(k)*replicas, replicas, digest.Of("test network"), uint16(k)))
	}
	s.network = settlement.NetworkOf(committees)
	coin := toss.NewIdeal(1, 2)
	s.view = &View{
		Self: self, Place: int(self), Shards: shards, Places: replicas, Committee: committees[0], Signer: s.signer(0, self),
		Coin: coin, Holder: coin.Holder(self), Rand: rand.New(rand.NewPCG(1, 2)), Replica: s,
	}
	return s
}

// signer is the signer of a replica of a shard.
func (s *stage) signer(shard uint16, i protocols.Index) sig.Signer {
	return s.scheme.Signer(uint64(shard)*replicas + uint64(i))
}

func (s *stage) Now() protocols.Time                        { return s.now }
func (s *stage) Wall() protocols.Time                       { return s.now }
func (s *stage) Height() uint64                             { return 0 }
func (s *stage) PeerLife(i protocols.Index) int             { return s.lives[i] }
func (s *stage) Network() *settlement.Network               { return s.network }
func (s *stage) Submit(_ protocols.To, m protocols.Message) { s.sent = append(s.sent, m) }
func (s *stage) Gossip(shard uint16, p network.Packet) {
	s.gossip = append(s.gossip, gossiped{shard, p})
}
func (s *stage) NextLD(uint16) uint64                             { return 1 }
func (s *stage) MadeLD(uint16, uint64) (d digest.Digest, ok bool) { return digest.Of("made"), true }

func (s *stage) PeerCommitted(protocols.Index) (uint64, bool) { return 0, true }

func (s *stage) History(uint64) (*replica.History, error) { return &replica.History{}, nil }

// Junk is a transaction of an output that does not exist.
func (s *stage) Junk() *ledger.Tx {
	s.junk++
	return s.tx(s.junk, 0)
}

// tx is a transaction with an input in each of some shards, and an output in the first.
func (s *stage) tx(number byte, inputs ...uint16) *ledger.Tx {
	s.t.Helper()
	b := ledger.Body{Network: s.network.ID(), ExpiryMS: s.now.Add(time.Minute).Millis()}
	var signers []sig.Signer
	for k, shard := range inputs {
		owner := s.account(shard)
		signers = append(signers, owner)
		b.Inputs = append(b.Inputs, ledger.Input{Outpoint: ledger.Outpoint{Tx: ledger.TxID{number}, Index: uint16(k)}, Key: owner.Public(), Amount: 1})
	}
	b.Outputs = []ledger.Output{{Address: ledger.AddressOf(b.Inputs[0].Key), Amount: uint64(len(inputs))}}
	tx, err := b.Sign(signers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

// account is the signer of an account in a shard.
func (s *stage) account(shard uint16) sig.Signer {
	for i := uint64(1000); ; i++ {
		if x := s.scheme.Signer(i); s.network.Home(ledger.AddressOf(x.Public())) == shard {
			return x
		}
	}
}

// ld is a certified LD of a shard.
func (s *stage) ld(source, destination uint16, number uint64, entries ...ledger.Entry) *settlement.LD {
	x := &settlement.LD{Header: ledger.Header{Network: s.network.ID(), Shard: source, Height: number, Receipts: digest.Of("receipts")}}
	made := ledger.Delivery{Source: source, Destination: destination, Number: number, Entries: entries}
	if number > 1 {
		made.Previous = digest.Of("the delivery before")
	}
	d := ledger.NewDelivery(made)
	signers := make([]sig.Signer, replicas)
	for i := range signers {
		signers[i] = s.signer(source, protocols.Index(i))
	}
	return Recertified(x, d, s.network.Committee(source), signers)
}

// contents checks payloads as a replica does.
type contents struct{ s *stage }

func (c contents) VerifyPayload(_ protocols.Index, b *lanes.Batch) (bool, error) {
	_, err := ledger.CheckPayload(c.s.network.Kinds(0), c.s.scheme, c.s.network.ID(), b.Payload)
	return err == nil, err
}

func (c contents) VerifyLD(x *replica.Inbound) (bool, error) {
	err := c.s.verifies(x.Content)
	return err == nil, err
}

func (c contents) VerifyCLM(x *cancel.CLM) error {
	tx, err := ledger.DecodeTx(x.Content)
	if err == nil && !tx.Shards(c.s.network.Home).Inputs.Has(0) {
		err = errors.New("it has no input in the shard")
	}
	return err
}

// verifies checks an LD as a replica of its destination does.
func (s *stage) verifies(ld *settlement.LD) error { return ld.Verify(s.scheme, s.network, nil) }

// receive checks a frame as an honest replica does. It returns the message, or the reason to refuse the frame.
func (s *stage) receive(p network.Packet) (protocols.Message, error) {
	m, err := replica.Decode(s.view.Committee, slices.Clone(p.Frame))
	if err != nil {
		return nil, err
	}
	v := replica.Verifier{Committee: s.view.Committee, Shards: shards, Signatures: s.scheme, Coin: s.view.Coin, Contents: contents{s}}
	if _, err := v.Check(self, m); err != nil {
		return nil, err
	}
	return m, nil
}

// replace gives a behaviour a message for a peer, and requires that an honest replica refuses the forged frames and no
// others. It returns the messages that the replica takes, and the reasons of forged frames.
func (s *stage) replace(b Behaviour, to protocols.Index, m protocols.Message) (taken []protocols.Message, forged []string) {
	s.t.Helper()
	for _, p := range b.Replace(s.view, to, m) {
		got, err := s.receive(p)
		switch {
		case p.Forged != "" && err == nil:
			s.t.Errorf("%s: a receiver takes %T: %s", b, got, p.Forged)
		case p.Forged == "" && err != nil:
			s.t.Errorf("%s: a receiver refuses a frame that is not marked as forged: %v", b, err)
		case p.Forged != "":
			forged = append(forged, p.Forged)
		default:
			taken = append(taken, got)
		}
	}
	return taken, forged
}

// messages of the replica, as its honest core sends them.

func (s *stage) vote(slot uint64) *bolt.Vote { return s.view.signVote(1, slot, digest.Of("block")) }

func (s *stage) batch(seq uint64) *lanes.Batch {
	h := lanes.Header{Lane: self, Seq: seq, Count: 1}
	if seq > 1 {
		h.Parent = digest.Of("the batch before")
	}
	return lanes.NewBatch(s.view.Committee, s.view.Signer, h, ledger.EncodePayload([][]byte{s.Junk().Encode()}))
}

func (s *stage) propose(slot uint64) *bolt.Propose {
	return s.view.signPropose(&bolt.Block{
		Epoch: 1, Slot: slot, Height: slot, Parent: digest.Of("parent"), TimeMS: 5, Cut: make(lanes.Cut, replicas), Inbound: make(lanes.Cut, shards),
	}, nil)
}
