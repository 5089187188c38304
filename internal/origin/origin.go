// Package origin says which remote addresses count as one party.
package origin

import "net/netip"

// Of is the party of a host and port: an IPv4 address, or an IPv6 network of 64 bits, since whoever has one such address
// usually has all of them. What is no address and port is the zero Prefix, one party like any other.
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
