package mvba

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var runMutants = flag.Bool("mvba.mutants", false, "build each mutant of the protocol and check that the tests fail (some minutes)")

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

// TestMutants checks that the text changed by each mutant occurs exactly once, so that the list fits the code. With
// -mvba.mutants it also builds each mutant and runs the tests on it until one fails.
func TestMutants(t *testing.T) {
	for _, mu := range mutants {
		t.Run(mu.name, func(t *testing.T) {
			changed := make(map[string]string)
			for _, e := range mu.edits {
				text, ok := changed[e.file]
				if !ok {
					b, err := os.ReadFile(e.file)
					if err != nil {
						t.Fatal(err)
					}
					text = string(b)
				}
				if n := strings.Count(text, e.old); n != 1 {
					t.Fatalf("%s has %q %d times", e.file, e.old, n)
				}
				changed[e.file] = strings.Replace(text, e.old, e.new, 1)
			}
			if *runMutants {
				runMutant(t, changed, mu.test)
			}
		})
	}
}

// runMutant builds the package with changed files and expects the given test, or any test if none is given, to fail.
func runMutant(t *testing.T, changed map[string]string, test string) {
	dir := t.TempDir()
	replace := make(map[string]string)
	for file, text := range changed {
		from, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, file)
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "test", "-vet=off", "-failfast", "-timeout", "3m", "-overlay", list, "-run", test, "-skip", "TestMutants", "-mvba.hunt", ".").CombinedOutput()
	switch {
	case err == nil:
		t.Error("no test fails")
	case !strings.Contains(string(out), "--- FAIL"):
		t.Errorf("the mutant does not build or run: %s", out)
	default:
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "_test.go:") {
				t.Log(strings.TrimSpace(line))
				return
			}
		}
	}
}
