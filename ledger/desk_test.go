package ledger

import (
	"fmt"
	"strings"
	"testing"

	"bdtnode/internal/kv"
)

// ruleFunc implements Rules by a function for transactions of batches; all other methods do nothing.
type ruleFunc func(d *Desk, tx *Tx) error

func (f ruleFunc) Ordered(d *Desk, tx *Tx) error  { return f(d, tx) }
func (ruleFunc) Delivered(*Desk, *Delivery) error { return nil }
func (ruleFunc) Expired(d *Desk, r *Record) error { return nil }
func (ruleFunc) Told(*Desk, *Record) error        { return nil }
func (ruleFunc) Ending(*Desk) error               { return nil }
func spend(d *Desk, tx *Tx) *Record {
	if r, _, err := d.Judge(tx); r != nil || err != nil {
		panic(fmt.Sprint("Judge: ", r, err))
	}
	x := d.Open(tx)
	if err := d.Spend(x); err != nil {
		panic(err)
	}
	return x
}

// TestDeskMisusePanics uses rules that misuse the Desk: the call panics, and nothing is written to the store.
func TestDeskMisusePanics(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(d *Desk, tx *Tx)
		why string
	}{
		"spending without Judge":   {func(d *Desk, tx *Tx) { _ = d.Spend(d.Open(tx)) }, "its inputs were not checked"},
		"spending twice":           {func(d *Desk, tx *Tx) { _ = d.Spend(spend(d, tx)) }, "from escrow to escrow"},
		"settling twice":           {func(d *Desk, tx *Tx) { x := spend(d, tx); _ = d.Settle(x); _ = d.Settle(x) }, "from settled to settled"},
		"returning after settling": {func(d *Desk, tx *Tx) { x := spend(d, tx); _ = d.Settle(x); _ = d.Return(x, ReasonElsewhere) }, "from settled to returned"},
		"settling after returning": {func(d *Desk, tx *Tx) { x := spend(d, tx); _ = d.Return(x, ReasonElsewhere); _ = d.Settle(x) }, "from returned to settled"},
		"returning twice": {func(d *Desk, tx *Tx) {
			x := spend(d, tx)
			_ = d.Return(x, ReasonElsewhere)
			_ = d.Return(x, ReasonElsewhere)
		}, "from returned to returned"},
		"rejecting after spending": {func(d *Desk, tx *Tx) { d.Reject(spend(d, tx), ReasonElsewhere) }, "from escrow to rejected"},
		"two records":              {func(d *Desk, tx *Tx) { d.Open(tx); d.Open(tx) }, "a second record"},
		"two verdicts": {func(d *Desk, tx *Tx) {
			x := d.Open(tx)
			d.Note(x, 0, VerdictSpent, ReasonNone)
			d.Note(x, 0, VerdictRejected, ReasonConsumed)
		}, "a second verdict"},
		"a verdict of a shard that is no input shard": {func(d *Desk, tx *Tx) { d.Note(d.Open(tx), 1, VerdictSpent, ReasonNone) }, "a second verdict of shard 1"},
		"changing a closed record":                    {func(d *Desk, tx *Tx) { x := d.Open(tx); d.Close(x); d.Close(x) }, "is not open"},
		"sending without a verdict":                   {func(d *Desk, tx *Tx) { d.Tell(d.Open(tx)) }, "has no verdict of this shard"},
		"closing before the verdict is sent": {func(d *Desk, tx *Tx) {
			x := d.Open(tx)
			d.Note(x, 0, VerdictSpent, ReasonNone)
			d.Tell(x)
			d.Close(x)
		}, "before its verdict is sent"},
		"skipping a delivery": {func(d *Desk, tx *Tx) { d.Apply(NewDelivery(Delivery{Source: 1, Number: 2})) }, "does not follow"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(2, 1, 100)
			config.Home = func(a Address) uint16 {
				if a == addressOf(1) {
					return 1
				}
				return 0
			}
			config.Rules = ruleFunc(func(d *Desk, tx *Tx) error { c.do(d, tx); return nil })
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
	_, err := s.Execute(Ordered{Height: 1, TimeMS: genesisTime, Deliveries: []*Delivery{NewDelivery(Delivery{Source: 1, Number: 1})}})
	if err == nil || !strings.Contains(err.Error(), "has no rules") || s.Height() != 0 {
		t.Errorf("%v", err)
	}
}
