package sim

import (
	"bytes"
	"errors"
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/mutants"
	"bdtnode/node/sim/machine"
	"bdtnode/protocols"
)

var runMutants = flag.Bool("sim.mutants", false, "let TestMutants compile the bugs and search for each")

// TestChecksFail carries steps out wrongly, as a node with a bug would. The checks must find each bug.
func TestChecksFail(t *testing.T) {
	dropping := func(prefix string) machine.Mutation {
		return machine.Mutation{Persist: func(records []protocols.Record) []protocols.Record {
			return slices.DeleteFunc(records, func(r protocols.Record) bool { return bytes.HasPrefix(r.Key, []byte(prefix)) })
		}}
	}
	for _, m := range []struct {
		name, story, checks string
		machine.Mutation
	}{
		{"own votes are not persisted", "crashes", "identity signing", dropping("b/v")},
		{"a Finalize's QC is not persisted", "crashes", "signing", dropping("b/c")},
		{"the leader's proposals are not persisted", "crashes", "identity signing", dropping("b/p")},
		{"acknowledgements are not persisted", "two batches", "signing acking", dropping("l/a")},
		{"the highest QC is not persisted", "short epochs", "invariant", dropping("b/t")},
		{"own Status are not persisted", "short epochs", "identity signing leaving", dropping("e/s")},
		{"a new epoch is not persisted", "short epochs", "identity leaving signing", dropping("e/r")},
		{"signatures of the agreement are not persisted", "no fast lane", "identity signing", dropping("a/")},
		{"batches are not persisted", "crashes", "promises durability", dropping("l/b")},
		{"committed blocks are not persisted", "crashes", "durability invariant", dropping("h/b")},
		{"messages leave before their records are synced", "crashes", "signing identity durability", machine.Mutation{SendEarly: true}},
		{"the ledger is durable before the blocks are", "crashes", "invariant", machine.Mutation{LedgerFirst: true}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(enough) {
				cfg := stories[m.story](seed + 1)
				cfg.Shards[0].mutation = m.Mutation
				var v *Violation
				if _, err := Run(t.Context(), cfg, nil); errors.As(err, &v) {
					t.Logf("found by seed %d: %s at %v: %.120s", seed+1, v.Check, v.At, v.Detail)
					if !slices.Contains(strings.Fields(m.checks), v.Check) {
						t.Errorf("violates %s, want one of: %s", v.Check, m.checks)
					}
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
			t.Errorf("not found in %d seeds", enough)
		})
	}
}

// mutant is a bug that edits put back into the source.
type mutant struct {
	name   string
	story  string // the search, which depends on the group
	checks string // that may find the bug, separated by spaces
	edits  []edit
}

// edit is a [mutants.Edit].
type edit struct{ File, From, To string }

func (m *mutant) sourceEdits() []mutants.Edit {
	out := make([]mutants.Edit, len(m.edits))
	for i, e := range m.edits {
		out[i] = mutants.Edit(e)
	}
	return out
}

// TestMutants runs the stories and sweeps with one bug at a time in the source. A run must violate one of the checks that
// the bug names. One program, compiled from an overlay of the source, has all bugs as switches, and each process that
// runs it has one bug. The test compiles and runs the program only with -sim.mutants. Without the flag, it makes the
// overlay, and so checks that the source still contains the text that each bug replaces.
func TestMutants(t *testing.T) {
	if *oneMutant != "" {
		printFinding(t, *oneMutant)
		return
	}
	if *noMutant {
		hashes, err := sampled(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		printLine(hashes)
		return
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	o := mutants.New(root)
	for _, g := range groups() {
		names := make(map[string]bool)
		for _, m := range g.mutants {
			if err := o.Add(m.name, m.sourceEdits()); err != nil {
				t.Errorf("%s/%s: %v", g.name, m.name, err)
			}
			if s := g.search(&m); s.run == nil && !s.test {
				t.Errorf("%s/%s: there is no story %s", g.name, m.name, m.story)
			}
			if m.checks == "" || names[m.name] {
				t.Errorf("%s/%s: it has no checks, or the name is there twice", g.name, m.name)
			}
			names[m.name] = true
		}
	}
	if t.Failed() || !*runMutants {
		return
	}
	begun := time.Now()
	program := o.Build(t)
	t.Logf("compiled %d mutants in %v", o.Len(), time.Since(begun).Round(time.Second))
	var table findings
	t.Cleanup(func() { t.Log(table.String()) })
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		compareHashes(t, program)
	})
	for _, g := range groups() {
		for _, m := range g.mutants {
			t.Run(g.name+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				mustFind(t, program, &g, &m, &table)
			})
		}
	}
}

