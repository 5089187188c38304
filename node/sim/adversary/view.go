// Package adversary has the Byzantine behaviours of the simulator, each in a file of its own.
//
// A behaviour replaces the messages of an honest replica, and may send others. It has access to its replica and to the
// run through a [View] only. Liveness must hold against every behaviour of at most f replicas of a shard.
package adversary

import (
	"math/rand/v2"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	toss "bdtnode/protocols/coin"
	"bdtnode/protocols/inbound"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

// Behaviour decides which messages a Byzantine replica sends in place of those of its honest core.
type Behaviour interface {
	String() string
	// Replace returns the frames that a peer gets in place of m.
	Replace(v *View, to protocols.Index, m protocols.Message) []network.Packet
}

// Receiver is a behaviour that uses the messages that its replica receives.
type Receiver interface {
	// Receive is called with each valid message, before the replica handles it.
	Receive(v *View, from protocols.Index, m protocols.Message)
}

// CrossShard is a behaviour that also sends incorrect messages to other shards.
type CrossShard interface {
	// ReplaceLD returns the frames that a replica of another shard gets in place of an LD.
	ReplaceLD(v *View, ld *settlement.LD) []network.Packet
	// ReplaceCL returns the frames that a replica of shard to gets in place of a CL.
	ReplaceCL(v *View, to uint16, cl *settlement.CL) []network.Packet
	// Position returns the number that it states as the first LD that it lacks, in place of next.
	Position(v *View, next uint64) uint64
}

// View is the access of a behaviour to its replica and to the run.
type View struct {
	Self      protocols.Index
	Place     int // of its node in the shard; twins have two nodes
	Shard     uint16
	Shards    int // of the network
	Places    int // of the nodes of its shard
	Committee *protocols.Committee
	Signer    sig.Signer
	Coin      toss.Scheme
	Holder    toss.Holder // of the replica's share of the coin
	Dumbo     bool        // there is no fast lane
	Vouched   int         // entries of a batch from which on replicas vouch for its signatures; 0: they vouch for none
	Rand      *rand.Rand  // of the run
	Replica
}

// Replica is the state of a Byzantine replica, and its means to act at other times than a message.
type Replica interface {
	// Now is the virtual time, and Wall the time of the replica's clock.
	Now() protocols.Time
	Wall() protocols.Time
	// Life is another number after each start and each crash.
	Life() int
	// After carries out an action later, unless the replica has crashed by then.
	After(d time.Duration, action func())
	// Around and Between are random times.
	Around(mean time.Duration) time.Duration
	Between(low, high time.Duration) time.Duration
	// Send sends a frame to the node with a place.
	Send(place int, p network.Packet)
	// Gossip publishes a frame on the topic of another shard.
	Gossip(shard uint16, p network.Packet)
	// Submit sends a message as the honest core does, so that the behaviour may replace it.
	Submit(to protocols.To, m protocols.Message)

	Status() replica.Status
	// Patience is the time for which the replicas wait for pending work.
	Patience() time.Duration
	// NextLD is the first number of a channel that is not ordered.
	NextLD(source uint16) uint64
	// Height is that of the last executed block.
	Height() uint64
	// Block is a committed block, nil if its record is not in the store.
	Block(height uint64) *bolt.Block
	// Batch is a batch of a lane, nil if it is not in the store.
	Batch(lane protocols.Index, t lanes.Tip) *lanes.Batch
	// LD is an LD of a channel, nil if it is not in the store.
	LD(source uint16, t lanes.Tip) *inbound.LD
	// Network has the committees of all shards.
	Network() *settlement.Network
	// History is the answer to a peer that requests certified blocks.
	History(from uint64) (*replica.History, error)

	// Junk is a well-formed transaction that can never settle, another one at each call.
	Junk() *ledger.Tx
	// PeerLife is the Life of another replica.
	PeerLife(i protocols.Index) int
	// PeerCommitted is the height that another replica has committed; ok is false while it is down.
	PeerCommitted(i protocols.Index) (height uint64, ok bool)
	// MadeLD is the digest of an LD that another shard made for this one; ok is false if it made none of that number.
	MadeLD(source uint16, number uint64) (d digest.Digest, ok bool)
}

// Unchanged is m without a change.
func Unchanged(m protocols.Message) []network.Packet {
	return []network.Packet{{Frame: replica.Encode(m), Message: m}}
}

// tally counts the incorrect messages of a behaviour.
type tally struct{ noted map[string]int }

// note is called with the kind of each incorrect message.
func (t *tally) note(kind string) {
	if t.noted == nil {
		t.noted = make(map[string]int)
	}
	t.noted[kind]++
}

// Counts is the number of incorrect messages of each kind.
func (t *tally) Counts() map[string]int { return t.noted }

// CountsOf is the number of incorrect messages of a behaviour by kind, nil if it does not count them.
func CountsOf(b Behaviour) map[string]int {
	if x, ok := b.(interface{ Counts() map[string]int }); ok {
		return x.Counts()
	}
	return nil
}
