package bdt

import (
	"bytes"
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// advance does everything that an input may have made possible: it leaves the epoch, gives the agreement the input of this
// replica, ends the epoch and begins the next. Several epochs may end in one call, since messages of the next are kept.
func (m *Machine) advance(now protocols.Time, st *Step) {
	for {
		m.watch(now, st)
		m.propose(now, st)
		// The epoch ends only when the executor is near enough to commit the last block.
		if !m.current.isComplete(m.chain.base) || bolt.Lags(m.chain.base.Height, m.chain.executed) {
			return
		}
		x := m.current.decided
		parent := m.chain.base
		last := x.last(m.cfg.Committee, m.current.base)
		m.commit(now, st, bolt.Committed{Block: last, Signers: x.holders(m.cfg.Self)})
		m.begin(now, st, m.current.next(m.cfg.Committee, m.cfg.Slots, parent, last))
		m.chain.deliver(now, st, &m.data)
	}
}

// watch leaves the epoch when a mark has expired or f+1 replicas left (docs/design.md §4.3). Before a mark expires it sends the
// leader the certificate of the pending position, since the leader may not have it.
func (m *Machine) watch(now protocols.Time, st *Step) {
	e := &m.current
	if e.status != nil || e.decided != nil {
		return
	}
	if e.agreement.Decision() != nil {
		e.bolt.Leave() // the decided value will arrive
		return
	}
	if m.chain.lags() {
		return
	}
	// All marks are updated before they are checked, with one patience. Otherwise a mark could look late at the next call only
	// because another mark made the patience smaller.
	m.waiting.update(now, &m.data, e.bolt)
	for _, k := range m.waiting.takeCertificatesDue(now, e.bolt.CommittedSlot()) {
		if e.leader != m.cfg.Self {
			m.data.sendCertificate(st, e.leader, k)
		}
	}
	if e.left >= m.cfg.Committee.WeakQuorum() || e.bolt.LastSlotCommitted() || m.cfg.Dumbo && m.waiting.any() ||
		m.waiting.expired(now, e.bolt.CommittedSlot(), m.chain.base.TimeMS, m.cfg.WallClock) {
		e.cause = e.causeOf(&m.cfg, m.waiting.outwaited(now))
		m.leave(now, st)
	}
}

// leave ends the part of this replica in the slots of the epoch. Its Status and the proofs in it are persisted in the same
// step, so they are on disk before the Status is sent.
func (m *Machine) leave(now protocols.Time, st *Step) {
	e := &m.current
	e.bolt.Leave()
	s := &Status{Claim: Claim{
		Epoch: e.number, TimeMS: m.cfg.WallClock.At(now).Millis(),
		Cut: make(lanes.Cut, m.cfg.Committee.N()), Inbound: make(lanes.Cut, m.cfg.Shards),
	}}
	if q := e.bolt.HighestQC(); q != nil {
		s.Slot, s.Digest, s.QC = q.Slot, q.Digest, q
	}
	for i := range s.Cut {
		if x := m.data.lanes.Certificate(protocols.Index(i)); x != nil {
			s.Cut[i], s.Certificates = x.Tip, append(s.Certificates, x)
		}
	}
	for i := range s.Inbound {
		if x := m.data.inbound.Certificate(uint16(i)); x != nil {
			s.Inbound[i], s.Deliveries = x.Tip, append(s.Deliveries, x)
		}
	}
	s.Signature = m.cfg.Signer.Sign(s.statement(m.cfg.Committee))
	e.status = s
	st.Record(statusKey(e.number), s.Append(nil))
	st.Broadcast(s)
	m.handleStatus(now, st, m.cfg.Self, s)
}

// upon the first checked Status of a replica in the current epoch: keep it, and use the certificates in it.
func (m *Machine) handleStatus(now protocols.Time, st *Step, from protocols.Index, s *Status) {
	e := &m.current
	if len(s.Inbound) != m.cfg.Shards {
		st.Blame(from, "sent a Status for %d channels, want %d", len(s.Inbound), m.cfg.Shards)
		return
	}
	if first := e.statuses[from]; first != nil {
		if !bytes.Equal(first.Claim.append(nil), s.Claim.append(nil)) {
			st.Blame(from, "signed two Status in epoch %d", e.number)
		}
		return
	}
	e.statuses[from] = s
	e.left++
	if from == m.cfg.Self {
		return
	}
	if s.QC != nil {
		e.bolt.RequestBlock(now, s.QC)
	}
	for _, x := range s.Certificates {
		m.fromLanes(now, st, m.data.lanes.HandleCertificate(now, x))
	}
	for _, x := range s.Deliveries {
		m.fromInbound(now, st, m.data.inbound.HandleCertificate(now, x))
	}
}

// upon n-f Status that count: propose to the agreement. A Status counts when the block of its QC is committed or held, so
// that the input can contain the block of the highest QC.
func (m *Machine) propose(now protocols.Time, st *Step) {
	e := &m.current
	if e.proposed || e.status == nil || e.left < m.cfg.Committee.Quorum() || e.agreement.Decision() != nil {
		return
	}
	var from []protocols.Index
	var counted []*Status
	var block *bolt.Block
	top := uint64(0)
	for i, s := range e.statuses {
		if s == nil || len(counted) == m.cfg.Committee.Quorum() {
			continue
		}
		b := e.bolt.Block(s.Slot, s.Digest)
		if b == nil && s.Slot > e.bolt.CommittedSlot() {
			continue
		}
		from, counted = append(from, protocols.Index(i)), append(counted, s)
		if s.Slot > top {
			top, block = s.Slot, b
		}
	}
	if len(counted) < m.cfg.Committee.Quorum() {
		return
	}
	if top < e.bolt.HighestFinalSlot() {
		panic(fmt.Sprintf("bdt: n-f replicas sent Finalize for slot %d of epoch %d, but %d Status claim at most slot %d: more than f replicas are Byzantine",
			e.bolt.HighestFinalSlot(), e.number, len(counted), top))
	}
	if top < e.bolt.CommittedSlot() {
		return // the slot came by its certified header, so the epoch is decided at another replica: wait for that decision
	}
	e.proposed = true
	child, err := e.agreement.Propose(now, newInput(e.number, from, counted, e.base, block).Encode())
	if err != nil {
		panic(fmt.Sprintf("bdt: the own input for the end of epoch %d is invalid: %v", e.number, err))
	}
	m.fromAgreement(now, st, child)
}

// fromAgreement takes over a step of the agreement of the current epoch. Upon its decision the slots up to the QC in the
// decided input are committed, as soon as their blocks are held.
func (m *Machine) fromAgreement(now protocols.Time, st *Step, child mvba.Step) {
	e := &m.current
	e.recordKeys(child)
	for _, d := range protocols.Absorb(st, child) {
		x, err := DecodeInput(m.cfg.Committee, d.Value)
		if err != nil {
			panic(fmt.Sprintf("bdt: the decision of epoch %d is malformed: %v: more than f replicas are Byzantine", e.number, err))
		}
		e.decided = x
		for _, c := range x.Certificates {
			protocols.Absorb(st, m.data.lanes.HandleCertificate(now, c))
		}
		for _, c := range x.Deliveries {
			protocols.Absorb(st, m.data.inbound.HandleCertificate(now, c))
		}
		m.fromBolt(now, st, e.bolt.Decide(now, x.parent(e.base), x.voters()))
	}
}

// recordKeys records the keys of the agreement's records, so that they can be deleted later.
func (e *epoch) recordKeys(child mvba.Step) {
	for _, r := range child.Persist {
		e.keys[string(r.Key)] = true
	}
}

// voters is the set of replicas that voted for the block of the QC.
func (x *Input) voters() protocols.Set {
	if x.QC == nil {
		return protocols.Set{}
	}
	return x.QC.Certificate.Signers
}

// holders is the set of replicas, without self, that hold some of the new data of the last block.
func (x *Input) holders(self protocols.Index) protocols.Set {
	var set protocols.Set
	add := func(c *protocols.Certificate) {
		for _, i := range c.Signers.Members() {
			if i != self {
				set.Add(i)
			}
		}
	}
	for _, t := range x.Certificates {
		add(&t.Certificate)
	}
	for _, t := range x.Deliveries {
		add(&t.Certificate)
	}
	return set
}
