// Package scheduler is the adversary of the asynchronous model, which decides when each message arrives. Each way to cause
// harm with delays is a tactic of its own.
package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bdtnode/node/sim/draw"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/mvba"
)

// Scheduler is the adversary of the asynchronous model. It sees each message when it is sent. It knows the coin of a
// round once enough shares were sent to determine it, and nothing of it before. It delays delivery of any message, for
// at most its patience, and lets later messages overtake it. Byzantine replicas get every message at once.
type Scheduler struct {
	Patience time.Duration
	Tactics  []Tactic // a message is delayed as long as any of them requires
}

// Tactic is a way to cause harm with delays alone.
type Tactic interface {
	String() string
	// Until is the time until which a message that has arrived is held back; a time not after now releases it. It is
	// called again whenever the scheduler's knowledge changes. k.Expiry(f) is the latest possible time.
	Until(k *Scheduling, f *network.Flight) protocols.Time
}

// Random draws a patience, and one tactic or several.
func Random(d draw.Source) Scheduler {
	f := Scheduler{Patience: d.Milliseconds(300, 5000)}
	switch d.IntN(5) {
	case 0, 1:
		f.Tactics = append(f.Tactics, StarveBroadcasts{})
	case 2:
		f.Tactics = append(f.Tactics, SplitViews{})
	case 3:
		f.Tactics = append(f.Tactics, StarveBroadcasts{}, SplitViews{})
	}
	switch d.IntN(5) {
	case 0, 1:
		f.Tactics = append(f.Tactics, LoneReplica{Finalizes: d.IntN(2) == 0})
	case 2:
		f.Tactics = append(f.Tactics, LateProposals{})
	case 3:
		f.Tactics = append(f.Tactics, LastOfQuorum{})
	}
	if len(f.Tactics) == 0 || d.IntN(3) == 0 {
		f.Tactics = append(f.Tactics, Whims{Rate: d.Float(0.02, 0.4)})
	}
	return f
}

func (f Scheduler) String() string {
	var all []string
	for _, t := range f.Tactics {
		all = append(all, t.String())
	}
	return fmt.Sprintf("a scheduler that delays messages up to %v: %s", f.Patience, strings.Join(all, ", "))
}

func (f Scheduler) Start(s *machine.Shard) { s.Network.Scheduler = newScheduling(s, f) }

// holding is the scheduler's state for a message under way.
type holding struct {
	held  bool
	until protocols.Time // until which a random tactic holds it back
	drawn bool           // that tactic has drawn a time
}

// holdingOf is the scheduler's state for a frame.
func holdingOf(f *network.Flight) *holding {
	if f.Hold == nil {
		f.Hold = &holding{}
	}
	return f.Hold.(*holding)
}

// forgetting is the number of past epochs that the scheduler remembers.
const forgetting = 8

// Scheduling is the scheduler's knowledge of a shard and the messages that it holds back.
type Scheduling struct {
	s         *machine.Shard
	adversary Scheduler
	tosses    map[toss.Name]*toss.Toss
	left      map[epochOf]bool // by Status sent
	decided   map[epochOf]bool // by decisions sent
	voted     map[votedOf]bool
	came      map[place]*protocols.Set // the senders whose messages for one place have arrived
	draws     map[drawn][]int
	newest    uint64 // epoch
	held      []*network.Flight
	changed   bool
}

// epochOf is an epoch, at one replica.
type epochOf struct {
	who   protocols.Index
	epoch uint64
}

// votedOf is a replica's vote in a round of an agreement.
type votedOf struct {
	who protocols.Index
	at  mvba.At
}

func newScheduling(s *machine.Shard, f Scheduler) *Scheduling {
	return &Scheduling{
		s: s, adversary: f, tosses: make(map[toss.Name]*toss.Toss), left: make(map[epochOf]bool), decided: make(map[epochOf]bool),
		voted: make(map[votedOf]bool), came: make(map[place]*protocols.Set), draws: make(map[drawn][]int),
	}
}

// Shard is the shard whose messages are scheduled.
func (k *Scheduling) Shard() *machine.Shard { return k.s }

