package driver

import (
	"testing"

	"bdtnode/internal/kv"
	"bdtnode/node/clients"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
)

// TestWrites: the store is synced before an action leaves that may depend on records which are not durable, and only then.
func TestWrites(t *testing.T) {
	record := []protocols.Record{{Key: []byte("k"), Value: []byte("v")}}
	sending := func(messages ...protocols.Message) (a Action) {
		for _, m := range messages {
			a.Broadcast(m)
		}
		return a
	}
	with := func(records []protocols.Record, a Action) Action {
		a.Persist = records
		return a
	}
	emitting := func(o replica.Output) Action { return Action{Step: replica.Step{Out: []replica.Output{o}}} }
	certificate := []protocols.Record{{Key: replica.CertificateKey(3), Value: []byte("v")}, {Key: []byte("h/t"), Value: []byte("v")}}
	var silent Action
	records, vote, header := with(record, silent), sending(&bolt.Vote{}), sending(&certify.VOTE{})
	own, delivers, lost := Action{Own: &clients.OwnBatch{}}, emitting(replica.Output{Deliver: &bdt.Delivery{}}), emitting(replica.Output{Lost: &replica.Lost{}})
	type group = []Action
	for _, x := range []struct {
		name   string
		groups []group
		syncs  int
	}{
		{"nothing to write", []group{{silent, vote}, {own, delivers}}, 0},
		{"deletions", []group{{with([]protocols.Record{{Key: []byte("k")}}, vote)}, {vote}}, 0},
		{"a message with a certificate of a header", []group{{with(certificate, vote)}, {vote}}, 0},
		{"records before a certificate", []group{{records, with(certificate, vote)}}, 1},
		{"records alone", []group{{records, with(record, emitting(replica.Output{}))}, {records}}, 0},
		{"records with messages", []group{{with(record, vote)}, {with(record, vote)}}, 2},
		{"records of an earlier action", []group{{records, silent, vote}}, 1},
		{"records of an earlier group", []group{{records}, {silent}, {vote}, {vote}}, 1},
		{"messages before the records", []group{{vote, records}}, 0},
		{"accepted transactions", []group{{records}, {own}}, 1},
		{"a block to execute, and its VOTE", []group{{with(record, delivers)}, {header}}, 0},
		{"Pings and Pongs", []group{{records}, {sending(&replica.Ping{})}, {sending(&replica.Pong{}, &replica.Ping{})}}, 0},
		{"a vote after a block to execute and its VOTE", []group{{with(record, delivers)}, {header}, {vote}}, 1},
		{"another message with a VOTE", []group{{records}, {sending(&certify.VOTE{}, &replica.Position{})}}, 1},
		{"the end of all signing", []group{{with(record, lost)}}, 1},
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
