package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/node/driver"
	"bdtnode/protocols"
)

// TestInspectUnderLoad: snapshots answer while transactions are ordered, and all transactions settle.
func TestInspectUnderLoad(t *testing.T) {
	c := newCluster(t)
	c.startAll()
	defer c.stopAll()
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				v, err := c.nodes[1].up().Inspect(ctx)
				if err != nil && ctx.Err() == nil {
					t.Errorf("no snapshot: %v", err)
					return
				}
				if err == nil && (v.Core.Consensus.Epoch == 0 || len(v.Core.Consensus.Lanes) != replicas || len(v.Core.Peers) != replicas-1) {
					t.Errorf("%+v", v)
				}
			}
		})
	}
	c.settle(0, 30, 0, 1, 2, 3)
	cancel()
	readers.Wait()
	time.Sleep(2 * inspectEvery) // the last snapshot is too old now
	v, err := c.nodes[1].up().Inspect(t.Context())
	if err != nil || v.Core.Consensus.Executed == 0 || !v.Core.Start.Signs {
		t.Errorf("%+v %v", v, err)
	}
}

// TestInspectOfABlockedLoop: a loop that does not run gives an error at the end of the context, and one that has stopped
// gives an error at once.
func TestInspectOfABlockedLoop(t *testing.T) {
	c := newCluster(t)
	c.nodes[0].start()
	e := c.nodes[0].up()
	if _, err := e.Inspect(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].kill()
	time.Sleep(2 * inspectEvery) // the last snapshot is too old now
	if _, err := e.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a stopped engine: %v", err)
	}
	idle := newCluster(t)
	idle.nodes[0].start()
	defer idle.nodes[0].kill()
	blocked := idle.nodes[0].up()
	reply := make(chan *driver.View) // has no place, so the loop waits for its reader
	blocked.inspect <- reply
	time.Sleep(2 * inspectEvery) // its snapshot is too old now
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := blocked.Inspect(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a blocked loop: %v", err)
	}
	<-reply
}

// TestFaultsAreRemembered: equal faults of a peer are counted, and the list is bounded.
func TestFaultsAreRemembered(t *testing.T) {
	var x faults
	at := time.Unix(1000, 0)
	for i := range 3 {
		x.note(protocols.Fault{Peer: 1, Reason: "a"}, at.Add(time.Duration(i)*time.Second))
	}
	if len(x.list) != 1 || x.list[0].Count != 3 || !x.list[0].First.Equal(at) || !x.list[0].Last.Equal(at.Add(2*time.Second)) {
		t.Errorf("%+v", x.list)
	}
	for i := range 2 * maxFaults {
		x.note(protocols.Fault{Peer: 2, Reason: fmt.Sprint(i) + strings.Repeat("x", 2*maxReason)}, at)
	}
	if len(x.list) != maxFaults || len(x.list[0].Reason) != maxReason || !strings.HasPrefix(x.list[maxFaults-1].Reason, fmt.Sprint(2*maxFaults-1)) {
		t.Errorf("%d faults", len(x.list))
	}
}
