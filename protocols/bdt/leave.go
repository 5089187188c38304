package bdt

import (
	"bytes"
	"fmt"

	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// advance does what every input may have made possible: end the epoch and begin the next, leave it, and give the
// agreement this replica's input. One epoch may follow another in it, since messages of the next are kept.
func (m *Machine) advance(now protocols.Time, st *Step) {
	for {
		m.watch(now, st)
		m.propose(now, st)
		if !m.ended() {
			return
		}
		x := m.now.decided
		parent := m.base
		last := x.last(m.cfg.Committee, m.now.base)
		m.commit(now, st, bolt.Committed{Block: last, Signers: x.holders(m.cfg.Self)})
		m.begin(now, st, m.now.next(m.cfg.Committee, m.cfg.Slots, parent, last))
		m.deliver(now, st)
	}
}

// ended reports whether the epoch is decided, everything before its last block is committed, and the executor is near
// enough for that block.
func (m *Machine) ended() bool {
	x := m.now.decided
	return x != nil && m.base.Digest() == x.parent(m.now.base).Digest() && !bolt.Lags(m.base.Height, m.executed)
}

// watch leaves the epoch when it is time to (DESIGN §4.3), and tells the leader before what it seems not to know.
func (m *Machine) watch(now protocols.Time, st *Step) {
	e := &m.now
	if e.status != nil || e.decided != nil {
		return
	}
	if e.agreement.Decision() != nil {
		e.bolt.Leave() // its value is on its way
		return
	}
	if m.lags() {
		return
	}
	before := m.patience.limit() // which the timers were set by
	for k := range m.marks {
		pending, ordered := m.pendingAt(k)
		mark := &m.marks[k]
		late := mark.overslept(now, before)
		if took, done := mark.follow(now, pending, ordered); done {
			m.patience.observe(took)
		} else if late {
			mark.since, mark.told = now, 0
		}
	}
	// Every mark is looked at with the patience that came of it, so that none is found late next time because that shrank.
	limit := m.patience.limit()
	leave := e.left >= m.cfg.Committee.WeakQuorum() || e.bolt.Full()
	for k := range m.marks {
		mark := &m.marks[k]
		if mark.since == 0 {
			continue
		}
		if mark.told == 0 && now >= mark.due(limit) {
			mark.told, mark.slot = now, e.bolt.CommittedSlot()
			m.tell(st, k)
		}
		leave = leave || m.cfg.Dumbo || mark.tired(now, limit, e.bolt.CommittedSlot(), m.base.TimeMS, m.cfg.Wall)
	}
	if leave {
		m.leave(now, st)
	}
}

// lags reports whether execution is so far behind that this replica helps no new block along.
func (m *Machine) lags() bool { return m.base.Height >= m.executed+bolt.ExecutionLag }

// pendingAt is how far a mark's place is pending, and how far it is ordered: a lane's and a channel's certified tip,
// and a slot that is open. What nobody has certified or the leader proposed does not count.
func (m *Machine) pendingAt(k int) (pending, ordered uint64) {
	n := m.cfg.Committee.N()
	switch {
	case k < n:
		return m.lanes.Pending(protocols.Index(k))
	case k < n+m.cfg.Shards:
		return m.channels.Pending(uint16(k - n))
	}
	return m.now.bolt.Open(), m.now.bolt.CommittedSlot()
}

// tell sends the leader the certificate of what is pending.
func (m *Machine) tell(st *Step, k int) {
	n, leader := m.cfg.Committee.N(), m.now.leader
	if leader == m.cfg.Self {
		return
	}
	if k < n {
		if x := m.lanes.Certificate(protocols.Index(k)); x != nil {
			st.Send(leader, x)
		}
	} else if k < n+m.cfg.Shards {
		if x := m.channels.Certificate(uint16(k - n)); x != nil {
			st.Send(leader, x)
		}
	}
}

// restless is when watch next has something to do by the time alone, or zero.
func (m *Machine) restless() protocols.Time {
	var at protocols.Time
	if m.now.status != nil || m.now.decided != nil || m.now.agreement.Decision() != nil || m.lags() {
		return at
	}
	limit := m.patience.limit()
	for k := range m.marks {
		at = protocols.Earliest(at, m.marks[k].due(limit))
	}
	return at
}

// leave ends this replica's part in the epoch's slots. Its Status is on disk, with what it rests on, before it leaves.
func (m *Machine) leave(now protocols.Time, st *Step) {
	e := &m.now
	e.bolt.Leave()
	s := &Status{Claim: Claim{
		Epoch: e.number, TimeMS: m.cfg.Wall.At(now).Millis(),
		Cut: make(lanes.Cut, m.cfg.Committee.N()), Inbound: make(lanes.Cut, m.cfg.Shards),
	}}
	if q := e.bolt.Top(); q != nil {
		s.Slot, s.Digest, s.QC = q.Slot, q.Digest, q
	}
	for i := range s.Cut {
		if x := m.lanes.Certificate(protocols.Index(i)); x != nil {
			s.Cut[i], s.Certificates = x.Tip, append(s.Certificates, x)
		}
	}
	for i := range s.Inbound {
		if x := m.channels.Certificate(uint16(i)); x != nil {
			s.Inbound[i], s.Deliveries = x.Tip, append(s.Deliveries, x)
		}
	}
	s.Signature = m.cfg.Signer.Sign(s.statement(m.cfg.Committee))
	e.status = s
	st.Record(statusKey(e.number), s.Append(nil))
	st.Broadcast(s)
	m.heard(now, st, m.cfg.Self, s)
}

// upon a checked Status of the current epoch, the first of each replica: keep it, and learn what it proves.
func (m *Machine) heard(now protocols.Time, st *Step, from protocols.Index, s *Status) {
	e := &m.now
	if len(s.Inbound) != m.cfg.Shards {
		st.Blame(from, "sent a Status for %d channels, there are %d", len(s.Inbound), m.cfg.Shards)
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
		e.bolt.Want(now, s.QC)
	}
	for _, x := range s.Certificates {
		m.fromLanes(now, st, m.lanes.HandleCertificate(now, x))
	}
	for _, x := range s.Deliveries {
		m.fromChannels(now, st, m.channels.HandleCertificate(now, x))
	}
}

// upon n-f Status that count: propose to the agreement. A Status counts when the block of its QC is committed or held,
// so that the input can have the highest one's.
func (m *Machine) propose(now protocols.Time, st *Step) {
	e := &m.now
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
	if top < e.bolt.Final() {
		panic(fmt.Sprintf("bdt: n-f replicas sent Commit for slot %d of epoch %d, and %d claim at most slot %d: more than f are Byzantine",
			e.bolt.Final(), e.number, len(counted), top))
	}
	if top < e.bolt.CommittedSlot() {
		return // a decision elsewhere committed that slot, which came here by its certified header: it is on its way
	}
	e.proposed = true
	child, err := e.agreement.Propose(now, newInput(e.number, from, counted, e.base, block).Encode())
	if err != nil {
		panic(fmt.Sprintf("bdt: own input for the end of epoch %d: %v", e.number, err))
	}
	m.fromAgreement(now, st, child)
}

// fromAgreement takes over a step of the current epoch's agreement. Upon its decision the slots up to the QC decided
// on are committed, as soon as their blocks are here.
func (m *Machine) fromAgreement(now protocols.Time, st *Step, child mvba.Step) {
	e := &m.now
	e.noteKeys(child)
	for _, d := range protocols.Absorb(st, child) {
		x, err := DecodeInput(m.cfg.Committee, d.Value)
		if err != nil {
			panic(fmt.Sprintf("bdt: the decision of epoch %d is malformed: %v: more than f replicas are Byzantine", e.number, err))
		}
		e.decided = x
		for _, c := range x.Certificates {
			protocols.Absorb(st, m.lanes.HandleCertificate(now, c))
		}
		for _, c := range x.Deliveries {
			protocols.Absorb(st, m.channels.HandleCertificate(now, c))
		}
		m.fromBolt(now, st, e.bolt.Decide(now, x.parent(e.base), x.voters()))
	}
}

// fromPast takes over a step of an ended epoch's agreement, which only answers.
func (m *Machine) fromPast(st *Step, e *epoch, child mvba.Step) {
	e.noteKeys(child)
	protocols.Absorb(st, child)
}

// noteKeys keeps account of the agreement's records, to delete them one day.
func (e *epoch) noteKeys(child mvba.Step) {
	for _, r := range child.Persist {
		e.keys[string(r.Key)] = true
	}
}

// voters is who voted for the block that the slots end with.
func (x *Input) voters() protocols.Set {
	if x.QC == nil {
		return protocols.Set{}
	}
	return x.QC.Certificate.Signers
}

// holders is who has some of the data of the epoch's last block, without self.
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
