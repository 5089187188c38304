package main

import (
	"testing"
	"time"

	"bdtnode/cmd/bdtnode/netup"
)

func TestSummarizeGaps(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Millisecond
	}
	for _, c := range []struct {
		gaps []time.Duration
		want gapSummary
	}{
		{nil, gapSummary{}},
		{[]time.Duration{1_234_567 * time.Nanosecond}, gapSummary{1, 1.234, 1.234, 1.234}},
		{[]time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}, gapSummary{3, 2, 3, 3}},
		{hundred, gapSummary{100, 50, 95, 100}},
	} {
		if got := summarize(c.gaps); got != c.want {
			t.Errorf("%d gaps: %+v, want %+v", len(c.gaps), got, c.want)
		}
	}
	if hundred[0] != 100*time.Millisecond {
		t.Error("summarize sorted its argument")
	}
}

func TestGapText(t *testing.T) {
	from := time.UnixMilli(5)
	one := netup.Outage{Replicas: []*netup.Replica{{Shard: 3, Index: 2}}, From: from, Until: from.Add(4200 * time.Millisecond), Leader: true}
	two := netup.Outage{Replicas: []*netup.Replica{{Shard: 3, Index: 2}, {Shard: 3, Index: 5}}, From: one.From, Until: one.Until}
	g := netup.Gap{Shard: 3, Took: 312_400 * time.Microsecond, Leader: 2, Next: 3}
	for _, c := range []struct{ got, want string }{
		{outageText(netup.KillLeader, one), "shard 3: killed its leader, replica 2"},
		{outageText(netup.FreezeLeader, one), "shard 3: suspended its leader, replica 2, for 4.2 s"},
		{outageText(netup.FreezeFollowers, two), "shard 3: suspended replicas 2, 5 (not leading) for 4.2 s"},
		{gapText(one, g), "shard 3: commits resumed after 312 ms; leader was replica 2, now replica 3"},
		{gapText(one, netup.Gap{Shard: 3, Took: time.Second, Leader: 2, Next: 2}), "shard 3: commits resumed after 1000 ms; replica 2 still leads"},
		{gapText(one, netup.Gap{Shard: 3, Leader: 2, Idle: true}), "shard 3: no commit was pending when its leader, replica 2, stopped"},
		{gapText(two, g), "shard 3: at most 312 ms without a commit during the suspension of replicas 2, 5"},
		{gapText(two, netup.Gap{Shard: 3, Leader: 1, Idle: true}), "shard 3: no commit was pending at the suspension of replicas 2, 5"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
