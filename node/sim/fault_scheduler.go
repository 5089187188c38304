package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

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
	// until is the time until which a message that has arrived is held back; a time not after now releases it. It is
	// called again whenever the scheduler's knowledge changes. k.expiry(f) is the latest possible time.
	until(k *scheduling, f *flight) protocols.Time
}

// newScheduler draws a patience, and one tactic or several.
func newScheduler(d draw) Scheduler {
	f := Scheduler{Patience: d.ms(300, 5000)}
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
		f.Tactics = append(f.Tactics, Whims{Rate: d.float(0.02, 0.4)})
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

func (f Scheduler) start(s *cluster) { s.network.scheduling = newScheduling(s, f) }

// holding is the scheduler's state for a message under way.
type holding struct {
	held  bool
	whim  protocols.Time // until when a random tactic holds it back
	mused bool           // whether that tactic has drawn a time
}

// forgetting is the number of past epochs that the scheduler remembers.
const forgetting = 8

// scheduling is the scheduler's knowledge of a shard and the messages that it holds back.
type scheduling struct {
	s         *cluster
	adversary Scheduler
	tosses    map[toss.Name]*toss.Toss
	left      map[epochOf]bool // by Status sent
	decided   map[epochOf]bool // by decisions sent
	voted     map[votedOf]bool
	came      map[place]*protocols.Set // the senders whose messages for one place have arrived
	draws     map[drawn][]int
	newest    uint64 // epoch
	held      []*flight
	changed   bool
}

// votedOf is a replica's vote in a round of an agreement.
type votedOf struct {
	who protocols.Index
	at  mvba.At
}

func newScheduling(s *cluster, f Scheduler) *scheduling {
	return &scheduling{
		s: s, adversary: f, tosses: make(map[toss.Name]*toss.Toss), left: make(map[epochOf]bool), decided: make(map[epochOf]bool),
		voted: make(map[votedOf]bool), came: make(map[place]*protocols.Set), draws: make(map[drawn][]int),
	}
}

// sees is called with every message that is sent.
func (k *scheduling) sees(from protocols.Index, m protocols.Message) {
	switch x := m.(type) {
	case *toss.Release:
		k.enter(from, x.Name.Epoch)
		t := k.tosses[x.Name]
		if t == nil {
			t = toss.NewToss(k.s.committee, k.s.coin, x.Name)
			k.tosses[x.Name] = t
		}
		if !t.Known() && k.s.coin.Verify(from, x.Name.Statement(k.s.committee), x.Share) {
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

func (k *scheduling) note(facts map[epochOf]bool, e epochOf) {
	k.enter(e.who, e.epoch)
	if !facts[e] {
		facts[e], k.changed = true, true
	}
}

// enter deletes old knowledge when an honest replica enters a newer epoch than all before.
func (k *scheduling) enter(who protocols.Index, epoch uint64) {
	if epoch <= k.newest || k.s.nodes[who].adversary != nil {
		return
	}
	k.newest = epoch
	for name := range k.tosses {
		if name.Epoch+forgetting < epoch {
			delete(k.tosses, name)
		}
	}
	for e := range k.left {
		if e.epoch+forgetting < epoch {
			delete(k.left, e)
		}
	}
	for e := range k.decided {
		if e.epoch+forgetting < epoch {
			delete(k.decided, e)
		}
	}
	for v := range k.voted {
		if v.at.Instance.Epoch+forgetting < epoch {
			delete(k.voted, v)
		}
	}
	for p := range k.came {
		if p.epoch+forgetting < epoch {
			delete(k.came, p)
		}
	}
	for d := range k.draws {
		if d.epoch+forgetting < epoch {
			delete(k.draws, d)
		}
	}
}

// elected is the replica that the coin of a round elects, if the coin is known.
func (k *scheduling) elected(at mvba.At) (leader protocols.Index, out bool) {
	t := k.tosses[toss.Name{Epoch: at.Instance.Epoch, Kind: at.Instance.Kind, Index: at.Instance.Index, Round: at.Round}]
	if t == nil || !t.Known() {
		return 0, false
	}
	return t.Leader(), true
}

// expiry is the time at which a message must be released.
func (k *scheduling) expiry(f *flight) protocols.Time { return f.sent.Add(k.adversary.Patience) }

// wants is the time until which a message is held back.
func (k *scheduling) wants(f *flight) protocols.Time {
	if f.packet.message == nil || k.s.nodes[f.to].adversary != nil {
		return 0
	}
	var until protocols.Time
	for _, t := range k.adversary.Tactics {
		until = max(until, t.until(k, f))
	}
	return min(until, k.expiry(f))
}

// keeps is called when a message has arrived. It reports whether the message has to wait. If so, it arrives again
// later.
func (k *scheduling) keeps(f *flight) bool {
	until := k.wants(f)
	if until <= k.s.now {
		return false
	}
	if len(k.held) == cap(k.held) {
		k.held = slices.DeleteFunc(k.held, func(f *flight) bool { return !f.held })
	}
	f.held = true
	k.held = append(k.held, f)
	k.s.at(until, func() { k.release(f) })
	return true
}

// release lets a message that is still held back arrive again.
func (k *scheduling) release(f *flight) {
	if f.held {
		f.held = false
		k.s.network.arrive(f)
	}
}

// reconsider releases messages for which no reason to wait is left.
func (k *scheduling) reconsider() {
	kept := k.held[:0]
	for _, f := range k.held {
		if f.held && k.wants(f) <= k.s.now {
			k.s.at(k.s.now, func() { k.release(f) })
		} else if f.held {
			kept = append(kept, f)
		}
	}
	clear(k.held[len(kept):])
	k.held = kept
}

// yield releases all messages.
func (k *scheduling) yield() {
	for _, f := range k.held {
		k.s.at(k.s.now, func() { k.release(f) })
	}
	k.held = nil
}

// passed is called with every message that reaches its receiver.
func (k *scheduling) passed(f *flight) {
	if p, _, ok := k.counts(f); ok {
		k.enter(k.s.nodes[f.from].id, p.epoch)
		set := k.came[p]
		if set == nil {
			set = &protocols.Set{}
			k.came[p] = set
		}
		set.Add(k.s.nodes[f.from].id)
	}
}
