package config

import (
	"slices"

	"github.com/multiformats/go-multiaddr"
)

// joinShards is the number of other shards of which a replica has bootstrap addresses: those after its own, in turn.
const joinShards = 8

// contact is the address of a replica for others.
type contact struct {
	host string // IP address or DNS name
	addr string // multiaddr with the peer id; empty if the port is chosen at each start
}

// contacts are the replicas of a shard, and a number of them that includes an honest one.
type contacts struct {
	members []contact
	enough  int
}

func newContact(p Place, peerID string) contact {
	at := p.Announce
	if at == "" && len(p.Listen) > 0 {
		at = p.Listen[0]
	}
	a, err := multiaddr.NewMultiaddr(at)
	if err != nil || len(a) == 0 {
		return contact{} // invalid; the check of the replica's settings reports it
	}
	for _, c := range a {
		if (c.Code() == multiaddr.P_TCP || c.Code() == multiaddr.P_UDP) && c.Value() == "0" {
			return contact{}
		}
	}
	return contact{host: a[0].Value(), addr: at + "/p2p/" + peerID}
}

// joinBy is the list of bootstrap addresses of replica i of shard s. It contains all other replicas of the shard, so
// that any two that are up find each other. It contains f+1 replicas of each of the next shards, of which one is
// honest, on different hosts if there are enough. A replica finds further shards through these.
func joinBy(known []contacts, s, i int) []string {
	out := []string{}
	for k, c := range known[s].members {
		if k != i && c.addr != "" {
			out = append(out, c.addr)
		}
	}
	for d := 1; d < len(known) && d <= joinShards; d++ {
		other := known[(s+d)%len(known)]
		out = append(out, spread(other.members, other.enough)...)
	}
	return out
}

// spread picks at most want addresses, of different hosts first.
func spread(members []contact, want int) []string {
	var first, again []string
	var hosts []string
	for _, c := range members {
		switch {
		case c.addr == "":
		case slices.Contains(hosts, c.host):
			again = append(again, c.addr)
		default:
			hosts = append(hosts, c.host)
			first = append(first, c.addr)
		}
	}
	all := append(first, again...)
	return all[:min(want, len(all))]
}
