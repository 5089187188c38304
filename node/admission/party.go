package admission

import (
	"fmt"
	"net/netip"

	"bdtnode/protocols"
)

// Party is a source of transactions and requests to which limits apply: a client address, or a replica of another
// shard. The zero Party is this replica.
type Party string

// ClientParty returns the party of a client's host and port. All IPv6 addresses of one /64 network are one party,
// since a host with one such address can usually use all of them.
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

// PeerParty returns the party of a replica of another shard.
func PeerParty(shard uint16, replica protocols.Index) Party {
	return Party(fmt.Sprintf("replica %d/%d", shard, replica))
}
