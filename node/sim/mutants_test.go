package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/protocols"
	"bdtnode/protocols/lanes"
)

var (
	mutants = flag.Bool("sim.mutants", false, "let TestMutants put bugs into the protocols, build them and look for them")
	story   = flag.String("sim.story", "", "the story that TestStory runs over all seeds, instead of one of each")
)

// stories are scenarios in which a certain kind of bug shows.
var stories = map[string]func(seed uint64) Config{
	"crashes": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 12, 8*time.Millisecond, nil
		x.Faults = []Fault{
			Crashes{Every: 600 * time.Millisecond, Down: 300 * time.Millisecond},
			PowerCuts{Every: 4 * time.Second, Down: 100 * time.Millisecond}, LinkBreaks{Every: time.Second},
		}
		return cfg
	},
	"power cuts": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 8, 30*time.Millisecond, nil
		x.Faults = []Fault{PowerCuts{Every: 1500 * time.Millisecond, Down: 300 * time.Millisecond}, Partitions{Every: 5 * time.Second, Lasts: 2 * time.Second}}
		return cfg
	},
	"short epochs": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 15*time.Second, 15, 10*time.Millisecond, nil
		cfg.Dumbo, x.Slots = false, 4+seed%4
		x.Faults = []Fault{
			Crashes{Every: 700 * time.Millisecond, Down: 200 * time.Millisecond},
			PowerCuts{Every: 2500 * time.Millisecond, Down: 100 * time.Millisecond}, Reordering{Rate: 0.2},
		}
		return cfg
	},
	"a late leader": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 20*time.Second, 12, 10*time.Millisecond, nil
		cfg.Dumbo, x.Slots = false, 0
		x.Faults = []Fault{
			SlowLeader{Min: 0, Max: 3 * time.Second}, LinkBreaks{Every: 2 * time.Second},
			Partitions{Every: 2 * time.Second, Lasts: time.Second},
		}
		if seed%2 == 0 {
			x.Faults = append(x.Faults, LeaderDies{After: 4 * time.Second})
		}
		return cfg
	},
	"no fast lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Liars = 4, 15*time.Second, 12, 10*time.Millisecond, nil
		cfg.Dumbo = true
		x.Faults = []Fault{
			Crashes{Every: 700 * time.Millisecond, Down: 200 * time.Millisecond},
			PowerCuts{Every: 2500 * time.Millisecond, Down: 100 * time.Millisecond}, LinkBreaks{Every: time.Second},
		}
		return cfg
	},
	"two blocks": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes = []int{4, 5, 6}[seed%3]
		cfg.Active, cfg.Load, x.Delay = 15*time.Second, 12, 10*time.Millisecond
		x.Faults = []Fault{Crashes{Every: 800 * time.Millisecond, Down: 200 * time.Millisecond}, Duplication{Rate: 0.3}, Reordering{Rate: 0.3}}
		x.Liars = []Liar{{0, &EquivocatingLeader{}}}
		return cfg
	},
	"two batches": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = 4, 15*time.Second, 15, 10*time.Millisecond
		x.Faults = []Fault{PowerCuts{Every: time.Second, Down: 100 * time.Millisecond}, Reordering{Rate: 0.3}}
		cfg.Dumbo, x.Slots = false, 0
		x.Liars = []Liar{{3, &EquivocatingLane{Every: seed%2 == 0}}}
		return cfg
	},
	"false leaving": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay = []int{4, 5, 7}[seed%3], 20*time.Second, 12, 10*time.Millisecond
		cfg.Dumbo, x.Slots = seed%4 == 3, 0
		x.Faults = []Fault{SlowLeader{Min: 0, Max: time.Second}, Crashes{Every: 2 * time.Second, Down: 300 * time.Millisecond}}
		x.Liars = []Liar{{protocols.Index(seed % 4), &FalseLeaving{}}}
		return cfg
	},
	"lies": func(seed uint64) Config {
		cfg, x := alone(seed)
		x.Nodes, cfg.Active, cfg.Load, x.Delay, x.Faults = 4, 10*time.Second, 10, 10*time.Millisecond, nil
		x.Liars = []Liar{{1, []Adversary{&Forging{Rate: 0.1}, &DoubleVoting{}, &Garbage{Rate: 0.05}, &Withholding{}, &Relabelling{Rate: 0.3}}[seed%5]}}
		return cfg
	},
	"a late replica": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 20, true, false
		x.Nodes, x.Delay, x.Slots = 4, 60*time.Millisecond, 0
		x.Faults, x.Liars = []Fault{Reordering{Rate: 0.7}, LeaderDies{After: time.Duration(2+seed%9) * time.Second}}, nil
		return cfg
	},
	"a hoarded lane": func(seed uint64) Config {
		cfg, x := alone(seed)
		cfg.Active, cfg.Load, cfg.Dumbo, cfg.Bursts = 15*time.Second, 10, false, false
		x.Nodes, x.Delay, x.Slots, x.Faults = 4, 10*time.Millisecond, 0, nil
		x.Liars = []Liar{{3, &hoarding{}}}
		return cfg
	},
}

