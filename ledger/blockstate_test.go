package ledger

import (
	"fmt"
	"strings"
	"testing"

	"bdtnode/internal/kv"
)

// ruleFunc implements Rules by a function for transactions of batches; all other methods do nothing.
type ruleFunc func(s *BlockState, tx *Tx) error

func (f ruleFunc) Ordered(s *BlockState, tx *Tx) error  { return f(s, tx) }
func (ruleFunc) Delivered(*BlockState, *Delivery) error { return nil }
func (ruleFunc) Busy(Channel) string                    { return "" }
func (ruleFunc) Expired(s *BlockState, r *Record) error { return nil }
func (ruleFunc) VerdictSent(*BlockState, *Record) error { return nil }
func (ruleFunc) EndBlock(*BlockState) error             { return nil }
func spend(s *BlockState, tx *Tx) *Record {
	if r, _, err := s.CheckInputs(tx); r != nil || err != nil {
		panic(fmt.Sprint("CheckInputs: ", r, err))
	}
	x := s.Records.Open(tx)
	if err := s.Spend(x); err != nil {
		panic(err)
	}
	return x
}

// TestMisusePanics uses rules that misuse the BlockState: the call panics, and nothing is written to the store.
func TestMisusePanics(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(s *BlockState, tx *Tx)
		why string
	}{
		"spending without CheckInputs": {func(s *BlockState, tx *Tx) { _ = s.Spend(s.Records.Open(tx)) }, "its inputs were not checked"},
		"spending twice":               {func(s *BlockState, tx *Tx) { _ = s.Spend(spend(s, tx)) }, "from escrow to escrow"},
		"settling twice":               {func(s *BlockState, tx *Tx) { x := spend(s, tx); _ = s.Settle(x); _ = s.Settle(x) }, "from settled to settled"},
		"returning after settling": {func(s *BlockState, tx *Tx) {
			x := spend(s, tx)
			_ = s.Settle(x)
			_ = s.ReturnEscrow(x, ReasonElsewhere)
		}, "from settled to returned"},
		"settling after returning": {func(s *BlockState, tx *Tx) {
			x := spend(s, tx)
			_ = s.ReturnEscrow(x, ReasonElsewhere)
			_ = s.Settle(x)
		}, "from returned to settled"},
		"returning twice": {func(s *BlockState, tx *Tx) {
			x := spend(s, tx)
			_ = s.ReturnEscrow(x, ReasonElsewhere)
			_ = s.ReturnEscrow(x, ReasonElsewhere)
		}, "from returned to returned"},
		"rejecting after spending": {func(s *BlockState, tx *Tx) { s.Reject(spend(s, tx), ReasonElsewhere) }, "from escrow to rejected"},
		"two records":              {func(s *BlockState, tx *Tx) { s.Records.Open(tx); s.Records.Open(tx) }, "a second record"},
		"two verdicts": {func(s *BlockState, tx *Tx) {
			x := s.Records.Open(tx)
			s.Records.SetVerdict(x, 0, VerdictSpent, ReasonNone)
			s.Records.SetVerdict(x, 0, VerdictRejected, ReasonConsumed)
		}, "a second verdict"},
		"a verdict of a shard that is no input shard": {func(s *BlockState, tx *Tx) { s.Records.SetVerdict(s.Records.Open(tx), 1, VerdictSpent, ReasonNone) }, "a second verdict of shard 1"},
		"changing a closed record":                    {func(s *BlockState, tx *Tx) { x := s.Records.Open(tx); s.Records.Close(x); s.Records.Close(x) }, "is not open"},
		"sending without a verdict":                   {func(s *BlockState, tx *Tx) { s.Outbox.SendVerdict(s.Records.Open(tx)) }, "has no verdict of this shard"},
		"closing before the verdict is sent": {func(s *BlockState, tx *Tx) {
			x := s.Records.Open(tx)
			s.Records.SetVerdict(x, 0, VerdictSpent, ReasonNone)
			s.Outbox.SendVerdict(x)
			s.Records.Close(x)
		}, "before its verdict is sent"},
		"skipping a delivery": {func(s *BlockState, tx *Tx) { s.Channels.Apply(NewDelivery(Delivery{Source: 1, Number: 2})) }, "does not follow"},
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(2, 1, 100)
			config.Home = func(a Address) uint16 {
				if a == addressOf(1) {
					return 1
				}
				return 0
			}
			config.Rules = ruleFunc(func(s *BlockState, tx *Tx) error { c.do(s, tx); return nil })
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
