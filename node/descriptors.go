package node

import (
	"fmt"
	"syscall"

	"bdtnode/internal/kv"
	"bdtnode/shard"
)

// File descriptors that a replica needs. The stores come first, because a store that cannot open a file stops the
// replica. Members come next. Unauthenticated connections and clients get the rest.
const (
	// baseDescriptors covers standard streams, listeners, the lock of the home, name resolution, files that are open
	// briefly, and one kept state of the ledger.
	baseDescriptors = 48 + kv.KeptOpenFiles

	minMemberConns, maxMemberConns = 4, 8 // connections of each member, in each direction
	minStrangers, maxStrangers     = 16, 512
	minClients, maxClients         = 32, 4096
)

// descriptors is the division of the process's file descriptors.
type descriptors struct {
	store       int // for each of the two stores
	memberConns int // connections of each member in each direction
	strangers   int // connections without a TLS handshake
	clients     int // connections to the API
}

// shareDescriptors divides limit descriptors in a network with that many other members. If the limit is too low, the
// error names the limit found and the number needed.
func shareDescriptors(limit uint64, members int) (descriptors, error) {
	needed := baseDescriptors + 2*kv.MinOpenFiles + 2*minMemberConns*members + minStrangers + minClients
	if limit < uint64(needed) {
		return descriptors{}, fmt.Errorf("the process may open %d files, but a replica of this network needs %d: "+
			"raise the limit (ulimit -n, LimitNOFILE= of systemd)", limit, needed)
	}
	left := int(min(limit, 1<<20)) - needed
	// take returns least plus a part of the remaining descriptors, in steps of unit descriptors, and at most most.
	take := func(part, unit, least, most int) int {
		more := min(part/unit, most-least)
		left -= more * unit
		return least + more
	}
	var d descriptors
	d.store = take(left/2, 2, kv.MinOpenFiles, kv.DefaultOpenFiles)
	d.memberConns = take(left/2, max(2*members, 1), minMemberConns, maxMemberConns)
	d.strangers = take(left/4, 1, minStrangers, maxStrangers)
	d.clients = take(left, 1, minClients, maxClients)
	return d, nil
}

// ownDescriptors divides the descriptors of this process. The Go runtime has raised the soft limit to the hard limit at
// the start.
func ownDescriptors(g *shard.Genesis) (descriptors, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return descriptors{}, fmt.Errorf("read the limit of open files: %w", err)
	}
	members := -1 // without this replica
	for _, s := range g.Shards {
		members += len(s.Members)
	}
	return shareDescriptors(limit.Cur, members)
}
