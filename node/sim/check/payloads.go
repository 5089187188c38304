package check

import (
	"fmt"

	"bdtnode/ledger"
	"bdtnode/node/sim/observe"
)

// payloads: a log has each payload as often as clients brought it, at most; a payload with an id once, while the log
// remembers the id; an accepted payload at least once; the payloads of one request in their order; and each at the place with
// which its replica answered. Headers are equal on all honest replicas ([agreement]) and cover all payloads, so each block
// is examined once.
type payloads struct {
	w       *Network
	height  uint64 // examined
	offered map[string]int
	once    map[string]bool // has an id
	kept    map[string]map[observe.Replica]int
	places  map[string][]ledger.LogPlace
	ids     int            // payloads with an id, in the log
	at      map[string]int // number of the newest payload with an id among them, from 1
	last    map[int]int    // position in its request of the last payload, by request
}

func newPayloads(w *Network) payloads {
	return payloads{
		w: w, offered: make(map[string]int), once: make(map[string]bool), kept: make(map[string]map[observe.Replica]int),
		places: make(map[string][]ledger.LogPlace), last: make(map[int]int), at: make(map[string]int),
	}
}

// Offered records that clients brought a payload to a replica.
func (w *Network) Offered(payload string, identified bool) {
	w.payloads.offered[payload]++
	w.payloads.once[payload] = identified
}

// Kept records that a replica accepted a payload.
func (w *Network) Kept(n observe.Replica, payload string) {
	c := &w.payloads
	if c.kept[payload] == nil {
		c.kept[payload] = make(map[observe.Replica]int)
	}
	c.kept[payload][n]++
}

// Placed records that a replica answered with the place of a payload.
func (w *Network) Placed(n observe.Replica, payload string, at ledger.LogPlace) {
	for _, have := range w.payloads.places[payload] {
		if have == at {
			return
		}
	}
	w.of(n).Fail("payloads", "replica %d answers that payload %s is at %v, the log has it at %v", n.ID(), payload, at, w.payloads.places[payload])
}

// executed is called when an honest replica has executed a block.
func (c *payloads) executed(n observe.Replica, in *ledger.CommittedBlock, b *ledger.Block) {
	if b.Header.Height != c.height+1 {
		return
	}
	c.height++
	for i := range b.Log {
		repeated := b.Log[i].Repeated
		for position, e := range in.Payloads[i].Opaque.Each() {
			at := ledger.LogPlace{Height: b.Header.Height, Batch: uint32(i), Position: uint32(position)}
			if len(repeated) > 0 && repeated[0].Position == at.Position {
				repeated = repeated[1:]
				c.repeated(n, string(e.ID), at)
				continue
			}
			c.payload(n, string(e.Payload), at)
			if e.ID != nil {
				c.identified(n, string(e.ID), at)
			}
		}
	}
}

func (c *payloads) payload(n observe.Replica, payload string, at ledger.LogPlace) {
	s := c.w.of(n)
	c.places[payload] = append(c.places[payload], at)
	switch times, offered := len(c.places[payload]), c.offered[payload]; {
	case offered == 0:
		return // of a Byzantine replica
	case times > offered:
		s.Fail("payloads", "the log has payload %s %d times, and it was brought %d times", payload, times, offered)
	}
	var request, index int
	if _, err := fmt.Sscanf(payload, "%d.%d", &request, &index); err != nil || c.once[payload] {
		return
	}
	if index < c.last[request] {
		s.Fail("payloads", "payload %s comes after number %d of its request", payload, c.last[request])
	}
	c.last[request] = index
}

// identified: the log has a payload again only if it has forgotten the id, after RememberedIDs others.
func (c *payloads) identified(n observe.Replica, id string, at ledger.LogPlace) {
	if before := c.at[id]; before > 0 && c.ids-before < observe.RememberedIDs {
		c.w.of(n).Fail("payloads", "the log has id %s again at %v, after %d other ids", id, at, c.ids-before)
	}
	c.ids++
	c.at[id] = c.ids
}

// repeated: an entry is left out only if the log remembers its id.
func (c *payloads) repeated(n observe.Replica, id string, at ledger.LogPlace) {
	if before := c.at[id]; before == 0 || c.ids-before >= observe.RememberedIDs {
		c.w.of(n).Fail("payloads", "entry %v is left out for id %s, which the log has forgotten or never had", at, id)
	}
}

// lacking describes an accepted payload that the log does not have, empty if there is none. A replica that is down for good may
// take its batches with it.
func (c *payloads) lacking() string {
	for payload, by := range c.kept {
		want := 0
		for n, times := range by {
			if n.Honest() && !n.Dead() && !n.Replaced() {
				want += times
			}
		}
		if c.once[payload] {
			want = min(want, 1)
		}
		if have := len(c.places[payload]); have < want {
			return fmt.Sprintf("payload %s was accepted %d times, and the log has it %d times", payload, want, have)
		}
	}
	return ""
}
