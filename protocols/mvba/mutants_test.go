package mvba

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	seeded "bdtnode/internal/mutants"
)

var runMutants = flag.Bool("mvba.mutants", false, "compile the mutants of the protocol and check that the tests fail with each (some minutes)")

// mutant is one deliberate fault. With it the test named test must fail; if test is empty, some test of the package.
type mutant struct {
	name  string
	edits []edit
	test  string
}

type edit struct{ file, old, new string }

var mutants = []mutant{
	{"a quorum counts messages, not senders", []edit{
		{"broadcast.go", "\taccepts           *protocols.Tally // for own\n", "\taccepts           *protocols.Tally // for own\n\tcount int\n"},
		{"broadcast.go", "\tb.echoes.Add(from, x.Signature)\n", "\tb.echoes.Add(from, x.Signature)\n\tb.count++\n"},
		{"broadcast.go", "b.echoes.Len() < b.cfg", "b.count < b.cfg"},
	}, ""},
	{"coin shares are released with f+1 broadcasts complete", []edit{
		{"election.go", "finished.Len() < e.cfg.Committee.Quorum()", "finished.Len() < e.cfg.Committee.WeakQuorum()"},
	}, ""},
	{"coin shares are not relayed", []edit{
		{"election.go", "\tif e.toss.Known() && !e.relayed {", "\tif false {"},
	}, ""},
	{"echoes after the coin is known", []edit{
		{"broadcast.go", "func (b *broadcasts) echo(s *Step) {\n\tif b.toss.Known() {", "func (b *broadcasts) echo(s *Step) {\n\tif false {"},
	}, ""},
	{"accepts after the coin is known", []edit{
		{"broadcast.go", "func (b *broadcasts) accept(s *Step) {\n\tif b.toss.Known() {", "func (b *broadcasts) accept(s *Step) {\n\tif false {"},
	}, "TestLateLockCompletesNothing"},
	{"the second phase needs no first-phase proof", []edit{
		{"broadcast_messages.go", "return p.quorum(c, &m.Echoes, m.echoStatement(c, from, m.Digest))", "return nil"},
	}, ""},
	{"signatures without the instance", []edit{
		{"instance.go", "return a.append(make([]byte, 0, instanceSize+4))", "return nil"},
	}, ""},
	{"signatures without the round", []edit{
		{"instance.go", "return a.append(make([]byte, 0, instanceSize+4))", "return a.Instance.append(nil)"},
	}, ""},
	{"own messages are not persisted", []edit{
		{"round.go", "\ts.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))\n", ""},
	}, ""},
	{"votes are not persisted", []edit{
		{"round.go", "\ts.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))\n", "\tif msg.Kind() != KindVote {\n\t\ts.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))\n\t}\n"},
	}, ""},
	{"an accept is persisted without its first-phase proof", []edit{
		{"broadcast.go", "\t\ts.Record(b.cfg.Instance.evidenceKey(j), messageRecord(l))\n", ""},
	}, ""},
	{"an echo is persisted without its value", []edit{
		{"broadcast.go", "\t\tb.values.store(s, p.Digest)\n", ""},
	}, ""},
	{"a change of round is not persisted", []edit{
		{"machine.go", "\ts.Record(m.cfg.Instance.stateKey(), m.stateRecord())\n", ""},
	}, ""},
	{"the highest key is not persisted", []edit{
		{"restore.go", "\t\tm.high = readKey(r)\n", "\t\treadKey(r)\n"},
	}, ""},
	{"no-votes do not claim the highest key", []edit{
		{"ballot.go", "NoPreVotes: no, Key: b.high}", "NoPreVotes: no}"},
	}, "TestDecisionOutlivesARoundOfNoVotes"},
	{"a key alone moves a replica to the next round", []edit{
		{"proof.go", "return p.quorum(c, &j.NoPreVotes, before.noPreVoteStatement(c))", "return nil"},
	}, "TestRoundSkipping"},
	{"a no-vote needs no proof", []edit{
		{"vote_messages.go", "return p.quorum(c, &m.NoPreVotes, m.noPreVoteStatement(c))", "return nil"},
	}, "TestSweep"},
	{"a decision of a broadcast that was not elected", []edit{
		{"vote_messages.go", "return p.coin(c, m.At, m.Leader, &m.Coin)", "return nil"},
	}, "TestSweep"},
	{"values are not validated", []edit{
		{"broadcast.go", "err := b.values.valid(v); err != nil", "err := b.values.valid(v); false && err != nil"},
	}, ""},
	{"refused messages are never requested again", []edit{
		{"machine.go", "\t\tm.refused.Add(from)\n", ""},
	}, ""},
	{"a decided value is not fetched", []edit{
		{"decision.go", "\t\to.values.request(s, o.decision.Digest, o.decision.Accepts.Signers)\n", ""},
	}, ""},
	{"an elected value is not fetched", []edit{
		{"ballot.go", "\t\t\tb.values.request(s, b.key.Digest, b.key.Echoes.Signers)\n", ""},
	}, ""},
	{"a justification does not move a replica that is behind", []edit{
		{"machine.go", "\t\tif x.Round > m.round {", "\t\tif false {"},
	}, ""},
}

// TestMutants runs the tests of this package with one mutant at a time; each mutant must make a test fail. One program has all
// mutants as switches, and each process that runs it has one. The test compiles and runs the program only with
// -mvba.mutants. Without the flag, it checks that the source still contains the text that each mutant changes.
func TestMutants(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	o := seeded.New(root)
	for _, mu := range mutants {
		var edits []seeded.Edit
		for _, e := range mu.edits {
			edits = append(edits, seeded.Edit{File: "protocols/mvba/" + e.file, From: e.old, To: e.new})
		}
		if err := o.Add(mu.name, edits); err != nil {
			t.Errorf("%s: %v", mu.name, err)
		}
	}
	if t.Failed() || !*runMutants {
		return
	}
	program := o.Build(t)
	t.Run("none", func(t *testing.T) {
		if failed, out := runTests(t, program, "", ""); failed {
			t.Errorf("without a mutant the program fails: %s", out)
		}
	})
	for _, mu := range mutants {
		t.Run(mu.name, func(t *testing.T) {
			t.Parallel()
			failed, out := runTests(t, program, mu.name, mu.test)
			if !failed {
				t.Error("no test fails")
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "_test.go:") {
					t.Log(strings.TrimSpace(line))
					return
				}
			}
		})
	}
}

// runTests runs the given test, or all tests if none is given, with a mutant. It reports whether a test failed, and the output.
func runTests(t *testing.T, program, mutant, test string) (failed bool, out string) {
	cmd := exec.CommandContext(t.Context(), program, "-test.run="+test, "-test.skip=TestMutants", "-test.failfast", "-test.timeout=5m", "-mvba.hunt")
	if mutant != "" {
		cmd.Env = append(os.Environ(), seeded.Variable+"="+mutant)
	}
	text, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(text), "--- FAIL") {
		t.Errorf("the program does not run: %v: %s", err, text)
	}
	return err != nil, string(text)
}
