package foreign

import (
	"flag"
	"testing"

	seeded "bdtnode/internal/mutants"
)

var runMutants = flag.Bool("foreign.mutants", false, "compile the mutants of this package and check that the tests fail with each")

// mutants are bugs of questions. The simulator asks for transactions alone, and has the first of these bugs too.
var mutants = []seeded.Case{
	{Name: "an answer of one foreign replica counts", Edits: []seeded.Edit{
		{File: "ask.go", From: "Need: c.WeakQuorum(), Items: 1", To: "Need: 1, Items: 1"},
	}, Test: "TestFalseBalanceIsNotReturned"},
	{Name: "a submission is done when one foreign replica has it", Edits: []seeded.Edit{
		{File: "ask.go", From: "q.Items, q.Patience, q.Pause, q.Rounds = items, patience, longPause, 0", To: "q.Items, q.Patience, q.Pause, q.Rounds, q.Need = items, patience, longPause, 0, 1"},
	}, Test: "TestSubmissionNeedsAnHonestReplica|TestSettledNeedsAnHonestReplica"},
	{Name: "an answer that is not final counts from one replica", Edits: []seeded.Edit{
		{File: "read.go", From: "count[key] < need", To: "count[key] < 1"},
	}, Test: "TestRows"},
	{Name: "an account on which too few agree is not marked", Edits: []seeded.Edit{
		{File: "read.go", From: "	a.Unconfirmed = !ok\n", To: "	a.Unconfirmed = !ok && err != nil\n"},
	}, Test: "TestChangingAccount"},
	{Name: "an answer from before the last change counts", Edits: []seeded.Edit{
		{File: "read.go", From: " || a.Height < a.Changed.Height {", To: " {"},
	}, Test: "TestHeightsNeedNotBeEqual"},
	{Name: "signers that one replica lists count", Edits: []seeded.Edit{
		{File: "read.go", From: "		first.Signers = intersection(first.Signers, further.Signers)\n", To: ""},
	}, Test: "TestBlocks"},
	{Name: "the certificate of one replica counts", Edits: []seeded.Edit{
		{File: "read.go", From: "func(first, further *api.TxAnswer) { first.Certified = first.Certified && further.Certified }", To: "func(first, further *api.TxAnswer) {}"},
	}, Test: "TestRows"},
	{Name: "an error of one replica decides", Edits: []seeded.Edit{
		{File: "ask.go", From: "		key, _ = h.Most(0)\n", To: "		key, _ = h.Most(0)\n		ok = key == keyBadCursor\n"},
	}, Test: "TestErrorsOfAccounts"},
	{Name: "a wait ends with the first of its transactions", Edits: []seeded.Edit{
		{File: "together.go", From: "		if w.open--; w.open == 0 {\n", To: "		if w.open--; true {\n"},
	}, Test: "TestSettledNeedsAnHonestReplica|TestWaitEndsWithItsOwnTransactions|TestFirstOfTwo"},
	{Name: "a shared call waits for all transactions", Edits: []seeded.Edit{
		{File: "wait.go", From: "wait = min(wait, turnTime)", To: "wait = min(wait, api.MaxWait)"},
	}, Test: "TestWaitEndsWithItsOwnTransactions"},
	{Name: "a copy of a transaction is sent in a hint", Edits: []seeded.Edit{
		{File: "together.go", From: "			if !seen[string(raw)] {\n", To: "			if true {\n"},
	}, Test: "TestHintsShareCalls"},
	{Name: "an unreachable shard is left out", Edits: []seeded.Edit{
		{File: "combine.go", From: "		case r.Unreachable:\n			return api.Part{Shard: shard, Stage: api.StageUnreachable}\n", To: "		case r.Unreachable:\n			return api.Part{Shard: shard, Stage: ledger.StageSettled.String()}\n"},
	}, Test: "TestCombine"},
}

// TestMutants runs the tests of this package with one mutant at a time, if -foreign.mutants is given.
func TestMutants(t *testing.T) {
	seeded.TestsFail(t, "node/foreign", mutants, *runMutants)
}
