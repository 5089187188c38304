package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/node/api"
	"bdtnode/node/config"
	"bdtnode/node/p2p"
	nodereplica "bdtnode/node/replica"
	"bdtnode/node/why"
	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

// laneFrozen: replica 3 is Byzantine, and replica 0 is its accomplice: replica 3 has its key, and acknowledges batches with
// it. These are two Byzantine replicas, more than f: with one, no lane is ever frozen (docs/protocol.md). Replica 3 makes two chains of
// its lane and certifies batch 1 of the one and batch 2 of the other. Once both are committed, the lane is frozen at
// each replica. A payment that only replica 3 received, in batch 1 of the second chain, is never executed.
func laneFrozen(t *testing.T) {
	n := start(t, options{absent: []int{3}, altered: map[int][]string{0: {accompliceEnv + "=1"}}})
	honest := n.replicas[:3]
	lost := n.signed("alice", "carol", "5m")
	id := becomeOwner(t, n).freeze(readTx(t, lost))
	r := n.replicas[1]
	for _, x := range honest {
		x.logs("a lane is frozen", map[string]string{"replica": "3"})
		x.logs("a peer misbehaved", map[string]string{"replica": "3", "fault": " its lane"})
	}
	r.explains(id, want{why.Unknown, nil, []string{"This replica does not have it"}})
	r.explains(id, want{why.LaneFrozen, []int{3}, []string{"The lane of replica 3 is frozen at batch 1", "submit it at another replica"}})
	n.shows("the frozen lane", honest, func(s *state) error {
		var errs []error
		for _, x := range honest {
			errs = append(errs, s.line(x, api.HealthReady, "the lane of replica 3 is frozen: none of its batches is executed any more"))
		}
		return errors.Join(append(errs, s.line(n.replicas[3], api.HealthSilent, ""))...)
	})
	// The sentence tells the truth: submitted at another replica, it settles.
	if code, out, errs := n.cli("", "tx", "submit", lost, "--node", r.url(), "-o", "json"); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	r.explains(id, want{why.Settled, nil, nil})
}

// owner is the Byzantine replica 3, in this process.
type owner struct {
	n         *network
	net       *p2p.Net
	home      *config.Home
	committee *protocols.Committee
	stolen    sig.Signer // key of replica 0

	mu      sync.Mutex
	batches map[digest.Digest]*lanes.Batch
	acks    map[digest.Digest]map[protocols.Index]sig.Signature
}

const ownerIndex = 3

