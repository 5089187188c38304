package disturbance

import (
	"testing"
	"time"

	"bdtnode/node/sim/network"
	"bdtnode/node/sim/rig"
	"bdtnode/protocols"
)

// TestTargeted: the chosen messages are delayed, and no others. The choices cover kinds, links, senders and receivers.
func TestTargeted(t *testing.T) {
	const n = 7
	s, err := rig.New(n)
	if err != nil {
		t.Fatal(err)
	}
	f := Targeted{Every: time.Second, Most: 2 * time.Second}
	byKind, everything, sender, receiver, some := 0, 0, 0, 0, 0
	for range 400 {
		x := f.choose(s.Shard)
		chosen := 0
		var from, to protocols.Set
		for i := range protocols.Index(n) {
			for j := range protocols.Index(n) {
				for _, kinds := range targets {
					late, aside := x.delay(s.Shard, i, j, network.Packet{Frame: []byte{byte(kinds[0])}})
					switch {
					case late < 0 || late > f.Most:
						t.Fatalf("late by %v", late)
					case late > 0 && (!x.links[i][j] || x.kinds != nil && !x.kinds[kinds[0]]):
						t.Fatal("late though not chosen")
					case aside != (late > 0 && x.kinds != nil):
						t.Fatal("only what is chosen by kind is overtaken")
					case late > 0:
						chosen++
						from.Add(i)
						to.Add(j)
					}
				}
			}
		}
		switch {
		case chosen == 0:
			t.Fatal("nothing is chosen")
		case from.Len() == 1:
			sender++
		case to.Len() == 1:
			receiver++
		case chosen < n*n:
			some++
		}
		if x.kinds == nil {
			everything++
		} else {
			byKind++
		}
	}
	if byKind == 0 || everything == 0 || sender == 0 || receiver == 0 || some == 0 {
		t.Errorf("%d by kind, %d all, %d senders, %d receivers, %d others; want some of all", byKind, everything, sender, receiver, some)
	}
}
