package sim

import (
	"bytes"
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

	"bdtnode/protocols"
)

var mutants = flag.Bool("sim.mutants", false, "let TestMutants put bugs into the protocols, build them and look for them")

// TestChecksFail carries steps out wrongly, as a node with a bug would. The checks must find each bug.
func TestChecksFail(t *testing.T) {
	dropping := func(prefix string) mutation {
		return mutation{persist: func(records []protocols.Record) []protocols.Record {
			return slices.DeleteFunc(records, func(r protocols.Record) bool { return bytes.HasPrefix(r.Key, []byte(prefix)) })
		}}
	}
	const enough = 32 // seeds, in which each must be found
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
		{"signatures of the agreement are not persisted", "no fast lane", dropping("a/")},
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

// edit replaces a part of a source file that must occur exactly once.
type edit struct{ file, from, to string }

// TestMutants puts one bug at a time into the protocols' source and builds these tests with it. The stories must fail.
// It does so only with -sim.mutants, because each bug takes a compilation. Without it, it checks that the source still
// contains the lines that each bug changes.
func TestMutants(t *testing.T) {
	const (
		lanesMachine = "protocols/lanes/machine.go"
		boltMachine  = "protocols/bolt/machine.go"
	)
	for _, m := range []struct {
		name, story string // an empty story is TestEightRegions
		edits       []edit
	}{
		{"votes are counted by message", "two blocks", []edit{
			{boltMachine, "	if !x.voters.Add(from) {\n		return\n	}\n	t := x.votes[v.Digest]", "	t := x.votes[v.Digest]"},
			{"protocols/certificate.go", "	signed Set\n", "	signed Set\n	calls  int\n"},
			{"protocols/certificate.go", "	if !t.signed.Add(i) {\n		return false\n	}\n", "	t.calls++\n	t.signed.Add(i)\n"},
			{"protocols/certificate.go", "return len(t.sigs) }", "return t.calls }"},
		}},
		{"quorums are one too small", "two blocks", []edit{
			{"protocols/committee.go", "return c.N() - c.F() }", "return c.N() - c.F() - 1 }"},
		}},
		{"quorums of 2f+1 for every n", "two blocks", []edit{
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
		{"a newer vote that a peer knows is no evidence", "an old store", []edit{
			{"node/replica/identity.go", "	case x.Vote != nil && c.bdt", "	case x.Vote != nil && x.To == 0 && c.bdt"},
		}},
		{"a newer header that a peer knows is no evidence", "an old store", []edit{
			{"node/replica/identity.go", "	case x.Header != nil && c.bdt", "	case x.Header != nil && x.To == 0 && c.bdt"},
			{"node/replica/identity.go", "	case x.Vote != nil && c.bdt", "	case x.Vote != nil && x.To == 0 && c.bdt"},
		}},
		{"fewer than 2f answers to a start suffice", "crashes", []edit{
			{"node/replica/identity.go", "return 2 * c.cfg.Committee.F() }", "return c.cfg.Committee.F() }"},
		}},
		{"VOTEs are not made again after a crash", "power cuts", []edit{
			{"node/replica/replica.go", "		c.recalled = append(c.recalled, d)\n", "		_ = d\n"},
		}},
		{"acks by number only", "two batches", []edit{
			{lanesMachine, "return l.acked[p] == h.Parent ||", "return !l.acked[p].IsZero() ||"},
		}},
		{"two acks for one number", "two batches", []edit{
			{lanesMachine, "	if _, done := l.acked[h.Seq]; done {\n		return false\n	}\n	p := h.Seq - 1\n	if p", "	p := h.Seq - 1\n	if p"},
		}},
		{"a vote acks only the tip", "a forked lane", []edit{
			{"protocols/lanes/cuts.go", "			path = append(path, e)\n", "			path = append(path, e)\n			break\n"},
		}},
		{"forks from below the ordered position are acknowledged after a crash", "power cuts", []edit{
			{lanesMachine, "	if h.Seq <= l.ordered.Seq || h.Seq", "	if h.Seq <= l.base.Seq || h.Seq"},
			{lanesMachine, "	if p == l.ordered.Seq {\n		return h.Parent == l.ordered.Digest\n	}\n	return", "	return (Tip{p, h.Parent}) == l.ordered || (Tip{p, h.Parent}) == l.base ||"},
		}},
		{"a replica past a slot votes there no more", "a Commit to one", []edit{
			{"protocols/bolt/final.go", "	for _, b := range chain {\n		m.voteFinal(now, st, b)\n	}\n", ""},
		}},
		{"one question holds a lane back", "", []edit{
			{"protocols/lanes/fetch.go", "		l.lag.lacks(from, f.Tip.Seq)\n", "		l.lag.charge(now, maxHold)\n"},
		}},
		{"a lane that holds up slots is never held back", "", []edit{
			{"protocols/lanes/lag.go", "			l.lag.charge(now, wait)\n", ""},
		}},
		{"pending work need not be certified", "a hoarded lane", []edit{
			{lanesMachine, "return max(l.certified.Seq, l.ordered.Seq), l.ordered.Seq", "return max(l.tip.Seq, l.ordered.Seq), l.ordered.Seq"},
		}},
		{"shares of the coin are given early", "no fast lane", []edit{
			{"protocols/mvba/broadcast.go", "r.finished.Len() < m.cfg.Committee.Quorum()", "r.finished.Len() < m.cfg.Committee.WeakQuorum()"},
		}},
		{"shares of the coin are not relayed", "a whispered coin", []edit{
			{"protocols/mvba/vote.go", "	if !r.relayed {", "	if false {"},
		}},
		{"broadcasts are signed when the coin is known", "no fast lane", []edit{
			{"protocols/mvba/broadcast.go", "func (m *Machine) accept(s *Step, r *round) {\n	if r.toss.Known() {", "func (m *Machine) accept(s *Step, r *round) {\n	if false {"},
		}},
		{"signatures of the agreement do not name it", "forged messages", []edit{
			{"protocols/mvba/instance.go", "return a.append(make([]byte, 0, instanceSize+4))", "return nil"},
		}},
		{"refused messages are never asked for again", "a late replica", []edit{
			{"protocols/bdt/future.go", "maxFutureMessages = 64 ", "maxFutureMessages = 0 "}, // no bug by itself, it makes refusals frequent
			{"node/replica/catchup.go", "	again := c.bdt.Refused()\n", "	c.bdt.Refused()\n	again := protocols.Set{}\n"},
		}},
		{"certificates need no quorum", "forged messages", []edit{
			{"protocols/certificate.go", "	if len(cert.Signatures) < threshold {", "	if len(cert.Signatures) < 1 {"},
		}},
		{"a stall is judged by commits", "lost VOTEs", []edit{
			{"node/replica/catchup.go", "	if lacks > x.lacks {\n		x.lacks, x.progress = lacks, now\n", "	if h := c.bdt.Base().Height; h > x.lacks {\n		x.lacks, x.progress = h, now\n"},
		}},
		{"certified blocks are taken from a peer that was not asked", "pushed history", []edit{
			{"node/replica/catchup.go", "	if a.from == 0 {\n		return\n	}\n	x.asks[from]", "	x.asks[from]"},
			{"node/replica/gate.go", "	case kind == KindHistory && g.histories == 0:\n		g.unasked++\n		return false, slow(size)\n", ""},
		}},
		{"nothing is sent again after a reconnection", "crashes", []edit{
			{"node/replica/replica.go", "	st.Send(to, &Position{Certified: c.votes.CertifiedHeight()})\n	c.resend(&st, to)\n", "	st.Send(to, &Position{Certified: c.votes.CertifiedHeight()})\n"},
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			if !*mutants {
				overlay(t, m.edits)
				return
			}
			args := []string{"-run", "TestStory", "-sim.story", m.story, "-sim.seeds", "24"}
			if m.story == "" {
				args = []string{"-run", "TestEightRegions"}
			}
			out, err := runMutant(t, m.edits, args...)
			if err == nil {
				t.Fatalf("not found:\n%s", out)
			}
			if !strings.Contains(out, " violated at step ") && !strings.Contains(out, " times the least") {
				t.Fatalf("did not run: %v\n%s", err, out)
			}
			_, found, _ := strings.Cut(out, "_test.go:")
			t.Logf("found: %.160s", strings.TrimSpace(found))
		})
	}
}

// runMutant runs tests of this package with edited sources in place of the real ones, which stay unchanged.
func runMutant(t *testing.T, edits []edit, args ...string) (string, error) {
	t.Helper()
	file := overlay(t, edits)
	out, err := exec.Command("go", append([]string{"test", "-vet=off", "-failfast", "-overlay", file, "."}, args...)...).CombinedOutput()
	return string(out), err
}

// overlay is a file that makes the compiler use edited sources. Each edit must change one place of its source.
func overlay(t *testing.T, edits []edit) string {
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
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
