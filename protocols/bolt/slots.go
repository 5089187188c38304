package bolt

import (
	"maps"
	"slices"

	"bdtnode/internal/digest"
	"bdtnode/protocols"
)

// slot is the state of one slot.
type slot struct {
	proposal     *Propose                   // first proposal of the leader, the only one that may be voted for
	blocks       map[digest.Digest]*Propose // the proposal, and blocks that a QC or Finalize messages name
	vote         *Vote                      // own vote
	voters       protocols.Set              // replicas whose first vote was counted
	votes        map[digest.Digest]*protocols.Tally
	qc           *QC
	finalize     *Finalize                        // own Finalize
	senders      protocols.Set                    // replicas whose first Finalize was counted
	finalizers   map[digest.Digest]*protocols.Set // senders, by the digest in their Finalize
	final        digest.Digest                    // digest with n-f Finalize messages
	equivocated  bool                             // a fault was reported for two blocks of the leader
	conflictSent bool                             // a conflict with the cut was sent to the leader
	refused      bool                             // the proposal does not extend its parent
	response     *response                        // votes for the own proposal; nil if this replica is not the leader, and after a restart
	pendingVote  *Block                           // final block to vote for when execution is near enough; nil if there is none
	holders      *protocols.Set                   // other replicas that voted for the block that ends the epoch; nil in other slots
}

// names reports whether a vote, a Finalize or a QC of the slot names a digest.
func (x *slot) names(d digest.Digest) bool {
	return x.votes[d] != nil || x.finalizers[d] != nil || x.final == d || x.qc != nil && x.qc.Digest == d
}

// signers is the set of replicas that voted for a block, or else sent Finalize messages for it. They are asked first for
// data.
func (x *slot) signers(d digest.Digest) protocols.Set {
	if x.holders != nil {
		return *x.holders
	}
	if t := x.votes[d]; t != nil {
		return t.Signers()
	}
	if c := x.finalizers[d]; c != nil {
		return *c
	}
	return protocols.Set{}
}

// slotWindow has the slots of an epoch that are not forgotten. It decides for which slots messages are kept, and which
// slots are forgotten.
type slotWindow struct {
	epoch     uint64
	last      uint64 // last slot of the epoch
	committed uint64 // slot of the last commit; 0 if no block of this epoch is committed
	floor     uint64 // slots at or below it are forgotten: their heights are certified
	kept      map[uint64]*slot
	highest   uint64        // highest slot that was ever in kept
	ahead     protocols.Set // peers of which a message beyond the window was refused
	aheadOf   uint64        // lowest slot of these messages; zero if there is none
}

func newSlotWindow(epoch, last, committed uint64) slotWindow {
	return slotWindow{epoch: epoch, last: last, committed: committed, floor: committed, kept: make(map[uint64]*slot)}
}

// at is the state of a slot. It is made if there is none.
func (w *slotWindow) at(s uint64) *slot {
	x := w.kept[s]
	if x == nil {
		x = &slot{
			blocks:     make(map[digest.Digest]*Propose),
			votes:      make(map[digest.Digest]*protocols.Tally),
			finalizers: make(map[digest.Digest]*protocols.Set),
		}
		w.kept[s] = x
		w.highest = max(w.highest, s)
	}
	return x
}

// end is the highest slot of the window above the last commit that kept may have.
func (w *slotWindow) end() uint64 { return min(w.committed+window, w.highest) }

// accepts reports whether messages of slot s are kept. If s is above the window, it records the sender.
func (w *slotWindow) accepts(from protocols.Index, epoch, s uint64) bool {
	if epoch != w.epoch || s <= w.floor || s > w.last {
		return false
	}
	if s <= w.committed+window {
		return true
	}
	w.refuse(from, s)
	return false
}

// refuse records that a message of a peer was refused because its slot is above the window.
func (w *slotWindow) refuse(from protocols.Index, s uint64) {
	w.ahead.Add(from)
	if w.aheadOf == 0 || s < w.aheadOf {
		w.aheadOf = s
	}
}

// takeRefused returns the peers of refuse, and clears them, if the window has reached one of their messages by now.
func (w *slotWindow) takeRefused() protocols.Set {
	var set protocols.Set
	if w.aheadOf != 0 && w.aheadOf <= w.committed+Pipeline {
		set, w.ahead, w.aheadOf = w.ahead, protocols.Set{}, 0
	}
	return set
}

// settled is the highest slot, up to top, such that the other replicas need nothing more from this replica in it or any
// slot before it. A slot in which this replica voted and has no QC yet is kept, with all later ones, as long as it is among
// the last slots of a window: f Byzantine VOTEs and the own VOTE make a certified header here that no other replica may
// have, and the others may still need this replica's Finalize. A replica that left the epoch keeps no slot for that.
func (w *slotWindow) settled(top uint64, left bool) uint64 {
	for s := max(w.floor, top-min(top, window)) + 1; s <= top && !left; s++ {
		if x := w.kept[s]; x != nil && x.vote != nil && x.finalize == nil {
			return s - 1
		}
	}
	return top
}

// forgetUpTo deletes all slots up to top from memory and disk, and keeps no messages of them any more.
func (w *slotWindow) forgetUpTo(st *Step, top uint64) {
	for s := w.floor + 1; s <= top; s++ {
		if w.kept[s] != nil {
			w.forget(st, s)
		}
	}
	w.floor = max(w.floor, top)
}

// forgetAll deletes all slots from memory and disk.
func (w *slotWindow) forgetAll(st *Step) {
	for _, s := range slices.Sorted(maps.Keys(w.kept)) {
		w.forget(st, s)
	}
}

func (w *slotWindow) forget(st *Step, s uint64) {
	delete(w.kept, s)
	for _, key := range [][]byte{proposalKey(w.epoch, s), voteKey(w.epoch, s), finalizeKey(w.epoch, s)} {
		st.Record(key, nil)
	}
}
