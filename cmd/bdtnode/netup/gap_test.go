package netup

import (
	"testing"
	"time"

	"bdtnode/node/api"
)

// TestGap: the gap computed from a replica's commits, and when an outage is over.
func TestGap(t *testing.T) {
	begin := time.UnixMilli(1_000_000)
	// commit returns a commit ms milliseconds after the outage began, whose work had waited for the given time.
	commit := func(ms, waited int64, epoch uint64, leader uint16) api.Commit {
		return api.Commit{Height: uint64(5000 + ms), CommitEvent: api.CommitEvent{Epoch: epoch, Leader: leader, AtUS: begin.UnixMicro() + 1000*ms, WaitedUS: 1000 * waited}}
	}
	for name, c := range map[string]struct {
		followers bool // the replicas of the outage did not lead
		commits   []api.Commit
		want      Gap
		over      bool
	}{
		"no commits known":             {want: Gap{Leader: -1}},
		"no commit in the outage":      {commits: []api.Commit{commit(-30, 10, 4, 2), commit(-10, 10, 4, 2)}, want: Gap{Leader: 2}},
		"replica started later":        {commits: []api.Commit{commit(700, 0, 5, 3), commit(3000, 5, 5, 3)}, want: Gap{Leader: -1, Next: 3, Took: time.Microsecond}},
		"commit of an earlier message": {commits: []api.Commit{commit(-10, 10, 4, 2), commit(3, 13, 4, 2)}, want: Gap{Leader: 2, Next: 2, Took: 13 * time.Millisecond}},
		"another leads": {
			commits: []api.Commit{commit(-900, 800, 4, 2), commit(-10, 10, 4, 2), commit(3, 13, 4, 2), commit(503, 480, 5, 3), commit(9000, 8000, 5, 3)},
			want:    Gap{Leader: 2, Next: 3, Took: 500 * time.Millisecond}, over: true,
		},
		"the last block of the epoch came late in it": {
			commits: []api.Commit{commit(-10, 10, 4, 2), commit(450, 460, 4, 2), commit(503, 53, 5, 3)},
			want:    Gap{Leader: 2, Next: 3, Took: 460 * time.Millisecond}, over: true,
		},
		"idle for less than a tenth of a second": {
			commits: []api.Commit{commit(-10, 10, 4, 2), commit(590, 500, 5, 3)},
			want:    Gap{Leader: 2, Next: 3, Took: 600 * time.Millisecond}, over: true,
		},
		"idle for a part of the outage": {
			commits: []api.Commit{commit(-10, 10, 4, 2), commit(591, 500, 5, 3)},
			want:    Gap{Leader: 2, Next: 3, Took: 500 * time.Millisecond}, over: true,
		},
		"idle until the commit": {
			commits: []api.Commit{commit(-60_000, 10, 4, 2), commit(30_000, 600, 5, 3)},
			want:    Gap{Leader: 2, Next: 3, Took: 600 * time.Millisecond}, over: true,
		},
		"no waiting work": {
			commits: []api.Commit{commit(-60_000, 10, 4, 2), commit(30_000, 0, 5, 3)},
			want:    Gap{Leader: 2, Next: 3, Took: time.Microsecond}, over: true,
		},
		"the same leader is back": {
			commits: []api.Commit{commit(-10, 10, 4, 2), commit(2010, 2020, 4, 2), commit(2030, 20, 4, 2)},
			want:    Gap{Leader: 2, Next: 2, Took: 2020 * time.Millisecond}, over: true,
		},
		"epoch ended just before": {
			commits: []api.Commit{commit(-10, 10, 4, 2), commit(0, 10, 5, 3), commit(20, 20, 5, 3)},
			want:    Gap{Leader: 3, Next: 3, Took: 20 * time.Millisecond},
		},
		"other replicas commit": {
			followers: true,
			commits:   []api.Commit{commit(-10, 10, 4, 2), commit(20, 30, 4, 2), commit(100, 80, 4, 2), commit(1999, 5, 5, 3)},
			want:      Gap{Leader: 2, Next: 3, Took: 80 * time.Millisecond},
		},
		"followers are back": {
			followers: true,
			commits:   []api.Commit{commit(-10, 10, 4, 2), commit(100, 80, 4, 2), commit(2000, 5, 4, 2), commit(2500, 500, 4, 2)},
			want:      Gap{Leader: 2, Next: 2, Took: 110 * time.Millisecond}, over: true,
		},
	} {
		o := Outage{Replicas: []*Replica{{Shard: 1, Index: 2}}, From: begin, Until: begin.Add(2 * time.Second), Leader: !c.followers}
		c.want.Shard = 1
		if g, over := o.gap(c.commits); g != c.want || over != c.over {
			t.Errorf("%s: %+v, over %t; want %+v, %t", name, g, over, c.want, c.over)
		}
	}
}
