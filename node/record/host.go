package record

import (
	"fmt"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/driver"
	"bdtnode/node/intake"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/shard/settlement"
)

// host is the surroundings of a repeated driver. It sends nothing, and calls no part of the driver by itself: everything
// that follows from an action is an input of the recording.
type host struct{ *replay }

var _ driver.Host = host{}

// Clock is read by [driver.New] only.
func (h host) Clock() (protocols.Time, time.Duration) {
	return h.entry.at.Now, h.entry.at.Ahead
}

// Write makes the action's records readable at once, and keeps its blocks and its batch for later entries.
func (h host) Write(a driver.Action) {
	if err := h.do.Written(h.setup.Store, &a); err != nil {
		panic(h.differs("%v", err))
	}
	for i := range a.Out {
		if d := a.Out[i].Deliver; d != nil {
			h.deliveries = append(h.deliveries, d)
		}
	}
	if a.Own != nil {
		h.own[a.Own.Number] = a.Own
	}
}

func (h host) Send(protocols.To, protocols.Message) {}
func (h host) Execute(*bdt.Delivery)                {}
func (h host) Inbound(replica.Verified)             {}
func (h host) Wake()                                {}
func (h host) Attend()                              {}
func (h host) Serve()                               {}
func (h host) Publish()                             {}
func (h host) Verify()                              {}

func (h host) Misbehaved(f protocols.Fault) { h.emit(Event{What: "fault", Text: f.String()}) }

func (h host) RunsTwice(*replica.Twin) {}

func (h host) BrokeRules(e *settlement.Evidence) {
	h.emit(Event{What: "evidence", Text: fmt.Sprintf("shard %d broke the rules: %v", e.Source(), e)})
}

func (h host) Frozen(f *ledger.Freeze, height uint64) {
	h.emit(Event{What: "frozen", Text: fmt.Sprintf("block %d freezes the channel of shard %d: %s", height, f.Source, f.Why)})
}

func (h host) OverBudget(protocols.Index, intake.Exceeding) {}
