package ledger

import (
	"fmt"
	"strings"
	"testing"

	"bdtnode/internal/kv"
)

// ruleFunc implements Rules by a function for transactions of batches; all other methods do nothing.
type ruleFunc func(d *BlockState, tx *Tx) error

func (f ruleFunc) Ordered(d *BlockState, tx *Tx) error  { return f(d, tx) }
func (ruleFunc) Delivered(*BlockState, *Delivery) error { return nil }
func (ruleFunc) Expired(d *BlockState, r *Record) error { return nil }
func (ruleFunc) VerdictSent(*BlockState, *Record) error { return nil }
func (ruleFunc) EndBlock(*BlockState) error             { return nil }
func spend(d *BlockState, tx *Tx) *Record {
	if r, _, err := d.CheckInputs(tx); r != nil || err != nil {
		panic(fmt.Sprint("CheckInputs: ", r, err))
	}
	x := d.OpenRecord(tx)
	if err := d.Spend(x); err != nil {
		panic(err)
	}
	return x
}

// TestMisusePanics uses rules that misuse the BlockState: the call panics, and nothing is written to the store.
func TestMisusePanics(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(d *BlockState, tx *Tx)
		why string
	}{
		"spending without CheckInputs": {func(d *BlockState, tx *Tx) { _ = d.Spend(d.OpenRecord(tx)) }, "its inputs were not checked"},
		"spending twice":               {func(d *BlockState, tx *Tx) { _ = d.Spend(spend(d, tx)) }, "from escrow to escrow"},
		"settling twice":               {func(d *BlockState, tx *Tx) { x := spend(d, tx); _ = d.Settle(x); _ = d.Settle(x) }, "from settled to settled"},
		"returning after settling": {func(d *BlockState, tx *Tx) {
			x := spend(d, tx)
			_ = d.Settle(x)
			_ = d.ReturnEscrow(x, ReasonElsewhere)
		}, "from settled to returned"},
		"settling after returning": {func(d *BlockState, tx *Tx) {
			x := spend(d, tx)
			_ = d.ReturnEscrow(x, ReasonElsewhere)
			_ = d.Settle(x)
		}, "from returned to settled"},
		"returning twice": {func(d *BlockState, tx *Tx) {
			x := spend(d, tx)
			_ = d.ReturnEscrow(x, ReasonElsewhere)
			_ = d.ReturnEscrow(x, ReasonElsewhere)
		}, "from returned to returned"},
		"rejecting after spending": {func(d *BlockState, tx *Tx) { d.Reject(spend(d, tx), ReasonElsewhere) }, "from escrow to rejected"},
		"two records":              {func(d *BlockState, tx *Tx) { d.OpenRecord(tx); d.OpenRecord(tx) }, "a second record"},
		"two verdicts": {func(d *BlockState, tx *Tx) {
			x := d.OpenRecord(tx)
			d.RecordVerdict(x, 0, VerdictSpent, ReasonNone)
			d.RecordVerdict(x, 0, VerdictRejected, ReasonConsumed)
		}, "a second verdict"},
		"a verdict of a shard that is no input shard": {func(d *BlockState, tx *Tx) { d.RecordVerdict(d.OpenRecord(tx), 1, VerdictSpent, ReasonNone) }, "a second verdict of shard 1"},
		"changing a closed record":                    {func(d *BlockState, tx *Tx) { x := d.OpenRecord(tx); d.CloseRecord(x); d.CloseRecord(x) }, "is not open"},
		"sending without a verdict":                   {func(d *BlockState, tx *Tx) { d.SendVerdict(d.OpenRecord(tx)) }, "has no verdict of this shard"},
		"closing before the verdict is sent": {func(d *BlockState, tx *Tx) {
			x := d.OpenRecord(tx)
			d.RecordVerdict(x, 0, VerdictSpent, ReasonNone)
			d.SendVerdict(x)
			d.CloseRecord(x)
		}, "before its verdict is sent"},
		"skipping a delivery": {func(d *BlockState, tx *Tx) { d.ApplyDelivery(NewDelivery(Delivery{Source: 1, Number: 2})) }, "does not follow"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(2, 1, 100)
			config.Home = func(a Address) uint16 {
				if a == addressOf(1) {
					return 1
				}
				return 0
			}
			config.Rules = ruleFunc(func(d *BlockState, tx *Tx) error { c.do(d, tx); return nil })
			store := kv.NewMem()
			s := open(t, store, config)
			tx := pay(t, 0, 100, []Outpoint{genesisOut(0, 0)}, 1, Output{addressOf(1), 99})
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), c.why) {
					t.Errorf("%v, want a panic about %q", p, c.why)
				}
				if again := open(t, store, config); again.Height() != 0 {
					t.Error("the block was written to the store")
				}
			}()
			run(t, s, genesisTime, tx)
		})
	}
}

func TestDeliveryWithoutRulesIsAnError(t *testing.T) {
	s := open(t, kv.NewMem(), testConfig(1, 1, 100))
	_, err := s.Execute(CommittedBlock{Height: 1, TimeMS: genesisTime, Deliveries: []*Delivery{NewDelivery(Delivery{Source: 1, Number: 1})}})
	if err == nil || !strings.Contains(err.Error(), "has no rules") || s.Height() != 0 {
		t.Errorf("%v", err)
	}
}
