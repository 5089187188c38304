package bdt

import "bdtnode/protocols"

// Cause is the reason for which an epoch ended at this replica.
type Cause uint8

// The causes, in the order of their numbers.
const (
	// Restarted: this replica left the epoch before its last start, and does not know the reason any more.
	Restarted Cause = iota
	// Rotation: the slots of the epoch are used up, and the next leader takes its turn.
	Rotation
	// Patience: a position was pending for longer than the patience after the leader was sent its certificate.
	Patience
	// PassedOver: the leader committed many slots without ordering a pending position.
	PassedOver
	// Followed: f+1 replicas had left the epoch before this one.
	Followed
	// Decided: the agreement was decided before this replica left the epoch.
	Decided
	// CaughtUp: this replica got the end of the epoch in certified blocks of others.
	CaughtUp
	// Single: there is no fast lane, so each epoch is one block.
	Single
	// Causes is the number of causes.
	Causes = iota
)

func (c Cause) String() string {
	return [Causes]string{"restarted", "rotation", "patience", "passed_over", "followed", "decided", "caught_up", "single"}[c]
}

// End describes an ended epoch. Rounds is the number of rounds of its agreement, 0 if this replica does not know the
// decision.
type End struct {
	Epoch  uint64 // 0 if no epoch has ended since the start
	Leader protocols.Index
	Cause  Cause
	Rounds uint32
}

// Ends counts the epochs that ended at this replica since its start, by cause.
type Ends struct {
	Count [Causes]uint64
	Last  End
}

// Ends returns the ended epochs since the start, for operators.
func (m *Machine) Ends() Ends { return m.ends }

// causeOf is the reason for which this replica leaves the epoch now. outwaited reports that a position was pending for longer
// than the patience.
func (e *epoch) causeOf(cfg *Config, outwaited bool) Cause {
	switch {
	case cfg.Dumbo:
		return Single
	case e.bolt.LastSlotCommitted():
		return Rotation
	case e.left >= cfg.Committee.WeakQuorum():
		return Followed
	case outwaited:
		return Patience
	}
	return PassedOver
}

// note counts the end of an epoch.
func (x *Ends) note(e *epoch) {
	end := End{Epoch: e.number, Leader: e.leader, Cause: e.cause}
	decision := e.agreement.Decision()
	switch {
	case decision == nil:
		end.Cause = CaughtUp
	case e.status == nil:
		end.Cause = Decided
	}
	if decision != nil {
		end.Rounds = decision.Round
	}
	x.Count[end.Cause]++
	x.Last = end
}

// OwnLane gives the number up to which the own lane is certified or ordered, and the number up to which it is ordered.
func (m *Machine) OwnLane() (certified, ordered uint64) { return m.data.lanes.Pending(m.cfg.Self) }

// FrozenLanes is the set of the lanes of which nothing is executed any more.
func (m *Machine) FrozenLanes() protocols.Set { return m.data.lanes.Frozen() }
