package settlement

import (
	"flag"
	"testing"

	seeded "bdtnode/internal/mutants"
)

var runMutants = flag.Bool("settlement.mutants", false, "compile the mutants of the rules and check that the tests fail with each (some minutes)")

const (
	rulesFile   = "rules.go"
	ledgerCLs   = "ledger/cancel.go"
	statements  = "protocols/cancel/cancel.go"
	certificate = "protocols/certificate.go"
	known       = "ledger/known.go"
)

// mutants are the rules of the settlement, each switched off in the source. Weakened rules that cannot be written as a
// change of the source are in TestWeakenedRulesAreFound and TestWeakenedCancellationIsFound. That f signers or a signer
// twice make no CL is also a rule of protocols/cancel; the simulator has these bugs.
var mutants = []seeded.Case{
	{Name: "a CL closes the record", Edits: []seeded.Edit{
		{File: rulesFile, From: "	return s.CancelEscrow(r, source)\n", To: "	s.Records.SetVerdict(r, source, ledger.VerdictRejected, ledger.ReasonConsumed)\n	return resolve(s, r)\n"},
	}, Test: "TestTheWorkedExampleWithCancellation|TestCancellationInEveryOrder"},
	{Name: "REJECTED is given from a batch", Edits: []seeded.Edit{
		{File: rulesFile, From: "			s.LeaveOut(tx, refusal, missing)\n", To: "			_ = missing\n			return giveVerdict(s, s.Records.Open(tx), ledger.VerdictRejected, refusal.Reason)\n"},
	}, Test: "TestOneTransactionInEveryOrder|TestTheWorkedExample"},
	{Name: "an expired transaction of a batch is rejected", Edits: []seeded.Edit{
		{File: rulesFile, From: "		default:\n			s.LeaveOut(tx, refusal, missing)\n", To: "		case refusal.Reason == ledger.ReasonExpired:\n			return giveVerdict(s, s.Records.Open(tx), ledger.VerdictRejected, refusal.Reason)\n		default:\n			s.LeaveOut(tx, refusal, missing)\n"},
	}, Test: "TestOneTransactionInEveryOrder"},
	{Name: "an output shard gives a verdict on a transaction of a batch", Edits: []seeded.Edit{
		{File: "ledger/inputs.go", From: "	case !p.Inputs.Has(c.Shard):\n		return refuse", To: "	case !p.All().Has(c.Shard):\n		return refuse"},
	}, Test: "TestOneTransactionInEveryOrder"},
	{Name: "the number of an LD does not matter", Edits: []seeded.Edit{
		{File: rulesFile, From: "x.Destination != s.Shard() || x.Number != c.Applied+1:", To: "x.Destination != s.Shard():"},
	}, Test: "TestWeakenedRulesAreFound/unchanged"},
	{Name: "a record is forgotten before the expiry", Edits: []seeded.Edit{
		{File: rulesFile, From: "r.Part.Complete() && (!r.Shards.Inputs.Has(s.Shard()) || s.TimeMS() > r.Tx.ExpiryMS)", To: "r.Part.Complete()"},
	}, Test: "TestTwoTransactions|TestOneTransactionInEveryOrder"},
	{Name: "an LD with an expired transaction is not answered", Edits: []seeded.Edit{
		{File: rulesFile, From: "	if own := r.Part.Of(s.Shard()); own != nil && own.Verdict == 0 {\n		if err := answer", To: "	if own := r.Part.Of(s.Shard()); own != nil && own.Verdict == 0 && s.TimeMS() <= r.Tx.ExpiryMS {\n		if err := answer"},
	}, Test: "TestOneTransactionInEveryOrder"},
	{Name: "a rejection is not answered", Edits: []seeded.Edit{
		{File: rulesFile, From: "	if own := r.Part.Of(s.Shard()); own != nil && own.Verdict == 0 {\n		if err := answer", To: "	if own := r.Part.Of(s.Shard()); own != nil && own.Verdict == 0 && e.Verdict == ledger.VerdictSpent {\n		if err := answer"},
	}, Test: "TestOneTransactionInEveryOrder"},
	{Name: "one SPENT settles", Edits: []seeded.Edit{
		{File: rulesFile, From: "stage <= ledger.StageEscrow && r.Part.AllSpent()", To: "stage <= ledger.StageEscrow && rejection == nil"},
	}, Test: "TestOneTransactionInEveryOrder"},
	{Name: "escrow stays after a rejection", Edits: []seeded.Edit{
		{File: rulesFile, From: "	case stage == ledger.StageEscrow && rejection != nil:\n		err = s.ReturnEscrow(r, rejection.Reason)\n", To: ""},
	}, Test: "TestOneTransactionInEveryOrder"},
	{Name: "a CL returns escrow that is not there", Edits: []seeded.Edit{
		{File: rulesFile, From: "r == nil || r.Part.Stage != ledger.StageEscrow || s.Channels", To: "r == nil || s.Channels"},
	}, Test: "TestCancellationOfAnHonestShard|TestCancellationInEveryOrder"},
	{Name: "a CL after SPENT returns escrow", Edits: []seeded.Edit{
		{File: rulesFile, From: "k == nil || source == s.Shard() || k.Verdict != 0", To: "k == nil || source == s.Shard()"},
		{File: ledgerCLs, From: "k == nil || k.Verdict != 0 || shard == s.x.cfg.Shard", To: "k == nil || shard == s.x.cfg.Shard"},
	}, Test: "TestCancelledAndSpent"},
	{Name: "SPENT after a CL is not noticed", Edits: []seeded.Edit{
		{File: rulesFile, From: "e.Verdict == ledger.VerdictSpent && r != nil && r.Part.Of(source).Cancelled()", To: "false"},
	}, Test: "TestCancelledAndSpent"},
	{Name: "a CL of a shard that is no input", Edits: []seeded.Edit{
		{File: "cl.go", From: "	case !p.Inputs.Has(c.Source) || p.Inside(c.Source):", To: "	case p.Inside(c.Source):"},
	}, Test: "TestAForgedCLIsRefused"},
	{Name: "a CL is an entry in an output shard", Edits: []seeded.Edit{
		{File: "cl.go", From: "c.Source == shard || !c.Tx.Shards(n.Home).Inputs.Has(shard)", To: "c.Source == shard"},
	}, Test: "TestCLVerifies"},
	{Name: "f signers make a CL", Edits: []seeded.Edit{
		{File: statements, From: "c.SignatureChecks(&x.Certificate, c.WeakQuorum(), ", To: "c.SignatureChecks(&x.Certificate, c.F(), "},
	}, Test: "TestAForgedCLIsRefused"},
	{Name: "a signer counts twice", Edits: []seeded.Edit{
		{File: certificate, From: "if i <= last || i >= MaxReplicas {", To: "if i < last || i >= MaxReplicas {"},
	}, Test: "TestAForgedCLIsRefused"},
	{Name: "CL_M for an unknown input", Edits: []seeded.Edit{
		{File: ledgerCLs, From: "r != nil && r.Final() {", To: "r != nil {"},
	}, Test: "TestNeverSpendable|TestCancellationOfTwoTransactions"},
	{Name: "CL_M for a transaction with a record", Edits: []seeded.Edit{
		{File: ledgerCLs, From: "known || err != nil {", To: "known && err != nil {"},
	}, Test: "TestCancellationInEveryOrder|TestNeverSpendable"},
	{Name: "CL_M after the expiry", Edits: []seeded.Edit{
		{File: ledgerCLs, From: "h.TimeMS > tx.ExpiryMS {", To: "h.TimeMS > tx.ExpiryMS && false {"},
	}, Test: "TestNeverSpendable"},
	{Name: "a transaction is known by what its owners sign", Edits: []seeded.Edit{
		{File: known, From: "		to.Add(digest.Digest(tx.id))\n", To: "		to.Add(tx.SigningDigest())\n"},
		{File: known, From: "		d := digest.Digest(tx.id)\n", To: "		d := tx.SigningDigest()\n"},
	}, Test: "TestLDThatBreaksARuleIsEvidence"},
	{Name: "an LD makes its transactions known before it is verified", Edits: []seeded.Edit{
		{File: "ld.go", From: "	if scheme.VerifyAll(checks) {\n", To: "	known.AddFrom(l.Delivery.Source, txs...)\n	if scheme.VerifyAll(checks) {\n"},
	}, Test: "TestLDThatBreaksARuleIsEvidence"},
	{Name: "the certificate of an LD with known transactions is not verified", Edits: []seeded.Edit{
		{File: "ld.go", From: "known.AppendUnknown(checks, txs)", To: "known.AppendUnknown(nil, txs)"},
	}, Test: "TestTransactionsOfALDAreVerifiedOnce"},
}

// TestRuleMutants runs the tests of this package with one rule switched off at a time, if -settlement.mutants is given.
func TestRuleMutants(t *testing.T) {
	seeded.TestsFail(t, "shard/settlement", mutants, *runMutants)
}