// becomeOwner takes the place of replica 3, which does not run.
func becomeOwner(t *testing.T, n *network) *owner {
	t.Helper()
	o := &owner{n: n, batches: make(map[digest.Digest]*lanes.Batch), acks: make(map[digest.Digest]map[protocols.Index]sig.Signature)}
	var err error
	if o.home, err = config.Load(n.replicas[ownerIndex].home, nil); err != nil {
		t.Fatal(err)
	}
	victim, err := config.Load(n.replicas[0].home, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.stolen = victim.ConsensusKey
	if o.committee, err = o.home.Genesis.Committee(0); err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, m := range o.home.Genesis.Shards[0].Members {
		members = append(members, m.Peer)
	}
	o.net, err = p2p.New(p2p.Config{
		Identity: o.home.PeerKey, Network: o.home.Genesis.ID(), Self: ownerIndex, Members: [][]string{members},
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Bootstrap: []string{n.replicas[0].p2p()},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := o.net.Run(ctx, o); err != nil {
			t.Errorf("the Byzantine replica: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	n.await("the Byzantine replica is connected", func() error {
		if peers := o.net.ReadyPeers(); peers < perShard-1 {
			return fmt.Errorf("%d sessions", peers)
		}
		return nil
	})
	return o
}

// batch makes a batch of the own lane.
func (o *owner) batch(parent lanes.Tip, txs ...[]byte) *lanes.Batch {
	b := lanes.NewBatch(o.committee, o.home.ConsensusKey, lanes.Header{
		Lane: ownerIndex, Seq: parent.Seq + 1, Parent: parent.Digest, Count: uint32(len(txs)), TimeMS: uint64(time.Now().UnixMilli()),
	}, ledger.EncodePayload(txs))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.batches[b.Digest()] = b
	return b
}

// freeze makes every honest replica freeze the lane, and returns the id of the transaction in the batch that is lost.
func (o *owner) freeze(lost []byte) ledger.TxID {
	t := o.n.t
	t.Helper()
	tx, err := ledger.DecodeTx(lost)
	if err != nil {
		t.Fatal(err)
	}
	other := readTx(t, o.n.signed("bob", "carol", "5m"))
	another := readTx(t, o.n.signed("dave", "carol", "5m"))
	a1 := o.batch(lanes.Tip{}, other)
	b1 := o.batch(lanes.Tip{}, lost)
	b2 := o.batch(b1.Tip(), another)
	o.send(1, b1)
	o.send(1, b2)
	b := o.certificate(b2, 1)
	o.send(2, a1)
	a := o.certificate(a1, 2)
	r := o.n.replicas[1]
	o.certify(a)
	decided, err := ledger.DecodeTx(other)
	if err != nil {
		t.Fatal(err)
	}
	r.explains(decided.ID(), want{why.Settled, nil, nil}) // a1 is executed
	o.certify(b)
	return tx.ID()
}

// certificate collects the acknowledgement of one replica for a batch, and adds the own one and the forged one.
func (o *owner) certificate(b *lanes.Batch, of protocols.Index) *lanes.TipCertificate {
	o.n.t.Helper()
	statement := wire.AppendU64(wire.AppendU16(nil, uint16(b.Lane)), b.Seq)
	d := b.Digest()
	signed := o.committee.Statement("bdt/ack/1", statement, d[:])
	tally := protocols.NewTally(d)
	tally.Add(ownerIndex, o.home.ConsensusKey.Sign(signed))
	tally.Add(0, o.stolen.Sign(signed))
	o.n.await(fmt.Sprintf("replica %d acknowledges batch %d", of, b.Seq), func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		s, ok := o.acks[d][of]
		if !ok {
			return errors.New("not yet")
		}
		tally.Add(of, s)
		return nil
	})
	return &lanes.TipCertificate{Lane: ownerIndex, Tip: b.Tip(), Certificate: tally.Certificate()}
}

func (o *owner) certify(c *lanes.TipCertificate) {
	for i := range protocols.Index(ownerIndex) {
		o.net.Send(i, p2p.Control, nodereplica.Encode(c))
	}
}

func (o *owner) send(to protocols.Index, b *lanes.Batch) {
	o.net.Send(to, p2p.Bulk, nodereplica.Encode(b))
}

// Receive collects acknowledgements and answers requests for batches.
func (o *owner) Receive(from protocols.Index, _ p2p.Class, frame []byte) error {
	m, err := nodereplica.Decode(o.committee, frame)
	if err != nil {
		return nil // not a message of this replica's part
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch x := m.(type) {
	case *lanes.Ack:
		if o.acks[x.Tip.Digest] == nil {
			o.acks[x.Tip.Digest] = make(map[protocols.Index]sig.Signature)
		}
		o.acks[x.Tip.Digest][from] = x.Signature
	case *lanes.Fetch:
		if b := o.batches[x.Tip.Digest]; b != nil && x.Lane == ownerIndex {
			o.send(from, b)
		}
	}
	return nil
}

func (*owner) Connected(protocols.Index)    {}
func (*owner) Disconnected(protocols.Index) {}
func (*owner) Gossip([]byte) p2p.Verdict    { return p2p.Ignore }
func (*owner) Serve(context.Context, uint16, protocols.Index, []byte, func([]byte) error) error {
	return errors.New("not answered")
}
