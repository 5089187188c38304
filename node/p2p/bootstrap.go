package p2p

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// joinBackoff is the longest pause after the first failed dial of a bootstrap member. The pause grows by half with each
// further failure, up to Limits.MaxBackoff.
const joinBackoff = time.Second

// bootstrapper dials the bootstrap members when a peer is searched for. Searches repeat while a member of the own shard
// is not connected, so a replica that starts before all its bootstrap members dials them until one is up.
type bootstrapper struct {
	net     *Net
	entries []*entry
	dials   sync.WaitGroup

	mu sync.Mutex
}

// entry is one bootstrap member.
type entry struct {
	peer.AddrInfo
	dialling bool
	backoff  time.Duration
	next     time.Time // earliest time of the next dial
}

func newBootstrapper(n *Net) *bootstrapper {
	j := &bootstrapper{net: n}
	for _, b := range n.roster.bootstrap {
		i := slices.IndexFunc(j.entries, func(e *entry) bool { return e.ID == b.ID })
		if i >= 0 { // a further address of the same member
			j.entries[i].Addrs = append(j.entries[i].Addrs, b.Addrs...)
		} else {
			j.entries = append(j.entries, &entry{AddrInfo: b})
		}
	}
	return j
}

// addrs are the configured addresses of a member.
func (j *bootstrapper) addrs(id peer.ID) []ma.Multiaddr {
	for _, e := range j.entries {
		if e.ID == id {
			return slices.Clone(e.Addrs)
		}
	}
	return nil
}

// enter dials the bootstrap members that are due, all at once. It returns when one is connected, all dials have failed,
// or ctx ends.
func (j *bootstrapper) enter(ctx context.Context) {
	due, connected := j.due(time.Now())
	done := make(chan bool, len(due))
	for _, e := range due {
		j.dials.Go(func() { done <- j.dial(e) })
	}
	if connected {
		return
	}
	for range due {
		select {
		case up := <-done:
			if up {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// due returns the members to dial now, and reports whether another one is connected.
func (j *bootstrapper) due(now time.Time) (due []*entry, connected bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		switch {
		case j.net.host.Network().Connectedness(e.ID) == network.Connected:
			connected = true
		case !e.dialling && !now.Before(e.next) && j.net.ctx.Err() == nil:
			e.dialling = true
			due = append(due, e)
		}
	}
	return due, connected
}

// dial dials a member and reports whether it is connected. A dial continues when the search that began it ends.
func (j *bootstrapper) dial(e *entry) bool {
	err := j.net.dial(j.net.ctx, e.ID, slices.Concat(e.Addrs, j.net.book.get(e.ID)))
	j.mu.Lock()
	e.dialling = false
	if err == nil {
		e.backoff, e.next = 0, time.Time{}
	} else {
		e.backoff = min(max(e.backoff*3/2, joinBackoff), j.net.cfg.Limits.MaxBackoff)
		e.next = time.Now().Add(e.backoff/2 + rand.N(e.backoff/2+1))
	}
	j.mu.Unlock()
	if err != nil && j.net.ctx.Err() == nil {
		at := j.net.roster.places[e.ID]
		j.net.outside.Warnw("bootstrap member not reached", e.ID, "shard", at.shard, "replica", at.index, "peer", e.ID, "addresses", e.Addrs, "reason", reason(err))
	}
	return err == nil
}

// wait returns when no dial is in progress. Run's context must have ended.
func (j *bootstrapper) wait() { j.dials.Wait() }

// reason formats an error in one line: libp2p has one line for each address.
func reason(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}