// Sent implements [network.Scheduler].
func (k *Scheduling) Sent(from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *toss.Release:
		k.enter(from, x.Name.Epoch)
		t := k.tosses[x.Name]
		if t == nil {
			t = toss.NewToss(k.s.Committee, k.s.Coin, x.Name)
			k.tosses[x.Name] = t
		}
		if !t.Known() && k.s.Coin.Verify(from, x.Name.Statement(k.s.Committee), x.Share) {
			k.changed = t.Add(from, x.Share) || k.changed
		}
	case *bdt.Status:
		k.note(k.left, epochOf{from, x.Epoch})
	case *mvba.Decision:
		k.note(k.decided, epochOf{from, x.Instance.Epoch})
	case *mvba.Vote:
		if v := (votedOf{from, x.At}); !k.voted[v] {
			k.voted[v], k.changed = true, true
		}
	}
	if k.changed {
		k.changed = false
		k.reconsider()
	}
}

func (k *Scheduling) note(facts map[epochOf]bool, e epochOf) {
	k.enter(e.who, e.epoch)
	if !facts[e] {
		facts[e], k.changed = true, true
	}
}

// enter deletes old knowledge when an honest replica enters a newer epoch than all before.
func (k *Scheduling) enter(who protocols.Index, epoch uint64) {
	if epoch <= k.newest || !k.s.Machines[who].Honest() {
		return
	}
	k.newest = epoch
	forget(k.tosses, epoch, func(n toss.Name) uint64 { return n.Epoch })
	forget(k.left, epoch, func(e epochOf) uint64 { return e.epoch })
	forget(k.decided, epoch, func(e epochOf) uint64 { return e.epoch })
	forget(k.voted, epoch, func(v votedOf) uint64 { return v.at.Instance.Epoch })
	forget(k.came, epoch, func(p place) uint64 { return p.epoch })
	forget(k.draws, epoch, func(d drawn) uint64 { return d.epoch })
}

// forget deletes the knowledge of epochs long before one.
func forget[K comparable, V any](known map[K]V, epoch uint64, of func(K) uint64) {
	maps.DeleteFunc(known, func(key K, _ V) bool { return of(key)+forgetting < epoch })
}

// elected is the replica that the coin of a round elects, if the coin is known.
func (k *Scheduling) elected(at mvba.At) (leader protocols.Index, out bool) {
	t := k.tosses[toss.Name{Epoch: at.Instance.Epoch, Kind: at.Instance.Kind, Index: at.Instance.Index, Round: at.Round}]
	if t == nil || !t.Known() {
		return 0, false
	}
	return t.Leader(), true
}

// Expiry is the time at which a message must be released.
func (k *Scheduling) Expiry(f *network.Flight) protocols.Time {
	return f.Sent.Add(k.adversary.Patience)
}

// holdUntil is the time until which a message is held back.
func (k *Scheduling) holdUntil(f *network.Flight) protocols.Time {
	if f.Packet.Message == nil || !k.s.Machines[f.To].Honest() {
		return 0
	}
	var until protocols.Time
	for _, t := range k.adversary.Tactics {
		until = max(until, t.Until(k, f))
	}
	return min(until, k.Expiry(f))
}

// Holds implements [network.Scheduler].
func (k *Scheduling) Holds(f *network.Flight) bool {
	until := k.holdUntil(f)
	if until <= k.s.Now() {
		return false
	}
	if len(k.held) == cap(k.held) {
		k.held = slices.DeleteFunc(k.held, func(f *network.Flight) bool { return !holdingOf(f).held })
	}
	holdingOf(f).held = true
	k.held = append(k.held, f)
	k.s.At(until, func() { k.release(f) })
	return true
}

// release lets a message that is still held back arrive again.
func (k *Scheduling) release(f *network.Flight) {
	if holdingOf(f).held {
		holdingOf(f).held = false
		k.s.Network.Arrive(f)
	}
}

// reconsider releases messages for which no reason to wait is left.
func (k *Scheduling) reconsider() {
	kept := k.held[:0]
	for _, f := range k.held {
		if holdingOf(f).held && k.holdUntil(f) <= k.s.Now() {
			k.s.At(k.s.Now(), func() { k.release(f) })
		} else if holdingOf(f).held {
			kept = append(kept, f)
		}
	}
	clear(k.held[len(kept):])
	k.held = kept
}

// End implements [network.Scheduler].
func (k *Scheduling) End() {
	for _, f := range k.held {
		k.s.At(k.s.Now(), func() { k.release(f) })
	}
	k.held = nil
}

// Delivered implements [network.Scheduler].
func (k *Scheduling) Delivered(f *network.Flight) {
	if p, _, ok := k.counts(f); ok {
		k.enter(k.s.Machines[f.From].ID(), p.epoch)
		set := k.came[p]
		if set == nil {
			set = &protocols.Set{}
			k.came[p] = set
		}
		set.Add(k.s.Machines[f.From].ID())
	}
}
