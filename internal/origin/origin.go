// Package origin defines which remote addresses count as one party for limits.
package origin

import "net/netip"

// Of returns the party of a host and port: the IPv4 address, or the /64 network of an IPv6 address, since a host with
// one address of such a network can usually use all of them. Anything that does not parse as address and port gives
// the zero Prefix, which counts as one party.
func Of(hostPort string) netip.Prefix {
	at, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // both are valid lengths
	return p
}
