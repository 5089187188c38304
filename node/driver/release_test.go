package driver

import (
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
)

// TestWrites: the store is synced before an action leaves that may depend on records which are not durable, and only then.
func TestWrites(t *testing.T) {
	record := []protocols.Record{{Key: []byte("k"), Value: []byte("v")}}
	deletion := []protocols.Record{{Key: []byte("k")}}
	var silent, sends, records, both, deletes, own, delivers, certified Action
	records.Persist, both.Persist, deletes.Persist = record, record, deletion
	sends.Sends = []protocols.Send{{}}
	both.Sends, deletes.Sends = sends.Sends, sends.Sends
	own.Own = &OwnBatch{}
	delivers.Out = []replica.Output{{Deliver: &bdt.Delivery{}}}
	certified.Persist, certified.Out = record, []replica.Output{{}}
	var vote Action
	vote.Persist, vote.Sends = []protocols.Record{{Key: replica.CertificateKey(3), Value: []byte("v")}, {Key: []byte("h/t"), Value: []byte("v")}}, sends.Sends
	type group = []Action
	for _, x := range []struct {
		name   string
		groups []group
		syncs  int
	}{
		{"nothing to write", []group{{silent, sends}, {own, delivers}}, 0},
		{"deletions", []group{{deletes}, {sends}}, 0},
		{"a VOTE that completes a certificate", []group{{vote}, {sends}}, 0},
		{"records before a certificate", []group{{records, vote}}, 1},
		{"records alone", []group{{records, certified}, {records}}, 0},
		{"records with messages", []group{{both}, {both}}, 2},
		{"records of an earlier action", []group{{records, silent, sends}}, 1},
		{"records of an earlier group", []group{{records}, {silent}, {sends}, {sends}}, 1},
		{"messages before the records", []group{{sends, records}}, 0},
		{"accepted transactions", []group{{records}, {own}}, 1},
		{"a block to execute", []group{{records}, {delivers}}, 1},
	} {
		var w Writes
		syncs := 0
		for _, g := range x.groups {
			var b kv.Batch
			if w.Add(&b, g) {
				syncs++
			}
		}
		if syncs != x.syncs {
			t.Errorf("%s: %d syncs, want %d", x.name, syncs, x.syncs)
		}
	}
}
