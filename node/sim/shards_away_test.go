package sim

import (
	"testing"
	"time"

	"bdtnode/node/sim/machine"
	"bdtnode/shard/settlement"
)

// awayShard takes all replicas of one shard down for a long time, and observes the channels to it.
type awayShard struct {
	shard       uint16
	after, long time.Duration
	limit       uint64 // of LDs without acknowledgement
	w           *world
	most        uint64 // greatest number of LDs to the shard without acknowledgement
	busy        int    // observations of a replica that leaves transactions with the shard out
	heights     map[uint16][2]uint64
}

// start is a hook of the configuration.
func (a *awayShard) start(w *world) {
	a.w, a.heights = w, make(map[uint16][2]uint64)
	for _, s := range w.Shards {
		s.Ledger.Rules = settlement.Rules{MaxOutstanding: a.limit, MaxWaiting: 1 << 16, AnswerAfter: 2}
	}
	away := w.Shards[a.shard]
	w.After(a.after, func() {
		for _, n := range away.Machines {
			n.Fall(a.long)
		}
		a.note(0)
	})
	w.After(a.after+a.long/2, func() { a.note(1) })
	w.Repeat(200*time.Millisecond, func() {
		for _, s := range w.Shards {
			n := s.Machines[0]
			if s == away || !n.Alive() {
				continue
			}
			c := machine.Channel(n, a.shard)
			a.most = max(a.most, c.Sent-c.Acked)
			if c.Sent-c.Acked >= a.limit {
				a.busy++
			}
		}
	})
}

// note notes the heights of the other shards.
func (a *awayShard) note(i int) {
	for _, s := range a.w.Shards {
		h := a.heights[s.Number]
		h[i] = s.Machines[0].Height()
		a.heights[s.Number] = h
	}
}

// applied reports whether a replica of the shard has applied all LDs that another shard has made for it.
func (a *awayShard) applied(from *machine.Shard) bool {
	sent := machine.Channel(from.Machines[0], a.shard).Sent
	return sent > 0 && machine.Channel(a.w.Shards[a.shard].Machines[0], from.Number).Applied == sent
}

// TestShardAwayForLong: while a shard is down, the others keep a bounded number of LDs for it, leave further transactions
// with it out, and continue with the rest. When it is back, it applies all LDs that it missed, in order, and every
// transaction gets its answer: the checks of the run and the chain of digests in each channel see to that.
func TestShardAwayForLong(t *testing.T) {
	for seed := range uint64(2) {
		cfg := among(*first + seed)
		cfg.Active, cfg.Calm, cfg.Load, cfg.Apart, cfg.Dumbo, cfg.Disruptions = 50*time.Second, 5*time.Second, 20, 20*time.Millisecond, false, nil
		for k := range cfg.Shards {
			cfg.Shards[k] = Shard{Nodes: 4, Delay: 5 * time.Millisecond}
		}
		a := &awayShard{shard: uint16(seed+2) % 3, after: 5 * time.Second, long: 30 * time.Second, limit: 6}
		cfg.started = a.start
		r, err := Run(t.Context(), cfg, nil)
		if err != nil {
			report(t, err)
			continue
		}
		t.Logf("%d settled, %d not, %d LDs; %d without acknowledgement at most, busy in %d observations; heights %v", r.Settled, r.Rejected, r.LDs, a.most, a.busy, a.heights)
		// A shard answers LDs of the third one, also with LDs to the shard that is down. That one stops at its own limit.
		if a.most < a.limit || a.most > 3*a.limit {
			t.Errorf("at most %d LDs without acknowledgement, with a limit of %d", a.most, a.limit)
		}
		if a.busy < 20 {
			t.Errorf("the other shards were at their limit in %d observations", a.busy)
		}
		for _, s := range a.w.Shards {
			if s.Number == a.shard {
				continue
			}
			if h := a.heights[s.Number]; h[1] < h[0]+5 {
				t.Errorf("shard %d made %d blocks while the other was down", s.Number, h[1]-h[0])
			}
			if !a.applied(s) {
				t.Errorf("the shard that was down has not applied all LDs of shard %d", s.Number)
			}
		}
	}
}
