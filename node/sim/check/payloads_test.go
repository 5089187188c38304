package check

import (
	"testing"

	"bdtnode/ledger"
	"bdtnode/node/sim/observe"
)

// TestPayloads: a log has a payload as often as it was brought, one with an id once, those of a request in their order, and
// at the place with which a replica answers.
func TestPayloads(t *testing.T) {
	f := newFixture(t, 1)
	_, n := f.one()
	c := &f.payloads
	place := func(height uint64) ledger.LogPlace { return ledger.LogPlace{Height: height} }
	for _, payload := range []string{"1.1", "1.2", "1.3"} {
		f.Offered(payload, false)
	}
	c.payload(n[0], "1.1", place(1))
	c.payload(n[0], "1.3", place(2))
	c.payload(n[0], "of a Byzantine replica", place(3))
	f.Placed(n[0], "1.3", place(2))
	f.holds("payloads in their order")
	f.Placed(n[0], "1.3", place(1))
	f.violates("payloads", "another place than in the log")
	c.payload(n[0], "1.2", place(4))
	f.violates("payloads", "payloads of a request out of order")
	c.payload(n[0], "1.3", place(5))
	f.violates("payloads", "a payload twice")

	f = newFixture(t, 1)
	_, n = f.one()
	c = &f.payloads
	c.repeated(n[0], "id", place(1))
	f.violates("payloads", "an entry is left out for an id that the log never had")
	c.identified(n[0], "id", place(1))
	c.repeated(n[0], "id", place(2))
	f.holds("an entry is left out for an id that the log has")
	c.identified(n[0], "id", place(3))
	f.violates("payloads", "an id again")
	c.ids += observe.RememberedIDs
	c.repeated(n[0], "id", place(4))
	f.violates("payloads", "an entry is left out for a forgotten id")
	c.identified(n[0], "id", place(4))
	f.holds("a forgotten id again")

	f = newFixture(t, 1)
	_, n = f.one()
	c = &f.payloads
	f.Offered("1.1", false)
	f.Kept(n[0], "1.1")
	if c.lacking() == "" {
		t.Error("an accepted payload that the log lacks")
	}
	c.payload(n[0], "1.1", place(1))
	if lack := c.lacking(); lack != "" {
		t.Error(lack)
	}
}
