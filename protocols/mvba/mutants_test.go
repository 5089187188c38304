package mvba

import (
	"flag"
	"testing"

	seeded "bdtnode/internal/mutants"
)

var runMutants = flag.Bool("mvba.mutants", false, "compile the mutants of the protocol and check that the tests fail with each (some minutes)")

// mutants are deliberate faults of the protocol.
var mutants = []seeded.Case{
	{Name: "a quorum counts messages, not senders", Edits: []seeded.Edit{
		{File: "broadcast.go", From: "\taccepts           *protocols.Tally // for own\n", To: "\taccepts           *protocols.Tally // for own\n\tcount int\n"},
		{File: "broadcast.go", From: "\tb.echoes.Add(from, x.Signature)\n", To: "\tb.echoes.Add(from, x.Signature)\n\tb.count++\n"},
		{File: "broadcast.go", From: "b.echoes.Len() < b.cfg", To: "b.count < b.cfg"},
	}},
	{Name: "coin shares are released with f+1 broadcasts complete", Edits: []seeded.Edit{
		{File: "election.go", From: "finished.Len() < e.cfg.Committee.Quorum()", To: "finished.Len() < e.cfg.Committee.WeakQuorum()"},
	}},
	{Name: "coin shares are not relayed", Edits: []seeded.Edit{
		{File: "election.go", From: "\tif e.toss.Known() && !e.relayed {", To: "\tif false {"},
	}},
	{Name: "echoes after the coin is known", Edits: []seeded.Edit{
		{File: "broadcast.go", From: "func (b *broadcasts) echo(s *Step) {\n\tif b.toss.Known() {", To: "func (b *broadcasts) echo(s *Step) {\n\tif false {"},
	}},
	{Name: "accepts after the coin is known", Edits: []seeded.Edit{
		{File: "broadcast.go", From: "func (b *broadcasts) accept(s *Step) {\n\tif b.toss.Known() {", To: "func (b *broadcasts) accept(s *Step) {\n\tif false {"},
	}, Test: "TestLateLockCompletesNothing"},
	{Name: "the second phase needs no first-phase proof", Edits: []seeded.Edit{
		{File: "broadcast_messages.go", From: "return p.quorum(c, &m.Echoes, m.echoStatement(c, from, m.Digest))", To: "return nil"},
	}},
	{Name: "signatures without the instance", Edits: []seeded.Edit{
		{File: "instance.go", From: "return a.append(make([]byte, 0, instanceSize+4))", To: "return nil"},
	}},
	{Name: "signatures without the round", Edits: []seeded.Edit{
		{File: "instance.go", From: "return a.append(make([]byte, 0, instanceSize+4))", To: "return a.Instance.append(nil)"},
	}},
	{Name: "own messages are not persisted", Edits: []seeded.Edit{
		{File: "round.go", From: "\ts.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))\n", To: ""},
	}},
	{Name: "votes are not persisted", Edits: []seeded.Edit{
		{File: "round.go", From: "\ts.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))\n", To: "\tif msg.Kind() != KindVote {\n\t\ts.Record(x.cfg.Instance.messageKey(to, msg), messageRecord(msg))\n\t}\n"},
	}},
	{Name: "an accept is persisted without its first-phase proof", Edits: []seeded.Edit{
		{File: "broadcast.go", From: "\t\ts.Record(b.cfg.Instance.evidenceKey(j), messageRecord(l))\n", To: ""},
	}},
	{Name: "an echo is persisted without its value", Edits: []seeded.Edit{
		{File: "broadcast.go", From: "\t\tb.values.store(s, p.Digest)\n", To: ""},
	}},
	{Name: "a change of round is not persisted", Edits: []seeded.Edit{
		{File: "machine.go", From: "\ts.Record(m.cfg.Instance.stateKey(), m.stateRecord())\n", To: ""},
	}},
	{Name: "the highest key is not persisted", Edits: []seeded.Edit{
		{File: "restore.go", From: "\t\tm.high = readKey(r)\n", To: "\t\treadKey(r)\n"},
	}},
	{Name: "no-votes do not claim the highest key", Edits: []seeded.Edit{
		{File: "ballot.go", From: "NoPreVotes: no, Key: b.high}", To: "NoPreVotes: no}"},
	}, Test: "TestDecisionOutlivesARoundOfNoVotes"},
	{Name: "a key alone moves a replica to the next round", Edits: []seeded.Edit{
		{File: "proof.go", From: "return p.quorum(c, &j.NoPreVotes, before.noPreVoteStatement(c))", To: "return nil"},
	}, Test: "TestRoundSkipping"},
	{Name: "a no-vote needs no proof", Edits: []seeded.Edit{
		{File: "vote_messages.go", From: "return p.quorum(c, &m.NoPreVotes, m.noPreVoteStatement(c))", To: "return nil"},
	}, Test: "TestSweep"},
	{Name: "a decision of a broadcast that was not elected", Edits: []seeded.Edit{
		{File: "vote_messages.go", From: "return p.coin(c, m.At, m.Leader, &m.Coin)", To: "return nil"},
	}, Test: "TestSweep"},
	{Name: "values are not validated", Edits: []seeded.Edit{
		{File: "broadcast.go", From: "err := b.values.valid(v); err != nil", To: "err := b.values.valid(v); false && err != nil"},
	}},
	{Name: "refused messages are never requested again", Edits: []seeded.Edit{
		{File: "machine.go", From: "\t\tm.refused.Add(from)\n", To: ""},
	}},
	{Name: "a decided value is not fetched", Edits: []seeded.Edit{
		{File: "decision.go", From: "\t\to.values.request(s, o.decision.Digest, o.decision.Accepts.Signers)\n", To: ""},
	}},
	{Name: "an elected value is not fetched", Edits: []seeded.Edit{
		{File: "ballot.go", From: "\t\t\tb.values.request(s, b.key.Digest, b.key.Echoes.Signers)\n", To: ""},
	}},
	{Name: "a justification does not move a replica that is behind", Edits: []seeded.Edit{
		{File: "machine.go", From: "\t\tif x.Round > m.round {", To: "\t\tif false {"},
	}},
}

// TestMutants runs the tests of this package with one mutant at a time, if -mvba.mutants is given.
func TestMutants(t *testing.T) {
	seeded.TestsFail(t, "protocols/mvba", mutants, *runMutants, "-mvba.hunt")
}
