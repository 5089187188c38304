package sim

import (
	"strings"
	"testing"
	"time"

	"bdtnode/internal/wan"
)

// TestPlanOverAWideAreaNetwork: the links of every shard have the delays of the matrix, twins those of their replica,
// and a run settles its transactions.
func TestPlanOverAWideAreaNetwork(t *testing.T) {
	t.Parallel()
	m := wan.AWS8()
	p := Plan{Shards: 2, Nodes: []int{8}, For: 10 * time.Second, WAN: m, Consensus: "bdt"}
	if err := p.ParseFaults("none"); err != nil {
		t.Fatal(err)
	}
	cfg, err := p.Scenario(1)
	if err != nil {
		t.Fatal(err)
	}
	for k := range cfg.Shards {
		for i, row := range cfg.Shards[k].Links {
			for j, d := range row {
				if want := m.Delays(8)[i][j]; d != want {
					t.Errorf("shard %d: %v from %d to %d, want %v", k, d, i, j, want)
				}
			}
		}
	}
	if cfg.Apart != m.Mean(8) || !strings.Contains(cfg.String(), "8 replicas in Virginia, Oregon, Ireland") {
		t.Errorf("%v", cfg)
	}
	r, err := Run(t.Context(), cfg, nil)
	if err != nil || r.Settled == 0 {
		t.Errorf("%+v, %v", r, err)
	}

	p = Plan{Shards: 1, Nodes: []int{7}, For: time.Second, WAN: m}
	if err := p.ParseFaults("twins"); err != nil {
		t.Fatal(err)
	}
	if cfg, err = p.Scenario(1); err != nil {
		t.Fatal(err)
	}
	x := cfg.Shards[0]
	if len(x.Links) <= 7 {
		t.Fatalf("links of %d nodes with twins", len(x.Links))
	}
	for i, row := range x.Links[7:] {
		if twin := int(x.Byzantine[i].Replica); row[(twin+1)%7] != m.OneWay(twin, (twin+1)%7) {
			t.Errorf("the twin of replica %d has other delays: %v", twin, row)
		}
	}

	p.WAN = &wan.Matrix{Regions: m.Regions, RTT: m.RTT, Mbit: 10}
	if _, err := p.Scenario(1); err == nil || !strings.Contains(err.Error(), "bandwidth") {
		t.Errorf("a matrix with a bandwidth: %v", err)
	}
}