// outcomes are what stories must come to besides.
var outcomes = map[string]func(*Report) error{
	"a hoarded lane": func(r *Report) error {
		if r.Epochs > 0 {
			return fmt.Errorf("%d epochs ended without cause violated at step %d: their leaders were honest, and the network was quick", r.Epochs, r.Events)
		}
		return nil
	},
}

// hoarding shows its batches to one of the others only, so that none is certified, and leaves every epoch at once.
type hoarding struct{ FalseLeaving }

func (a *hoarding) tamper(n *node, to protocols.Index, m protocols.Message) []packet {
	if b, ok := m.(*lanes.Batch); ok && b.Lane == n.id && to != (n.id+2)%protocols.Index(n.s.committee.N()) {
		return nil
	}
	return a.FalseLeaving.tamper(n, to, m)
}

// tell runs a story and wants it to come to what it must.
func tell(ctx context.Context, name string, seed uint64) error {
	r, err := Run(ctx, stories[name](seed), nil)
	if check := outcomes[name]; err == nil && check != nil {
		err = check(r)
	}
	return err
}

func storyNames() []string {
	var names []string
	for name := range stories {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestStory runs the stories in which bugs show with the protocols as they are.
func TestStory(t *testing.T) {
	for _, name := range storyNames() {
		count := min(*seeds, 2)
		if *story == name {
			count = *seeds
		} else if *story != "" {
			continue
		}
		for k := range count {
			t.Run(fmt.Sprintf("%s/%d", name, *first+uint64(k)), func(t *testing.T) {
				t.Parallel()
				if err := tell(t.Context(), name, *first+uint64(k)); err != nil {
					report(t, err)
				}
			})
		}
	}
}

// TestChecksFail carries steps out wrongly, as a node with a bug would, and wants each way found.
func TestChecksFail(t *testing.T) {
	dropping := func(prefix string) mutation {
		return mutation{persist: func(records []protocols.Record) []protocols.Record {
			return slices.DeleteFunc(records, func(r protocols.Record) bool { return bytes.HasPrefix(r.Key, []byte(prefix)) })
		}}
	}
	const enough = 12 // seeds within which each must be found
	for _, m := range []struct {
		name, story string
		mutation
	}{
		{"own votes are not persisted", "crashes", dropping("b/v")},
		{"a Commit's QC is not persisted", "crashes", dropping("b/c")},
		{"the leader's proposals are not persisted", "crashes", dropping("b/p")},
		{"acknowledgements are not persisted", "two batches", dropping("l/a")},
		{"the highest QC is not persisted", "short epochs", dropping("b/t")},
		{"own Status are not persisted", "short epochs", dropping("e/s")},
		{"a new epoch is not persisted", "short epochs", dropping("e/r")},
		{"what the agreement signs is not persisted", "no fast lane", dropping("a/")},
		{"batches are not persisted", "crashes", dropping("l/b")},
		{"committed blocks are not persisted", "crashes", dropping("h/b")},
		{"messages leave before their records are synced", "crashes", mutation{sendEarly: true}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(enough) {
				cfg := stories[m.story](seed + 1)
				cfg.Shards[0].mutation = m.mutation
				var v *Violation
				if _, err := Run(t.Context(), cfg, nil); errors.As(err, &v) {
					t.Logf("found by seed %d: %s at %v: %.120s", seed+1, v.Check, v.At, v.Detail)
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
			t.Errorf("not found in %d seeds", enough)
		})
	}
}

// edit replaces a piece of source, which must be there exactly once.
type edit struct{ file, from, to string }

// TestMutants puts one bug at a time into the protocols' source, builds these tests with it, and wants the stories
// to fail. It does so only when -sim.mutants asks for it, since each takes a compilation.
func TestMutants(t *testing.T) {
	if !*mutants {
		return
	}
	const (
		lanesMachine = "protocols/lanes/machine.go"
		boltMachine  = "protocols/bolt/machine.go"
	)
	for _, m := range []struct {
		name, story string
		edits       []edit
	}{
		{"votes are counted by message", "two blocks", []edit{
			{boltMachine, "	if !x.voters.Add(from) {\n		return\n	}\n	t := x.votes[v.Digest]", "	t := x.votes[v.Digest]"},
			{"protocols/statement.go", "	signed Set\n", "	signed Set\n	calls  int\n"},
			{"protocols/statement.go", "	if !t.signed.Add(i) {\n		return false\n	}\n", "	t.calls++\n	t.signed.Add(i)\n"},
			{"protocols/statement.go", "return len(t.sigs) }", "return t.calls }"},
		}},
		{"quorums are one too small", "two blocks", []edit{
			{"protocols/committee.go", "return c.N() - c.F() }", "return c.N() - c.F() - 1 }"},
		}},
		{"quorums of 2f+1 whatever n is", "two blocks", []edit{
			{"protocols/committee.go", "return c.N() - c.F() }", "return 2*c.F() + 1 }"},
		}},
		{"the parent is not checked at voting", "two blocks", []edit{
			{boltMachine, "!(x.vote != nil && x.vote.Digest == b.Parent || x.qc != nil && x.qc.Digest == b.Parent)", "x.blocks[b.Parent] == nil"},
		}},
		{"Commits are sent after the Status", "short epochs", []edit{
			{boltMachine, "	if m.left {\n		return\n	}\n	x.commit =", "	x.commit ="},
		}},
		{"votes are cast after the Status", "short epochs", []edit{
			{boltMachine, "	m.clockDue = 0\n	if m.left {\n		return\n	}\n", "	m.clockDue = 0\n"},
		}},
		{"a Status claims less than it committed", "short epochs", []edit{
			{"protocols/bdt/leave.go", "if q := e.bolt.Top(); q != nil {", "if q := e.bolt.Top(); q != nil && e.number == 0 {"},
		}},
		{"the highest QC is not required", "a late leader", []edit{
			{"protocols/bdt/input.go", "	case top.Slot == 0 && x.QC != nil, top.Slot > 0 && (", "	case top.Slot > 0 && x.QC != nil && ("},
			{"protocols/bdt/input.go", "if s.Slot > 0 && (x.QC == nil || s.Slot > x.QC.Slot) {", "if s.Slot > 0 && k < 0 {"},
			{"protocols/bdt/leave.go", "newInput(e.number, from, counted, e.base, block)", "newInput(e.number, from, counted, e.base, block.Before())"},
			{"protocols/bolt/leave.go", "// Full reports", "func (b *Block) Before() *Block { return nil }\n\n// Full reports"},
		}},
		{"restored votes are forgotten", "crashes", []edit{
			{"protocols/bolt/restore.go", "		x.vote = v\n", ""},
		}},
		{"VOTEs are not made again after a crash", "power cuts", []edit{
			{"node/replica/replica.go", "		c.recalled = append(c.recalled, d)\n", "		_ = d\n"},
		}},
		{"acks by number only", "two batches", []edit{
			{lanesMachine, "return l.acked[p] == h.Parent && p > l.base.Seq ||", "return !l.acked[p].IsZero() && p > l.base.Seq ||"},
		}},
		{"two acks for one number", "two batches", []edit{
			{lanesMachine, "	if _, done := l.acked[h.Seq]; done {\n		return false\n	}\n	p := h.Seq - 1", "	p := h.Seq - 1"},
		}},
		{"a vote acks only the tip", "two batches", []edit{
			{"protocols/lanes/cuts.go", "			path = append(path, e)\n", "			path = append(path, e)\n			break\n"},
		}},
		{"what is pending need not be certified", "a hoarded lane", []edit{
			{lanesMachine, "return max(l.certified.Seq, l.ordered.Seq), l.ordered.Seq", "return max(l.tip.Seq, l.ordered.Seq), l.ordered.Seq"},
		}},
		{"shares of the coin are given early", "no fast lane", []edit{
			{"protocols/mvba/broadcast.go", "r.finished.Len() < m.cfg.Committee.Quorum()", "r.finished.Len() < m.cfg.Committee.WeakQuorum()"},
		}},
		{"broadcasts are signed when the coin is known", "no fast lane", []edit{
			{"protocols/mvba/broadcast.go", "func (m *Machine) accept(s *Step, r *round) {\n	if r.toss.Known() {", "func (m *Machine) accept(s *Step, r *round) {\n	if false {"},
		}},
		{"signatures of the agreement do not name it", "lies", []edit{
			{"protocols/mvba/instance.go", "return a.append(make([]byte, 0, instanceSize+4))", "return nil"},
		}},
		{"refused messages are never asked for again", "a late replica", []edit{
			{"protocols/bdt/early.go", "maxEarly = 64", "maxEarly = 0"}, // which by itself is no bug, and makes refusing common
			{"node/replica/catchup.go", "	again := c.bdt.Refused()\n", "	c.bdt.Refused()\n	again := protocols.Set{}\n"},
		}},
		{"certificates need no quorum", "lies", []edit{
			{"protocols/statement.go", "	if len(cert.Signatures) < threshold {", "	if len(cert.Signatures) < 1 {"},
		}},
		{"nothing is sent again to who reconnects", "crashes", []edit{
			{"node/replica/replica.go", "	st.Send(to, &Position{Certified: c.votes.CertifiedHeight()})\n	c.resend(&st, to)\n", "	st.Send(to, &Position{Certified: c.votes.CertifiedHeight()})\n"},
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			out, err := runMutant(t, m.edits, "-run", "TestStory", "-sim.story", m.story, "-sim.seeds", "24")
			if err == nil {
				t.Fatalf("not found:\n%s", out)
			}
			if !strings.Contains(out, " violated at step ") {
				t.Fatalf("did not run: %v\n%s", err, out)
			}
			_, found, _ := strings.Cut(out, "mutants_test.go:")
			t.Logf("found: %.160s", strings.TrimSpace(found))
		})
	}
}

// runMutant runs tests of this package with edited sources in place of the real ones, which stay as they are.
func runMutant(t *testing.T, edits []edit, args ...string) (string, error) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for i, e := range edits {
		real := filepath.Join(root, e.file)
		from := real
		if done, ok := replace[real]; ok {
			from = done
		}
		source, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), e.from); n != 1 {
			t.Fatalf("%s has %d times: %s", e.file, n, e.from)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, []byte(strings.Replace(string(source), e.from, e.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[real] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", append([]string{"test", "-vet=off", "-failfast", "-overlay", file, "."}, args...)...).CombinedOutput()
	return string(out), err
}
