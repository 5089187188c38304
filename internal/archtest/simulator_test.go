package archtest

import (
	"maps"
	"strings"
	"testing"
)

// simulator lists, for the packages of the simulator, the trees that they may import besides protocols, shard, ledger,
// merkle and internal. None of them may import node/sim, which assembles them. A behaviour has a view of its replica and
// a check has observations: neither has the machine.
var simulator = map[string][]string{
	"clock":       {},
	"draw":        {},
	"trace":       {"node/sim/clock", "node/replica"},
	"network":     {"node/sim/clock", "node/sim/trace", "node/replica"},
	"adversary":   {"node/api", "node/sim/clock", "node/sim/draw", "node/sim/network", "node/replica"},
	"observe":     {"node/sim/network", "node/driver", "node/replica", "node/admission"},
	"check":       {"node/sim/adversary", "node/sim/clock", "node/sim/network", "node/sim/observe", "node/sim/trace", "node/driver", "node/replica", "node/admission"},
	"machine":     {"node/foreign", "node/sim/adversary", "node/sim/clock", "node/sim/network", "node/sim/observe", "node/sim/trace", "node/sim/rig", "node/driver", "node/clients", "node/intake", "node/execution", "node/replica", "node/admission"},
	"workload":    {"node/api", "node/foreign", "node/quorum", "node/sim/draw", "node/sim/machine", "node/sim/observe", "node/sim/rig", "node/admission", "node/appends"},
	"disturbance": {"node/sim/machine", "node/sim/network", "node/sim/rig"},
	"scheduler":   {"node/sim/draw", "node/sim/machine", "node/sim/network", "node/sim/rig", "node/replica"},
	"twins":       {"node/sim/adversary", "node/sim/clock", "node/sim/draw", "node/sim/machine", "node/sim/network", "node/sim/rig", "node/sim/trace", "node/replica"},
	"rig":         {"node/sim/check", "node/sim/clock", "node/sim/machine", "node/sim/trace", "node/admission"},
}

func init() {
	for dir, to := range simulator {
		allowed["node/sim/"+dir] = append([]string{"protocols", "shard", "ledger", "merkle", "internal"}, to...)
	}
}

// TestSimulatorIsListed: each package below node/sim has a rule of its own.
func TestSimulatorIsListed(t *testing.T) {
	missing := maps.Clone(simulator)
	for _, s := range read(t) {
		if dir, ok := strings.CutPrefix(s.dir, "node/sim/"); ok {
			if _, listed := simulator[dir]; !listed {
				t.Errorf("%s: its package has no rule", s.name)
			}
			delete(missing, dir)
		}
	}
	for dir := range missing {
		t.Errorf("node/sim/%s: there is a rule and no package", dir)
	}
}

// TestSimulatorArrows: forbiddenArrows finds imports that the rules of the simulator forbid.
func TestSimulatorArrows(t *testing.T) {
	for _, c := range []struct {
		file, imports string
		want          bool
	}{
		{"node/sim/x.go", "bdtnode/node/sim/machine", false},
		{"node/sim/machine/x.go", "bdtnode/node/sim/observe", false},
		{"node/sim/machine/x.go", "bdtnode/node/sim", true},
		{"node/sim/machine/x.go", "bdtnode/node/sim/check", true},
		{"node/sim/adversary/x.go", "bdtnode/node/sim/machine", true},
		{"node/sim/check/x.go", "bdtnode/node/sim/machine", true},
	} {
		s, err := parse(c.file, []byte("package x\n\nimport _ \""+c.imports+"\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(forbiddenArrows(s)) > 0; got != c.want {
			t.Errorf("%s importing %s: forbidden %v, want %v", c.file, c.imports, got, c.want)
		}
	}
}
