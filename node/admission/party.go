package admission

import (
	"fmt"
	"net/netip"

	"bdtnode/protocols"
)

// Party is a source of transactions and of waits that limits are counted for: a client address or a replica of another
// shard. The zero Party is this replica itself.
type Party string

// ClientParty is the party of a client's host and port. IPv6 hosts of one /64 network are one party, since whoever has
// one such address usually has all of them.
func ClientParty(hostPort string) Party {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return Party("client " + hostPort)
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // 64 is a valid length of an IPv6 prefix
		return Party("client " + p.String())
	}
	return Party("client " + a.String())
}

// PeerParty is the party of a replica of another shard.
func PeerParty(shard uint16, replica protocols.Index) Party {
	return Party(fmt.Sprintf("replica %d/%d", shard, replica))
}
