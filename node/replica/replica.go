// Package replica is the deterministic core of one replica: consensus, certification of executed headers, and catching
// up, composed into one machine. The node drives it with real time, disk and streams, the simulator with virtual ones.
// Both execute the same steps.
package replica

import (
	"fmt"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/internal/wire"
	"bdtnode/ledger"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/vouch"
)

// Pacing of the own lane: a single batch goes at once, and a stream of transactions shares batches.
const (
	maxUnanswered = 32        // own batches with neither certificate nor commit
	FullBatch     = 256 << 10 // bytes of payload that make a batch without waiting for the gap
)

// Output is one result for the node. One of the fields is set.
type Output struct {
	Deliver   *bdt.Delivery      // execute this block next
	Certified *certify.Certified // a header has f+1 VOTEs; its record is part of the step
	Inbound   *Inbound           // a new LD: a different stored one under its number is evidence, see [Contradiction]
	Lost      *Lost              // the replica must end
	Twin      *Twin              // a peer runs as two processes
	Suspect   []byte             // a peer states that this transaction can never be SPENT here: look at the committed state
	Cancelled *cancel.Certified  // f+1 replicas of this shard state it: a CL
	Check     *lanes.Ref         // verify the signatures of this batch, for [Core.Checked]
	Drop      *lanes.Ref         // the requested check of this batch has no use any more
}

// Step is one step of the core.
type Step = protocols.Step[Output]

// Config describes a core.
type Config struct {
	Committee     *protocols.Committee
	Self          protocols.Index
	Signer        sig.Signer
	Coin          coin.Scheme
	Shares        coin.Holder // of Self
	GenesisTimeMS uint64
	Shards        int           // in the network
	Dumbo         bool          // there is no fast lane
	Slots         uint64        // of an epoch; 0 is the usual number
	Window        int           // bytes of a lane above the last commit; 0 is lanes.WindowBytes
	Gap           time.Duration // between proposals under lasting load; 0 is bolt.MaxGap
	Opaque        bool          // batches have opaque payloads in place of transactions and notices
	Vouched       int           // entries of a batch from which on replicas vouch for its signatures; 0: they vouch for none
	WallClock     *protocols.WallClock
	Begun         *Begun // this start; nil trusts the store, for tests of one machine and for Byzantine replicas
}

// Core is one replica.
type Core struct {
	cfg        Config
	bdt        *bdt.Machine
	certify    *certify.Machine
	catchup    catchup
	pings      pings
	identity   identity
	lastAppend protocols.Time
	evidence   evidence
	// Cancellation is the part of the core for transactions that can never be SPENT.
	Cancellation *Cancellation
	Vouching     *Vouching
	more         bool            // verdicts wait for blocks to carry them
	asked        bool            // a notice has asked for the next block
	recalled     []digest.Digest // executed headers above the certified height, until Start
	horizon      *Horizon        // the last one, which readers may have
}

// New makes a core at genesis, or from the store of an earlier one. executed is the height up to which the ledger has
// the effects of blocks, header returns the digests of its headers, and stored reads the persisted records. Start
// delivers blocks committed above executed again.
func New(cfg Config, executed uint64, header func(height uint64) (digest.Digest, error), stored protocols.Stored) (*Core, error) {
	m, err := bdt.New(bdt.Config{
		Committee: cfg.Committee, Self: cfg.Self, Signer: cfg.Signer, Coin: cfg.Coin, Shares: cfg.Shares,
		GenesisTimeMS: cfg.GenesisTimeMS, Shards: cfg.Shards, Dumbo: cfg.Dumbo, Slots: cfg.Slots, Window: cfg.Window, Gap: cfg.Gap, WallClock: cfg.WallClock,
	}, executed, stored)
	if err != nil {
		return nil, err
	}
	certified, err := certifiedHeight(stored)
	if err != nil {
		return nil, err
	}
	c := &Core{
		cfg:     cfg,
		bdt:     m,
		certify: certify.New(cfg.Committee, cfg.Self, cfg.Signer, min(executed, certified), certified),
		catchup: newCatchup(cfg, certified),
		pings:   newPings(&cfg),
	}
	c.Vouching = newVouching(c)
	c.Cancellation = &Cancellation{signs: c.signs, machine: cancel.New(cfg.Committee, cfg.Self, cfg.Signer)}
	if err := c.evidence.recall(stored); err != nil {
		return nil, err
	}
	if c.identity, err = restoreIdentity(&cfg, stored); err != nil {
		return nil, err
	}
	// Possibly no other replica has this replica's VOTEs for executed headers without a known certificate. After a crash
	// of all replicas these headers would then never be certified. So they are signed again. The VOTEs themselves are not
	// persisted, since the ledger has the headers.
	for h := certified + 1; h <= executed; h++ {
		d, err := header(h)
		if err != nil {
			return nil, err
		}
		c.recalled = append(c.recalled, d)
	}
	return c, nil
}

// Start is the first input. It starts the protocols if the store is trusted; otherwise they start after enough answers
// of peers.
func (c *Core) Start(now protocols.Time) Step {
	var st Step
	if c.identity.begun == nil {
		c.run(now, &st)
	}
	return st
}

