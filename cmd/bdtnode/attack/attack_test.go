package attack

import (
	"context"
	"sync"
	"testing"
	"time"
)

// attack is one kind of attack. run attacks until ctx ends, or returns earlier when it has nothing left to do.
type attack struct {
	name   string
	member bool // needs the keys of a replica
	absent bool // begins with one replica down, which starts again during the attack
	run    func(ctx context.Context, s *scene)
	serve  func(ctx context.Context, w func(frame []byte) error) error // answers requests of other replicas; nil: refused
}

var all = []attack{
	{name: "posts of copies of one transaction", run: postCopies},
	{name: "posts of unknown inputs", run: postUnknown},
	{name: "announced bodies", run: announceBodies},
	{name: "bodies of reads", run: bodiesOfReads},
	{name: "audits", run: auditInALoop},
	{name: "silent connections", absent: true, run: silentConnections},
	{name: "forwarded copies", member: true, run: forwardCopies},
	{name: "forwarded unknown inputs", member: true, run: forwardUnknown},
	{name: "unread answers", member: true, run: unreadAnswers},
	{name: "endless answers", member: true, run: idle, serve: endless},
	{name: "positions", member: true, run: floodPositions},
	{name: "requests for blocks", member: true, run: floodRequests},
	{name: "fetches of batches", member: true, run: floodFetches},
	{name: "fetches of LDs", member: true, run: floodLDFetches},
	{name: "a lane without a window", member: true, run: floodLane},
	{name: "early messages", member: true, run: floodEarly},
	{name: "Status of other epochs", member: true, run: floodStatus},
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
	n := startNetwork(t)
	lacking := n.replica(memberShard, memberIndex)
	if a.member || a.absent {
		n.kill(lacking)
	}
	x := startAttacker(t, n, a)
	began := readProcessors()
	quiet := n.load(*before, 1)
	stolenBefore := began.stolen()
	memory, logs := n.watchMemory(), n.logs()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.begin()
	var wg sync.WaitGroup
	if a.absent {
		wg.Go(func() {
			pause(ctx, time.Second)
			n.startAgain(ctx, lacking.Home)
		})
	}
	began = readProcessors()
	attacked := n.load(*during, 2)
	stolenDuring := began.stolen()
	cancel()
	wg.Wait()
	most, name := memory()
	x.end()
	var written int64
	for replica, size := range n.logs() {
		written = max(written, size-logs[replica])
	}
	t.Logf("p95 inside a shard %.1f ms before, %.1f ms during; across shards %.1f and %.1f ms; highest memory %d MB in %s; log %d bytes; "+
		"the hypervisor took %.0f and %.0f %% of the processors",
		quiet.Latency.P95, attacked.Latency.P95, quiet.CrossLatency.P95, attacked.CrossLatency.P95, most>>20, name, written,
		100*stolenBefore, 100*stolenDuring)
	if written > maxLog {
		t.Errorf("the log of a replica grew by %d bytes, at most %d are allowed", written, maxLog)
	}
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
	if alive := len(n.cluster.Alive()); alive != want {
		t.Errorf("%d replicas run after the attack, want %d", alive, want)
	}
}
