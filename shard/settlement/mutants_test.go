package settlement

import (
	"testing"

	"bdtnode/ledger"
)

// Each type has the rules of settlement with one rule weakened. The exploration must find a violated guarantee for
// each.

// rejectsFromBatch gives REJECTED to a transaction of a batch, although no other shard has sent a verdict on it.
type rejectsFromBatch struct{ Rules }

func (m rejectsFromBatch) Ordered(d *ledger.BlockState, tx *ledger.Tx) error {
	r, err := d.Record(tx.ID())
	if err != nil || r != nil {
		return err
	}
	refusal, _, err := d.CheckInputs(tx)
	if err != nil || refusal == nil {
		return m.Rules.Ordered(d, tx)
	}
	r = d.OpenRecord(tx)
	if err := giveVerdict(d, r, ledger.VerdictRejected, refusal.Reason); err != nil {
		return err
	}
	return resolve(d, r)
}

// forgetsEarly closes complete records although the transaction has not expired.
type forgetsEarly struct{ Rules }

func (m forgetsEarly) Ordered(d *ledger.BlockState, tx *ledger.Tx) error {
	return closing(d, tx, m.Rules.Ordered(d, tx))
}

func (m forgetsEarly) Delivered(d *ledger.BlockState, x *ledger.Delivery) error {
	err := m.Rules.Delivered(d, x)
	for i := range x.Entries {
		err = closing(d, x.Entries[i].Tx, err)
	}
	return err
}

func (forgetsEarly) VerdictSent(d *ledger.BlockState, r *ledger.Record) error {
	if r.Part.Complete() {
		d.CloseRecord(r)
	}
	return nil
}

func closing(d *ledger.BlockState, tx *ledger.Tx, err error) error {
	if r, _ := d.Record(tx.ID()); err == nil && r != nil && r.Part.Complete() && r.Part.Unsent == 0 {
		d.CloseRecord(r)
	}
	return err
}

// anyNumber applies a delivery with any number and any previous delivery, and does not check closed records.
type anyNumber struct{ Rules }

func (m anyNumber) Delivered(d *ledger.BlockState, x *ledger.Delivery) error {
	for i := range x.Entries {
		e := &x.Entries[i]
		r, err := d.Record(e.Tx.ID())
		switch {
		case err != nil:
			return err
		case r == nil:
			r = d.OpenRecord(e.Tx)
		case r.Part.Of(x.Source).Verdict != 0:
			continue
		}
		d.RecordVerdict(r, x.Source, e.Verdict, e.Reason)
		if own := r.Part.Of(d.Shard()); own != nil && own.Verdict == 0 {
			err = answer(d, r)
		}
		if err == nil {
			err = resolve(d, r)
		}
		if err != nil {
			return err
		}
	}
	if c := d.Channel(x.Source); x.Number == c.Applied+1 && x.Previous == c.AppliedDigest {
		d.ApplyDelivery(x)
	}
	return nil
}

// settlesAtOnce settles when the verdict of one other shard is SPENT.
type settlesAtOnce struct{ Rules }

func (m settlesAtOnce) Delivered(d *ledger.BlockState, x *ledger.Delivery) error {
	err := m.Rules.Delivered(d, x)
	for i := range x.Entries {
		r, _ := d.Record(x.Entries[i].Tx.ID())
		if err == nil && r != nil && r.Part.Stage <= ledger.StageEscrow && r.Part.Rejection() == nil {
			err = d.Settle(r)
		}
	}
	return err
}

// keepsEscrow never returns escrow.
type keepsEscrow struct{ Rules }

func (m keepsEscrow) Delivered(d *ledger.BlockState, x *ledger.Delivery) error {
	for i := range x.Entries {
		e := &x.Entries[i]
		if r, _ := d.Record(e.Tx.ID()); r != nil && r.Part.Of(x.Source).Verdict == 0 && r.Part.Stage == ledger.StageEscrow && e.Verdict == ledger.VerdictRejected {
			d.RecordVerdict(r, x.Source, e.Verdict, e.Reason)
		}
	}
	return m.Rules.Delivered(d, x)
}

// silent never gives a verdict upon a delivery: a delivery only closes records.
type silent struct{ Rules }

func (m silent) Delivered(d *ledger.BlockState, x *ledger.Delivery) error {
	for i := range x.Entries {
		e := &x.Entries[i]
		r, _ := d.Record(e.Tx.ID())
		if r == nil {
			r = d.OpenRecord(e.Tx)
		}
		d.RecordVerdict(r, x.Source, e.Verdict, e.Reason)
		if err := resolve(d, r); err != nil {
			return err
		}
	}
	d.ApplyDelivery(x)
	return nil
}

// neverForgets closes no record.
type neverForgets struct{ Rules }

func (neverForgets) Expired(*ledger.BlockState, *ledger.Record) error { return nil }

func (neverForgets) VerdictSent(*ledger.BlockState, *ledger.Record) error { return nil }

// TestWeakenedRulesAreFound explores weakened rules until a guarantee is violated. Old deliveries are replayed too.
func TestWeakenedRulesAreFound(t *testing.T) {
	s := Standard()
	two := masks{0b110, 0b001} // inputs in 1 and 2, output in 0
	three := masks{0b111, 0b1} // inputs everywhere
	for name, sc := range map[string]*scenario{
		"rejects from a batch": makeScenario(rejectsFromBatch{s}, "one", twoTimes, true, two),
		"forgets early":        makeScenario(forgetsEarly{s}, "dep", twoTimes, false, masks{0b001, 0b010}, masks{0b110, 0b001}),
		"applies any number":   replaying(makeScenario(anyNumber{s}, "one", twoTimes, true, two)),
		"settles at once":      makeScenario(settlesAtOnce{s}, "one", twoTimes, true, three),
		"does not roll back":   makeScenario(keepsEscrow{s}, "one", twoTimes, true, two),
		"does not answer":      makeScenario(silent{s}, "one", twoTimes, true, two),
		"never forgets":        makeScenario(neverForgets{s}, "one", twoTimes, false, two),
	} {
		t.Run(name, func(t *testing.T) {
			n, err := sc.explore(20_000)
			if err == nil {
				t.Fatalf("no violation found in %d states", n)
			}
			t.Logf("%d states: %v", n, err)
		})
	}
	t.Run("unchanged rules with replays", func(t *testing.T) {
		if n, err := replaying(makeScenario(s, "one", twoTimes, true, two)).explore(1 << 30); err != nil {
			t.Fatalf("%d states: %v", n, err)
		}
	})
}
