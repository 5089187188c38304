package attack

import (
	"context"
	"sync"
	"testing"
)

// scene is the view that an attack has of the network: the replicas, and the Byzantine member if the attack needs one.
type scene struct {
	*network
	member *member
}

// attack is one kind of attack. run attacks until ctx ends, or returns earlier when it has nothing left to do.
type attack struct {
	name   string
	member bool // needs the keys of a replica
	absent bool // one replica must be down
	run    func(ctx context.Context, s *scene)
}

var all = []attack{
	{name: "posts of copies of one transaction", run: postCopies},
	{name: "posts of unknown inputs", run: postUnknown},
	{name: "announced bodies", run: announceBodies},
	{name: "bodies of reads", run: bodiesOfReads},
	{name: "silent connections", absent: true, run: silentConnections},
	{name: "forwarded copies", member: true, run: forwardCopies},
	{name: "unread answers", member: true, run: unreadAnswers},
	{name: "positions", member: true, run: floodPositions},
	{name: "requests for blocks", member: true, run: floodRequests},
	{name: "fetches of batches", member: true, run: floodFetches},
	{name: "fetches of LDs", member: true, run: floodLDFetches},
	{name: "a lane without a window", member: true, run: floodLane},
	{name: "early messages", member: true, run: floodEarly},
	{name: "unrequested history", member: true, run: floodHistory},
	{name: "bad signatures", member: true, run: floodBadSignatures},
}

// TestAttacks runs each attack against a network of its own under load, if the flag -attacks is set.
func TestAttacks(t *testing.T) {
	if !*attacks {
		return
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) { underAttack(t, a) })
	}
}

func underAttack(t *testing.T, a attack) {
	s := &scene{network: startNetwork(t)}
	if a.member {
		s.member = becomeMember(t, s.network)
	}
	if a.absent {
		s.kill(s.replica(memberShard, memberIndex))
	}
	quiet := s.load(*before, 1)
	memory := s.watchMemory()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.run(ctx, s) })
	attacked := s.load(*during, 2)
	cancel()
	wg.Wait()
	most, name := memory()
	t.Logf("p95 inside a shard %.1f ms before, %.1f ms during; across shards %.1f and %.1f ms; highest memory %d MB in %s",
		quiet.Latency.P95, attacked.Latency.P95, quiet.CrossLatency.P95, attacked.CrossLatency.P95, most>>20, name)
	if attacked.Latency.P95 > maxRatio*quiet.Latency.P95 || attacked.CrossLatency.P95 > maxRatio*quiet.CrossLatency.P95 {
		t.Errorf("p95 grew more than %d times", maxRatio)
	}
	if most > maxMemory {
		t.Errorf("%s used %d MB, at most %d are allowed", name, most>>20, maxMemory>>20)
	}
	want := shards * perShard
	if a.member || a.absent {
		want--
	}
	if alive := len(s.cluster.Alive()); alive != want {
		t.Errorf("%d replicas run after the attack, want %d", alive, want)
	}
}
