package node

import (
	"fmt"
	"syscall"

	"bdtnode/internal/kv"
	"bdtnode/shard"
)

// Descriptors that a replica needs or gains by. The stores come first: a store that cannot open a file ends the replica.
// Members come next, and what strangers and clients may hold is taken from the rest.
const (
	// baseDescriptors is for standard streams, listeners, the home's lock, names looked up, and files open for a moment.
	baseDescriptors = 48

	minMemberConns, maxMemberConns = 4, 8 // connections of each member, in each direction
	minStrangers, maxStrangers     = 16, 512
	minClients, maxClients         = 32, 4096
)

// descriptors is how the process's file descriptors are shared.
type descriptors struct {
	store       int // files of each of the two stores
	memberConns int // connections of each member in each direction
	strangers   int // connections without a TLS handshake
	clients     int // connections to the API
}

// shareDescriptors shares out limit descriptors in a network of so many other members. Too low a limit is an error that
// names the limit found and the one needed.
func shareDescriptors(limit uint64, members int) (descriptors, error) {
	needed := baseDescriptors + 2*kv.MinOpenFiles + 2*minMemberConns*members + minStrangers + minClients
	if limit < uint64(needed) {
		return descriptors{}, fmt.Errorf("the process may open %d files, a replica of this network needs %d: "+
			"raise the limit (ulimit -n, LimitNOFILE= of systemd)", limit, needed)
	}
	left := int(min(limit, 1<<20)) - needed
	// take gives a part of what is left, in units of several descriptors, and no more than from least to most.
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

// ownDescriptors shares out the descriptors of this process. At its start the Go runtime has raised the soft limit to the hard
// one.
func ownDescriptors(g *shard.Genesis) (descriptors, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return descriptors{}, fmt.Errorf("read the limit of open files: %w", err)
	}
	members := -1 // not this one
	for _, s := range g.Shards {
		members += len(s.Members)
	}
	return shareDescriptors(limit.Cur, members)
}
