package sim

import (
	"strings"
	"testing"
)

// TestAdmissionMutants puts one bug at a time into admission. The stories must find each. Like TestMutants it compiles only
// with -sim.mutants.
func TestAdmissionMutants(t *testing.T) {
	if !*mutants {
		return
	}
	const (
		kept = "node/admission/kept.go"
		door = "node/admission/door.go"
		look = "node/admission/look.go"
		book = "node/admission/book.go"
	)
	for _, m := range []struct {
		name, story string
		edits       []edit
	}{
		{"the mark moves without the records of left-out transactions", "admission", []edit{
			{kept, "			records = append(records, protocols.Record{Key: keptKey(prefixTx, e.id()), Value: e.tx.Encode()})\n", ""},
		}},
		{"left-out transactions are not restored at a start", "admission", []edit{
			{kept, "	d.park(e, now)\n	return nil\n", "	d.drop(e)\n	return nil\n"},
		}},
		{"a left-out transaction is dropped", "admission", []edit{
			{"node/admission/executed.go", "	case e.state == inBatch:\n		d.park(e, now)\n", "	case e.state == inBatch:\n		d.drop(e)\n		return\n"},
		}},
		{"transactions with unknown inputs are batched", "admission", []edit{
			{door, "			links, processable = append(links, link{entry: e, on: in.Outpoint.Tx}), false\n			continue\n", "			links = append(links, link{entry: e, on: in.Outpoint.Tx})\n			continue\n"},
		}},
		{"expiry goes by the clock of the replica", "admission", []edit{
			{look, "max(h.TimeMS, min(now.WallMS, tx.ExpiryMS))", "max(h.TimeMS, now.WallMS)"},
		}},
		{"a full book evicts accepted transactions", "a small book", []edit{
			{book, "		d.queues.serve(e)\n		d.fees.remove(e)\n", "		d.queues.serve(e)\n"},
			{"node/admission/entry.go", "{ return (e.state == ready || e.state == behind) && !e.logged }", "{ return true }"},
		}},
	} {
		t.Run(m.name, func(t *testing.T) {
			out, err := runMutant(t, m.edits, "-run", "TestStory", "-sim.story", m.story, "-sim.seeds", "24")
			if err == nil {
				t.Fatalf("not found:\n%s", out)
			}
			if !strings.Contains(out, " violated at step ") {
				t.Fatalf("did not run: %v\n%s", err, out)
			}
			_, found, _ := strings.Cut(out, "stories_test.go:")
			t.Logf("found: %.160s", strings.TrimSpace(found))
		})
	}
}