// mustFind fails unless the search for a mutant ends with a violation of one of the mutant's checks, in a run in which
// the unchanged source violates nothing.
func mustFind(t *testing.T, program string, g *group, m *mutant, table *findings) {
	begun := time.Now()
	f, err := carriedOut(t.Context(), program, g, m)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun).Round(100 * time.Millisecond)
	if !f.found() {
		t.Fatalf("not found in %d runs, %v", f.Runs, took)
	}
	t.Logf("found after %v by %v", took, f)
	table.add("%8v, run %4d (%s): %-26s %s/%s", took, f.Run+1, f.Name, f.checks(), g.name, m.name)
	for check := range f.Checks {
		if !slices.Contains(strings.Fields(m.checks), check) {
			t.Errorf("violates %s, want one of: %s", check, m.checks)
		}
	}
	if s := g.search(m); !s.test {
		if err := s.run(t.Context(), f.Run); err != nil {
			t.Errorf("the same run without the mutant: %v", err)
		}
	}
}

// storyMutants are bugs in the consensus of one shard. The search of one without a story is TestEightRegions.
func storyMutants() []mutant {
	const (
		lanesMachine = "protocols/lanes/machine.go"
		boltMachine  = "protocols/bolt/machine.go"
	)
	return []mutant{
		{"a message is sent while records of an earlier step are not durable", "short epochs", "signing acking identity leaving durability", []edit{
			{"node/driver/release.go", "w.unsynced = replica.Apply(b, a.Persist) || w.unsynced\n", "w.unsynced = replica.Apply(b, a.Persist)\n"},
		}},
		{"a vote leaves before it is durable", "crashes", "signing identity acking durability", []edit{
			{"node/replica/messages.go", "	case *certify.VOTE, *Ping, *Pong:\n", "	case *certify.VOTE, *bolt.Vote, *Ping, *Pong:\n"},
		}},
		{"votes are counted by message", "two blocks", "blame certificates agreement", []edit{
			{boltMachine, "	if !x.voters.Add(from) {\n		return\n	}\n	t := x.votes[v.Digest]", "	t := x.votes[v.Digest]"},
			{"protocols/certificate.go", "	signed Set\n", "	signed Set\n	calls  int\n"},
			{"protocols/certificate.go", "	if !t.signed.Add(i) {\n		return false\n	}\n", "	t.calls++\n	if !t.signed.Add(i) {\n		return true\n	}\n"},
			{"protocols/certificate.go", "return len(t.sigs) }", "return t.calls }"},
		}},
		{"quorums are one too small", "two blocks", "certificates agreement invariant", []edit{
			{"protocols/committee.go", "return c.N() - c.F() }", "return c.N() - c.F() - 1 }"},
		}},
		{"quorums of 2f+1 for every n", "two blocks", "certificates agreement invariant", []edit{
			{"protocols/committee.go", "return c.N() - c.F() }", "return 2*c.F() + 1 }"},
		}},
		{"the parent is not checked at voting", "two blocks", "invariant certificates agreement", []edit{
			{boltMachine, "!(x.vote != nil && x.vote.Digest == b.Parent || x.qc != nil && x.qc.Digest == b.Parent)", "x.blocks[b.Parent] == nil"},
		}},
		{"Finalize is sent after the Status", "short epochs", "leaving", []edit{
			{boltMachine, "	if m.left {\n		return\n	}\n	x.finalize =", "	x.finalize ="},
		}},
		{"votes are cast after the Status", "short epochs", "leaving", []edit{
			{boltMachine, "	m.clockDue = 0\n	if m.left {\n		return\n	}\n", "	m.clockDue = 0\n"},
		}},
		{"a Status claims less than it committed", "short epochs", "invariant", []edit{
			{"protocols/bdt/leave.go", "if q := e.bolt.HighestQC(); q != nil {", "if q := e.bolt.HighestQC(); q != nil && e.number == 0 {"},
		}},
		{"the highest QC is not required", "a late leader", "invariant agreement", []edit{
			{"protocols/bdt/input.go", "	case top.Slot == 0 && x.QC != nil, top.Slot > 0 && (", "	case top.Slot > 0 && x.QC != nil && ("},
			{"protocols/bdt/input.go", "if s.Slot > 0 && (x.QC == nil || s.Slot > x.QC.Slot) {", "if s.Slot > 0 && k < 0 {"},
			{"protocols/bdt/leave.go", "newInput(e.number, from, counted, e.base, block)", "newInput(e.number, from, counted, e.base, block.Before())"},
			{"protocols/bolt/leave.go", "// LastSlotCommitted reports", "func (b *Block) Before() *Block { return nil }\n\n// LastSlotCommitted reports"},
		}},
		{"restored votes are forgotten", "crashes", "identity signing", []edit{
			{"protocols/bolt/restore.go", "		x.vote = v\n", ""},
		}},
		{"a newer vote that a peer knows is no evidence", "an old store", "identity", []edit{
			{"node/replica/identity.go", "	case x.Vote != nil && c.bdt", "	case x.Vote != nil && x.To == 0 && c.bdt"},
		}},
		{"a newer header that a peer knows is no evidence", "an old store", "identity", []edit{
			{"node/replica/identity.go", "	case x.Header != nil && c.bdt", "	case x.Header != nil && x.To == 0 && c.bdt"},
			{"node/replica/identity.go", "	case x.Vote != nil && c.bdt", "	case x.Vote != nil && x.To == 0 && c.bdt"},
		}},
		{"fewer than 2f answers to a start suffice", "crashes", "identity", []edit{
			{"node/replica/identity.go", "return 2 * c.cfg.Committee.F() }", "return c.cfg.Committee.F() }"},
		}},
		{"VOTEs are not made again after a crash", "power cuts", "liveness", []edit{
			{"node/replica/replica.go", "		c.recalled = append(c.recalled, d)\n", "		_ = d\n"},
		}},
		{"acks by number only", "two batches", "certificates acking", []edit{
			{lanesMachine, "return l.acked[p] == h.Parent ||", "return !l.acked[p].IsZero() ||"},
		}},
		{"two acks for one number", "two batches", "signing acking certificates identity", []edit{
			{lanesMachine, "	if _, done := l.acked[h.Seq]; done {\n		return false\n	}\n	p := h.Seq - 1\n	if p", "	p := h.Seq - 1\n	if p"},
		}},
		{"a vote acks only the tip", "a forked lane", "acking", []edit{
			{"protocols/lanes/cuts.go", "			path = append(path, e)\n", "			path = append(path, e)\n			break\n"},
		}},
		{"forks from below the ordered position are acknowledged after a crash", "power cuts", "acking", []edit{
			{lanesMachine, "	if h.Seq <= l.ordered.Seq || h.Seq", "	if h.Seq <= l.base.Seq || h.Seq"},
			{lanesMachine, "	if p == l.ordered.Seq {\n		return h.Parent == l.ordered.Digest\n	}\n	return", "	return (Tip{p, h.Parent}) == l.ordered || (Tip{p, h.Parent}) == l.base ||"},
		}},
		{"a receiver has no window of a lane", "an overfull lane", "acking", []edit{
			{lanesMachine, "	if h.Seq <= l.ordered.Seq || h.Seq > l.ordered.Seq+maxGrowth || l.frozen || l.bad || l.bytes.acked+int(h.Size) > l.limit {", "	if h.Seq <= l.ordered.Seq || l.frozen || l.bad {"},
			{"protocols/lanes/window.go", "		return b.Seq <= l.ordered.Seq+maxGrowth && l.bytes.held+int(b.Size) <= l.limit\n", "		return true\n"},
			{"protocols/lanes/horizon.go", "	case x.Seq <= l.ordered || x.Seq <= l.ordered+maxGrowth && (int(x.Size) <= l.room || slices.Contains(l.asked, x.Tip())):\n", "	case true:\n"},
		}},
		{"a replica past a slot votes there no more", "a Finalize to one", "outcome", []edit{
			{"protocols/bolt/final.go", "	for _, b := range chain {\n		m.voteFinal(now, st, b)\n	}\n", ""},
		}},
		{"one question holds a lane back", "", "latency", []edit{
			{"protocols/lanes/fetch.go", "		l.lag.Lacks(from, f.Tip.Seq)\n", "		l.lag.charge(now, maxHold, 0)\n"},
		}},
		{"a lane that holds up slots is never held back", "", "latency", []edit{
			{"protocols/lanes/lag.go", "	g.charge(now, wait, age)\n", ""},
		}},
		{"pending work need not be certified", "a hoarded lane", "outcome", []edit{
			{lanesMachine, "return max(l.certified.Seq, l.ordered.Seq), l.ordered.Seq", "return max(l.tip.Seq, l.ordered.Seq), l.ordered.Seq"},
		}},
		{"shares of the coin are given early", "no fast lane", "tossing", []edit{
			{"protocols/mvba/election.go", "finished.Len() < e.cfg.Committee.Quorum()", "finished.Len() < e.cfg.Committee.WeakQuorum()"},
		}},
		{"shares of the coin are not relayed", "a whispered coin", "liveness", []edit{
			{"protocols/mvba/election.go", "	if e.toss.Known() && !e.relayed {", "	if false {"},
		}},
		{"broadcasts are signed when the coin is known", "no fast lane", "tossing", []edit{
			{"protocols/mvba/broadcast.go", "func (b *broadcasts) accept(s *Step) {\n	if b.toss.Known() {", "func (b *broadcasts) accept(s *Step) {\n	if false {"},
		}},
		{"signatures of the agreement do not name it", "forged messages", "blame", []edit{
			{"protocols/mvba/instance.go", "return a.append(make([]byte, 0, instanceSize+4))", "return nil"},
		}},
		{"refused messages are never asked for again", "a late replica", "liveness", []edit{
			{"protocols/bdt/future.go", "len(x.kept[from]) < maxFutureMessages && !value", "len(x.kept[from]) < 0 && !value"}, // no bug by itself, it makes refusals frequent
			{"node/replica/catchup.go", "	again := c.bdt.TakeRefusedPeers()\n", "	c.bdt.TakeRefusedPeers()\n	again := protocols.Set{}\n"},
		}},
		{"certificates need no quorum", "forged messages", "blame", []edit{
			{"protocols/certificate.go", "	if len(cert.Signatures) < threshold {", "	if len(cert.Signatures) < 1 {"},
		}},
		{"a stall is judged by commits", "lost VOTEs", "bounds", []edit{
			{"node/replica/catchup.go", "	if lacks > x.lacks {\n		x.lacks, x.progress = lacks, now\n", "	if h := c.bdt.Base().Height; h > x.lacks {\n		x.lacks, x.progress = h, now\n"},
		}},
		{"certified blocks are taken from a peer that was not asked", "pushed history", "bounds", []edit{
			{"node/replica/catchup.go", "	if a.from == 0 {\n		return\n	}\n	x.asks[from]", "	x.asks[from]"},
			{"node/replica/gate.go", "	case kind == KindHistory && g.histories == 0:\n		g.unasked++\n		return false, slow(size)\n", ""},
		}},
		{"nothing is sent again after a reconnection", "crashes", "signing liveness", []edit{
			{"node/replica/replica.go", "	st.Send(to, &Position{Certified: c.certify.CertifiedHeight()})\n	c.resend(&st, to)\n", "	st.Send(to, &Position{Certified: c.certify.CertifiedHeight()})\n"},
		}},
	}
}