// run starts the protocols. From here on the replica signs.
func (c *Core) run(now protocols.Time, st *Step) {
	c.identity.running = true
	c.catchup.progress = now
	c.Vouching.holdAll(now, st)
	c.fromBDT(st, c.bdt.Start(now))
	certified := c.certify.CertifiedHeight()
	c.fromBDT(st, c.bdt.Certified(certified))
	for k, d := range c.recalled {
		c.fromCertify(st, c.certify.Executed(certified+1+uint64(k), d))
	}
	c.recalled = nil
	c.Vouching.deliver(now, st)
}

// signs reports whether the replica may sign.
func (c *Core) signs() bool { return c.identity.running && !c.identity.lost }

// Status is the core's position, for operators.
type Status struct {
	Epoch     uint64
	Leader    protocols.Index
	Committed uint64
	Slot      uint64 // of the last committed block of the epoch, 0 if there is none
	Certified uint64
	Patience  time.Duration // of this replica with the leader of the epoch

	Lane   LaneStatus    // own lane
	Frozen protocols.Set // lanes of which nothing is executed any more
	Ends   bdt.Ends      // ended epochs since the start

	Signatures vouch.Counts // batches by the way in which their signatures became known, since the start
}

// LaneStatus is the position of the own lane: the number up to which it is certified or ordered, and the number up to
// which it is ordered.
type LaneStatus struct{ Certified, Ordered uint64 }

// Status reads the core's position.
func (c *Core) Status() Status {
	base := c.bdt.Base()
	s := Status{
		Epoch: c.bdt.Epoch(), Leader: c.bdt.Leader(),
		Committed: base.Height, Certified: c.certify.CertifiedHeight(), Patience: c.bdt.Patience(), Ends: c.bdt.Ends(),
		Signatures: c.Vouching.machine.Counts(),
	}
	s.Lane.Certified, s.Lane.Ordered = c.bdt.OwnLane()
	s.Frozen = c.bdt.FrozenLanes()
	if base.Epoch == s.Epoch {
		s.Slot = base.Slot
	}
	return s
}

// Delays are the times that commits have taken in this epoch.
func (c *Core) Delays() bolt.Delays { return c.bdt.Delays() }

// Pending reports whether this replica knows of data to commit.
func (c *Core) Pending() bool { return c.bdt.Pending() }

// WantsBatch reports whether a payload of so many waiting bytes should become a batch now, and if not, when to call it
// again. Zero means after the next input.
func (c *Core) WantsBatch(now protocols.Time, waiting int) (bool, protocols.Time) {
	open := c.bdt.Uncertified()
	switch {
	case !c.signs():
		return false, 0
	case !c.bdt.HasRoom() || open >= maxUnanswered:
		return false, 0
	case open == 0 || waiting >= FullBatch:
		return true, 0
	case now >= c.lastAppend.Add(c.bdt.Gap()):
		return true, 0
	}
	return false, c.lastAppend.Add(c.bdt.Gap())
}

// Append makes the next batch of the own lane from transactions and from the notices that are due ([Core.Notices]), which
// it returns; or, with Config.Opaque, from parts of encoded opaque payloads.
// WantsBatch must have allowed it.
func (c *Core) Append(now protocols.Time, txs [][]byte) (Step, *lanes.Batch, []ledger.RawNotice) {
	var st Step
	c.lastAppend = now
	var payload []byte
	var notices []ledger.RawNotice
	var count int
	if c.cfg.Opaque {
		count = ledger.CountOpaque(txs)
		payload = ledger.EncodeOpaque(count, txs...)
	} else {
		notices = append(c.takeNotice(), c.Cancellation.take()...)
		payload, count = ledger.EncodePayload(txs, notices...), len(txs)+len(notices)
	}
	child, batch := c.bdt.Append(now, payload, count)
	c.fromBDT(&st, child)
	c.Vouching.deliver(now, &st)
	return st, batch, notices
}

// Connected begins a session with a peer whose streams are up. Earlier messages may be lost, so they are sent again.
func (c *Core) Connected(to protocols.Index) Step {
	var st Step
	c.pings.connected()
	c.identity.session.Remove(to)
	c.hello(&st, to)
	st.Send(to, &Position{Certified: c.certify.CertifiedHeight()})
	c.resend(&st, to)
	return st
}

func (c *Core) resend(st *Step, to protocols.Index) {
	if !c.signs() {
		return
	}
	c.fromBDT(st, c.bdt.Resend(to))
	protocols.Absorb(st, c.certify.Resend(to))
	protocols.Absorb(st, c.Vouching.machine.Resend(to))
}

