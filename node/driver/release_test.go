package driver

import (
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/certify"
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
	voted := []protocols.Send{{Message: &certify.VOTE{}}}
	var voteOnly, voteAndMore Action
	voteOnly.Sends, voteAndMore.Sends = voted, append(voted, sends.Sends...)
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
		{"a VOTE after records of an earlier action", []group{{records}, {voteOnly}}, 0},
		{"a VOTE and another message after records", []group{{records}, {voteAndMore}}, 1},
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

// TestVOTEsLeaveEarly: a VOTE leaves before the records of its step are written, and once. LDs of a header are published when
// it is certified, before the certificate is in the store. Other messages wait for the disk.
func TestVOTEsLeaveEarly(t *testing.T) {
	b := newBench(t)
	vote, other := &certify.VOTE{Height: 1}, &replica.Position{}
	var st replica.Step
	st.Broadcast(vote)
	st.Send(2, other)
	certificate := &certify.Certified{Height: 1}
	st.Emit(replica.Output{Certified: certificate})
	if c, err := b.d.Exchange().certificate(1); c != nil || err != nil {
		t.Fatalf("certificate %v, error %v, before there is one", c, err)
	}
	releaseEarly(b.d, &st)
	if len(b.host.sent) != 1 || b.host.sent[0].Message != protocols.Message(vote) || b.host.publishes != 1 {
		t.Errorf("sent %+v, %d calls of Publish, before the disk", b.host.sent, b.host.publishes)
	}
	if c, err := b.d.Exchange().certificate(1); c != certificate || err != nil {
		t.Errorf("certificate %v, error %v", c, err)
	}
	b.d.Send(&Action{Step: st})
	if len(b.host.sent) != 2 || b.host.sent[1].Message != protocols.Message(other) {
		t.Errorf("sent %+v after the disk", b.host.sent)
	}
	b.d.Exchange().certificates.put(&certify.Certified{Height: 1 + keptCertificates})
	if c, err := b.d.Exchange().certificate(1); c != nil || err != nil {
		t.Errorf("certificate %v, error %v, that is not kept and not in the store", c, err)
	}
}
