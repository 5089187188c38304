package admin

import (
	"fmt"
	"strings"
	"time"
)

// LinkKind is the kind of the reason why a peer is not connected. Its text is part of the schema.
type LinkKind string

// The kinds of reasons, in the order in which they are checked.
const (
	LinkConnected LinkKind = ""           // it is connected
	LinkBanned    LinkKind = "banned"     // it broke the protocol
	LinkOptional  LinkKind = "not_needed" // enough replicas of its shard are connected
	LinkSession   LinkKind = "no_session" // there is a connection, and no session on it
	LinkOther     LinkKind = "refused"    // the peer has another genesis, or refuses this replica
	LinkAddress   LinkKind = "no_address" // no address is known, and no peer knows one
	LinkDial      LinkKind = "dial"       // its addresses do not answer
	LinkFirst     LinkKind = "first_try"  // the first attempt has not ended
)

// Link is the data about the connection to a peer from which the reason follows.
type Link struct {
	Connected  bool
	Stream     bool // there is a connection
	Addresses  int  // number of known addresses
	Banned     time.Duration
	Optional   bool
	Dialling   bool
	Failed     uint64 // attempts
	Trouble    string // last failure
	Refused    bool   // it says that the two do not belong to one network
	TroubleAge time.Duration
}

// LinkReason is the reason why a peer is not connected.
type LinkReason struct {
	Kind LinkKind
	Text string // a sentence: the reason, and the event that ends it
}

// WhyNotConnected names the reason why a peer is not connected.
func WhyNotConnected(l *Link) LinkReason {
	last := ""
	if l.Trouble != "" {
		last = fmt.Sprintf(" Last failure, %s ago: %s.", l.TroubleAge.Round(100*time.Millisecond), strings.TrimSuffix(l.Trouble, "."))
	}
	switch {
	case l.Connected:
		return LinkReason{LinkConnected, "It is connected."}
	case l.Banned > 0:
		return LinkReason{LinkBanned, fmt.Sprintf("It is banned for another %s, because it broke the protocol.", l.Banned.Round(100*time.Millisecond)) + last}
	case l.Optional:
		return LinkReason{LinkOptional, "Enough replicas of its shard are connected; in a large network a replica keeps connections to half of each other shard."}
	case l.Refused:
		return LinkReason{LinkOther, "The two replicas do not belong to one network, or one has another genesis: compare genesis.json." + last}
	case l.Stream:
		return LinkReason{LinkSession, "There is a connection, and no session on it: the streams are being opened, or its process is suspended." + last}
	case l.Addresses == 0 && l.Failed > 0:
		return LinkReason{LinkAddress, "No address of it is known, and no connected peer knows one. It is searched for again after a pause of at most 5 s; check p2p.bootstrap and that it runs." + last}
	case l.Failed > 0 || l.Trouble != "":
		return LinkReason{LinkDial, fmt.Sprintf("None of its %d known addresses leads to a session. It is dialled again after a pause of at most 5 s; check that it runs and that its p2p port can be reached.", l.Addresses) + last}
	}
	return LinkReason{LinkFirst, "The first attempt to reach it has not ended."}
}