// Handle handles a message of a peer, or an LD from outside the shard with this replica as its sender, or the place of a
// message that was ahead.
func (c *Core) Handle(now protocols.Time, v Verified) Step {
	var st Step
	from, m := v.from, v.message
	if v.ahead != nil {
		if c.signs() {
			c.fromBDT(&st, c.bdt.HandleAhead(now, from, *v.ahead))
			c.Vouching.deliver(now, &st)
			c.pursue(now, &st)
		}
		c.identity.write(now, &st)
		return st
	}
	if handled := c.handleIdentity(now, &st, from, m); handled {
		c.identity.write(now, &st)
		return st
	}
	switch x := m.(type) {
	case *certify.VOTE:
		c.fromCertify(&st, c.certify.HandleVOTE(from, x))
	case *cancel.CLM:
		for _, o := range protocols.Absorb(&st, cancelled(c.Cancellation.machine.HandleCLM(from, x))) {
			st.Emit(o)
		}
	case *vouch.Vouch:
		c.Vouching.absorb(&st, c.Vouching.machine.HandleVouch(now, from, x))
	case *Position:
		c.heard(from, x)
	case *Request:
		st.Read(from, HistoryRange{From: x.From})
	case *Inbound:
		child, _ := c.bdt.Handle(now, from, &x.LD)
		c.fromBDT(&st, child)
		st.Emit(Output{Inbound: x})
	case *History:
		c.history(now, &st, from, x)
	default:
		child, ok := c.bdt.Handle(now, from, m)
		if !ok {
			panic(fmt.Sprintf("replica: a message of type %T reached the core", m))
		}
		c.fromBDT(&st, child)
	}
	if b, ok := m.(*lanes.Batch); ok {
		c.Vouching.held(now, &st, lanes.Ref{Lane: b.Lane, Tip: b.Tip()})
	}
	c.Vouching.deliver(now, &st)
	c.pursue(now, &st)
	c.identity.write(now, &st)
	return st
}

// heard records a peer's position.
func (c *Core) heard(from protocols.Index, m *Position) {
	c.catchup.heard(from, m.Certified)
	if m.Again {
		c.catchup.owed.Add(from)
	}
}

// NextLD is the number of the first LD of a source shard that this replica lacks.
func (c *Core) NextLD(source uint16) uint64 { return c.bdt.NextLD(source) }

// Executed records the result of executing the next delivered block.
func (c *Core) Executed(now protocols.Time, b *ledger.Block) Step {
	var st Step
	if !c.signs() {
		return st
	}
	height := b.Header.Height
	c.evidence.froze(b.Frozen)
	c.more, c.asked = b.More, false
	c.fromBDT(&st, c.bdt.Executed(now, height))
	c.Vouching.executed(now, &st, b.Bad)
	c.fromCertify(&st, c.certify.Executed(height, b.HeaderDigest))
	c.Vouching.deliver(now, &st)
	c.pursue(now, &st)
	return st
}

// Wake is the time of the next Tick, or zero.
func (c *Core) Wake() protocols.Time {
	if !c.signs() {
		return c.pings.due
	}
	return protocols.Earliest(c.bdt.Wake(), c.catchup.wake, c.catchup.oweAt, c.pings.due, c.Vouching.machine.Wake())
}

// Tick does the work that is due.
func (c *Core) Tick(now protocols.Time) Step {
	var st Step
	if c.pings.tick(now, &st) && !c.identity.running {
		c.helloAgain(&st)
	}
	if !c.signs() {
		return st
	}
	if due := protocols.Earliest(c.bdt.Wake(), c.catchup.wake, c.catchup.oweAt, c.Vouching.machine.Wake()); due == 0 || now < due {
		return st // only Pings were due
	}
	c.fromBDT(&st, c.bdt.Tick(now))
	c.Vouching.absorb(&st, c.Vouching.machine.Tick(now, c.Vouching.idle()))
	c.Vouching.deliver(now, &st)
	c.pursue(now, &st)
	return st
}

func (c *Core) fromBDT(st *Step, child bdt.Step) {
	c.Vouching.waiting = append(c.Vouching.waiting, protocols.Absorb(st, child)...)
}

func (c *Core) fromCertify(st *Step, child certify.Step) {
	for _, x := range protocols.Absorb(st, child) {
		st.Record(CertificateKey(x.Height), x.Append(nil))
		st.Emit(Output{Certified: x})
	}
	if h := c.certify.CertifiedHeight(); h > c.catchup.certified {
		c.catchup.certified = h
		st.Record(certifiedKey, wire.AppendU64(nil, h))
		c.fromBDT(st, c.bdt.Certified(h))
	}
}

var (
	certifiedKey      = []byte("h/t")
	prefixCertificate = []byte("h/c")
)

// CertificateKey is the key of the certificate of a height's header.
func CertificateKey(height uint64) []byte {
	return wire.AppendU64(append(make([]byte, 0, 3+8), prefixCertificate...), height)
}

func certifiedHeight(stored protocols.Stored) (uint64, error) {
	for _, value := range stored(certifiedKey, append(certifiedKey[:len(certifiedKey):len(certifiedKey)], 0)) {
		r := wire.NewReader(value)
		h := r.U64()
		if err := r.Done(); err != nil {
			return 0, fmt.Errorf("certified height record: %w: the store is damaged", err)
		}
		return h, nil
	}
	return 0, nil
}

// blocksOf returns the blocks of a History, for the consensus machine.
func blocksOf(h *History) []*bolt.Block {
	out := make([]*bolt.Block, len(h.Items))
	for i := range h.Items {
		out[i] = h.Items[i].Block
	}
	return out
}
