package replica

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/lanes"
	"bdtnode/protocols/mvba"
)

// begin starts a replica with a store as the process does: its record is on disk before the core is made.
func (b *bench) begin(t *testing.T, self protocols.Index, store *kv.Mem, o Origin) (*Begun, error) {
	t.Helper()
	var failed error
	x, err := Begin(b.c, self, Stored(store, &failed), o)
	if failed != nil {
		t.Fatal(failed)
	}
	if err == nil {
		b.persist(t, store, []protocols.Record{x.Record()})
	}
	return x, err
}

func (b *bench) persist(t *testing.T, store *kv.Mem, records []protocols.Record) {
	t.Helper()
	var batch kv.Batch
	Apply(&batch, records)
	if err := store.Apply(&batch, true); err != nil {
		t.Fatal(err)
	}
}

// asking is a core at a start, with the Hello that it sends to a peer.
func (b *bench) asking(t *testing.T, self protocols.Index, store *kv.Mem, o Origin) (*Core, *Hello) {
	t.Helper()
	x, err := b.begin(t, self, store, o)
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.config(self)
	cfg.Begun = x
	core, err := Restore(cfg, state(nil), store)
	if err != nil {
		t.Fatal(err)
	}
	if st := core.Start(t0); len(st.Sends)+len(st.Persist) != 0 {
		t.Error("does something before anybody has answered")
	}
	h := sent[*Hello](core.Connected((self + 1) % 4).Sends)
	if len(h) != 1 {
		t.Fatalf("%d Hellos", len(h))
	}
	return core, h[0]
}

func lostOf(st Step) *Lost {
	for _, o := range st.Out {
		if o.Lost != nil {
			return o.Lost
		}
	}
	return nil
}

// TestBegin: whether a start is allowed, by store, file and record.
func TestBegin(t *testing.T) {
	b := newBench(t, 4, 0, "")
	store := kv.NewMem()
	var lost *Lost
	if _, err := b.begin(t, 1, kv.NewMem(), Origin{Nonce: 1}); !errors.As(err, &lost) {
		t.Errorf("an empty store of a replica that ran before: %v", err)
	}
	home := Anchor{Inode: 7, BornNS: 8}
	first, err := b.begin(t, 1, store, Origin{Born: true, Nonce: 1, Anchor: home})
	if err != nil || !first.First || first.Boot != 1 {
		t.Fatalf("first start: %+v, %v", first, err)
	}
	second, err := b.begin(t, 1, store, Origin{Born: true, Nonce: 2, Anchor: home}) // crashed before the file was removed
	if err != nil || second.First || second.Boot != 2 || second.Nonce != 2 || second.Moved {
		t.Errorf("second start: %+v, %v", second, err)
	}
	if x, err := b.begin(t, 1, store.Fork(), Origin{Nonce: 3, Anchor: Anchor{Inode: 9, BornNS: 8}}); err != nil || !x.Moved || x.Boot != 3 {
		t.Errorf("a copy: %+v, %v", x, err)
	}
	if x, err := b.begin(t, 1, store.Fork(), Origin{Nonce: 3}); err != nil || x.Moved {
		t.Errorf("without an anchor: %+v, %v", x, err)
	}
	if _, err := b.begin(t, 2, store, Origin{Nonce: 3}); err == nil || errors.As(err, &lost) || !strings.Contains(err.Error(), "replica 1 of shard 0") {
		t.Errorf("another replica's store: %v", err)
	}
	old := kv.NewMem()
	b.persist(t, old, []protocols.Record{{Key: []byte("h/t"), Value: []byte("x")}})
	if _, err := b.begin(t, 1, old, Origin{Born: true}); err == nil || errors.As(err, &lost) {
		t.Errorf("a store without a record: %v", err)
	}
}

// TestNothingBeforeAnswers: the replica signs and requests nothing before 2f peers have answered this start. Answers to
// another start, about another replica or repeated by one peer do not count. After the last one it asks for all
// messages again.
func TestNothingBeforeAnswers(t *testing.T) {
	b := newBench(t, 4, 2, "")
	core, h := b.asking(t, 1, kv.NewMem(), Origin{Born: true, Nonce: 5})
	if ok, _ := core.WantsBatch(t0, 1000); ok {
		t.Error("wants a batch")
	}
	for _, m := range []protocols.Message{b.vote(2, 1), b.vote(3, 1), &Request{From: 1}} {
		if st := core.Handle(t0, unverified(2, m)); len(st.Sends)+len(st.Reads)+len(st.Persist)+len(st.Out) != 0 {
			t.Errorf("%T: %+v", m, st)
		}
	}
	good := &Known{Member: 1, To: h.Nonce}
	for _, x := range []struct {
		from protocols.Index
		m    *Known
	}{{2, good}, {2, good}, {3, &Known{Member: 1, To: 99}}, {3, &Known{Member: 0, To: h.Nonce}}} {
		core.Handle(t0, unverified(x.from, x.m))
		if s := core.Standing(); s.Running || s.Answered != 1 || s.Needed != 2 {
			t.Fatalf("after %+v of %d: %+v", x.m, x.from, s)
		}
	}
	if a := sent[*Known](core.Handle(t0, unverified(3, &Hello{Boot: 1, Nonce: 8})).Sends); len(a) != 1 || a[0].Member != 3 || a[0].To != 8 {
		t.Errorf("who waits answers others: %+v", a)
	}
	st := core.Handle(t0, unverified(3, good))
	if !core.Standing().Running || len(st.Sends) == 0 {
		t.Fatal("does not start with the last answer")
	}
	if p := sent[*Position](st.Sends); len(p) != 1 || !p[0].Again {
		t.Errorf("asks for everything again: %+v", p)
	}
	if ok, _ := core.WantsBatch(t0, 1000); !ok {
		t.Error("wants no batch")
	}
}

// TestOwnSignaturesThatAreLacking: one peer's answer, or any later message, with an own signature that the store lacks
// ends the replica, on record. A signature that the store has, or may have deleted, does not.
func TestOwnSignaturesThatAreLacking(t *testing.T) {
	b := newBench(t, 4, 2, "")
	me := b.scheme.Signer(1)
	batch := lanes.NewBatch(b.c, me, lanes.Header{Lane: 1, Seq: 1, Count: 1}, []byte("payload"))
	vote := &bolt.Vote{Epoch: 1, Slot: 1, Digest: b.blocks[0].Digest()}
	claim := &bdt.SignedClaim{Replica: 1, Claim: bdt.Claim{Epoch: 1, Cut: make(lanes.Cut, 4), Inbound: make(lanes.Cut, 1)}}
	cert := func(signers ...protocols.Index) *lanes.TipCertificate {
		x := &lanes.TipCertificate{Lane: 2, Tip: batch.Tip()}
		for _, i := range signers {
			x.Certificate.Signers.Add(i)
		}
		return x
	}
	agreement := func(epoch uint64) mvba.At { return mvba.At{Instance: mvba.Instance{Epoch: epoch, Kind: 1}, Round: 1} }
	for _, x := range []struct {
		name string
		m    func(to uint64) protocols.Message
		lost bool
	}{
		{"nothing known", func(to uint64) protocols.Message { return &Known{Member: 1, To: to} }, false},
		{"a header", func(to uint64) protocols.Message {
			return &Known{Member: 1, To: to, Header: &lanes.Conflict{SignedHeader: batch.SignedHeader}}
		}, true},
		{"a vote", func(to uint64) protocols.Message { return &Known{Member: 1, To: to, Vote: vote} }, true},
		{"a Status", func(to uint64) protocols.Message { return &Known{Member: 1, To: to, Status: claim} }, true},
		{"a Status of an epoch that ended", func(to uint64) protocols.Message {
			return &Known{Member: 1, To: to, Status: &bdt.SignedClaim{Replica: 1}}
		}, false},
		{"a vote in an answer to another start", func(uint64) protocols.Message { return &Known{Member: 1, To: 99, Vote: vote} }, true},
		{"an answer about another replica", func(to uint64) protocols.Message { return &Known{Member: 3, To: to, Vote: vote} }, false},
		{"an own batch", func(uint64) protocols.Message { return batch }, true},
		{"a certificate with an own acknowledgement", func(uint64) protocols.Message { return cert(0, 1, 2) }, true},
		{"a certificate of others", func(uint64) protocols.Message { return cert(0, 2, 3) }, false},
		{"a proposal with such a certificate", func(uint64) protocols.Message {
			return &bolt.Propose{Block: b.blocks[0], Certificates: []*lanes.TipCertificate{cert(1, 2, 3)}}
		}, true},
		{"a proposal of its own", func(uint64) protocols.Message { return &bolt.Propose{Leader: 1, Block: b.blocks[0]} }, true},
		{"a proposal of another", func(uint64) protocols.Message { return &bolt.Propose{Leader: 0, Block: b.blocks[0]} }, false},
		{"a known proposal", func(to uint64) protocols.Message {
			return &Known{Member: 1, To: to, Proposal: (&bolt.Propose{Leader: 1, Block: b.blocks[0]}).Signed()}
		}, true},
		{"a first-phase proof with its echo", func(uint64) protocols.Message {
			return &mvba.Lock{At: agreement(1), Digest: batch.Digest(), Echoes: cert(0, 1, 2).Certificate}
		}, true},
		{"a first-phase proof of others", func(uint64) protocols.Message {
			return &mvba.Lock{At: agreement(1), Digest: batch.Digest(), Echoes: cert(0, 2, 3).Certificate}
		}, false},
		{"such a proof of an epoch that ended", func(uint64) protocols.Message {
			return &mvba.Lock{At: agreement(0), Digest: batch.Digest(), Echoes: cert(0, 1, 2).Certificate}
		}, false},
		{"a second-phase proof with its accept", func(uint64) protocols.Message {
			return &mvba.Finish{At: agreement(2), Digest: batch.Digest(), Accepts: cert(0, 1, 2).Certificate}
		}, true},
		{"a coin with its share", func(uint64) protocols.Message {
			return &coin.Relay{Name: coin.Name{Epoch: 1, Kind: 1, Round: 1}, Shares: coin.Shares{Holders: cert(1, 2).Certificate.Signers}}
		}, true},
		{"a known echo", func(to uint64) protocols.Message {
			return &Known{Member: 1, To: to, Agreement: &mvba.Signed{At: agreement(1), Phase: mvba.PhaseEcho, Digest: batch.Digest()}}
		}, true},
		{"a known echo of an epoch that ended", func(to uint64) protocols.Message {
			return &Known{Member: 1, To: to, Agreement: &mvba.Signed{At: agreement(0), Phase: mvba.PhaseEcho, Digest: batch.Digest()}}
		}, false},
	} {
		for _, running := range []bool{false, true} {
			store := kv.NewMem()
			core, h := b.asking(t, 1, store, Origin{Born: true, Nonce: 5})
			if running {
				core.Handle(t0, unverified(2, &Known{Member: 1, To: h.Nonce}))
				core.Handle(t0, unverified(3, &Known{Member: 1, To: h.Nonce}))
			}
			st := core.Handle(t0, unverified(2, x.m(h.Nonce)))
			if got := lostOf(st) != nil; got != x.lost {
				t.Errorf("%s, running %v: lost %v", x.name, running, got)
			}
			if !x.lost {
				continue
			}
			if ok, _ := core.WantsBatch(t0, 1000); ok || core.Standing().Running {
				t.Errorf("%s: still signs", x.name)
			}
			b.persist(t, store, st.Persist)
			var lost *Lost
			if _, err := b.begin(t, 1, store, Origin{Nonce: 6}); !errors.As(err, &lost) {
				t.Errorf("%s: the next start: %v", x.name, err)
			}
		}
	}
}

// TestLaterStarts: f+1 peers that know a later start end a replica, and so do f+1 that know any at a first start.
func TestLaterStarts(t *testing.T) {
	b := newBench(t, 4, 0, "")
	for _, x := range []struct {
		name  string
		boots int // starts before this one
		known Known
		lost  bool
	}{
		{"none is known", 0, Known{}, false},
		{"this start, after a reconnect", 0, Known{Boot: 1, Nonce: 5}, false},
		{"another first start", 0, Known{Boot: 1, Nonce: 4}, true},
		{"an earlier start", 2, Known{Boot: 2, Nonce: 4}, false},
		{"a later start", 2, Known{Boot: 4, Nonce: 4}, true},
	} {
		store := kv.NewMem()
		for k := range x.boots {
			if _, err := b.begin(t, 1, store, Origin{Born: k == 0, Nonce: uint64(100 + k)}); err != nil {
				t.Fatal(err)
			}
		}
		core, h := b.asking(t, 1, store, Origin{Born: x.boots == 0, Nonce: 5})
		m := x.known
		m.Member, m.To = 1, h.Nonce
		if lostOf(core.Handle(t0, unverified(2, &m))) != nil {
			t.Errorf("%s: one peer's word counts", x.name)
		}
		core.Handle(t0, unverified(2, &m))
		if got := lostOf(core.Handle(t0, unverified(3, &m))) != nil; got != x.lost || core.Standing().Running == x.lost {
			t.Errorf("%s: lost %v, running %v", x.name, got, core.Standing().Running)
		}
	}
}

// TestSecondProcess: peers accept the process of the later start, or the first process of one start, send Fenced to the
// other and report it. f+1 such messages end the other. The accepted process ignores them.
func TestSecondProcess(t *testing.T) {
	b := newBench(t, 4, 0, "")
	original := kv.NewMem()
	a, hello := b.asking(t, 1, original, Origin{Born: true, Nonce: 5})
	copied := original.Fork()
	second, later := b.asking(t, 1, copied, Origin{Nonce: 6})
	var fenced []*Fenced
	for _, i := range []protocols.Index{2, 3} {
		peer := b.restore(t, i, nil, kv.NewMem())
		for _, h := range []*Hello{hello, hello, later} { // a process connects again, then the other comes
			if st := peer.Handle(t0, unverified(1, h)); len(sent[*Fenced](st.Sends)) != 0 || len(sent[*Known](st.Sends)) != 1 {
				t.Errorf("peer %d fences start %d", i, h.Boot)
			}
		}
		st := peer.Handle(t0, unverified(1, hello))
		f := sent[*Fenced](st.Sends)
		if len(f) != 1 || f[0].Boot != 2 || f[0].Nonce != 6 || len(st.Out) != 1 || st.Out[0].Twin == nil {
			t.Fatalf("peer %d does not fence the earlier start: %+v", i, st)
		}
		if again := peer.Handle(t0, unverified(1, hello)); len(again.Out) != 0 || len(sent[*Fenced](again.Sends)) != 1 {
			t.Errorf("peer %d tells of it again at once", i)
		}
		if s := peer.Standing(); len(s.Twins) != 1 || s.Twins[0].Replica != 1 || s.Twins[0].Boot != 1 || s.Twins[0].Kept != 2 {
			t.Errorf("peer %d knows %+v", i, s.Twins)
		}
		fenced = append(fenced, f...)
	}
	for k, f := range fenced {
		from := protocols.Index(2 + k)
		if lostOf(second.Handle(t0, unverified(from, f))) != nil {
			t.Error("the process that is kept is lost")
		}
		if k == 0 {
			a.Handle(t0, unverified(from, f)) // twice from one peer
		}
		if got := lostOf(a.Handle(t0, unverified(from, f))) != nil; got != (k == 1) {
			t.Errorf("fenced by %d peers: lost %v", k+1, got)
		}
	}
	peer := b.restore(t, 3, nil, kv.NewMem())
	peer.Handle(t0, unverified(1, &Hello{Boot: 4, Nonce: 1}))
	if f := sent[*Fenced](peer.Handle(t0, unverified(1, &Hello{Boot: 4, Nonce: 2})).Sends); len(f) != 1 || f[0].Nonce != 1 {
		t.Error("of two processes of one start the first is not kept")
	}
}

// TestMarksOutliveTheirKeeper: a peer's mark of a replica survives a crash of the peer.
func TestMarksOutliveTheirKeeper(t *testing.T) {
	b := newBench(t, 4, 2, "")
	store := kv.NewMem()
	peer := b.restore(t, 2, nil, store)
	b.run(t, peer, store, peer.Start(t0))
	batch := lanes.NewBatch(b.c, b.scheme.Signer(1), lanes.Header{Lane: 1, Seq: 1, Count: 1}, []byte("payload"))
	vote := &bolt.Vote{Epoch: 1, Slot: 1, Digest: b.blocks[0].Digest()}
	propose := &bolt.Propose{Leader: 1, Block: b.blocks[0]}
	at := mvba.At{Instance: mvba.Instance{Epoch: 1, Kind: 1}, Round: 1}
	echo := &mvba.Echo{At: at, Broadcaster: 2, Digest: batch.Digest()}
	no := &mvba.PreVote{At: at, Leader: 2}
	for k, m := range []protocols.Message{&Hello{Boot: 3, Nonce: 4}, vote, propose, no, echo, batch} {
		st := peer.Handle(t0.Add(marksEvery*time.Duration(2*k)), unverified(1, m))
		b.persist(t, store, st.Persist)
	}
	again := b.restore(t, 2, nil, store)
	known := sent[*Known](again.Handle(t0, unverified(1, &Hello{Boot: 4, Nonce: 9})).Sends)
	if len(known) != 1 {
		t.Fatalf("%d answers", len(known))
	}
	if x := known[0]; x.Boot != 3 || x.Nonce != 4 || x.Header == nil || x.Header.Digest() != batch.Digest() || x.Vote == nil || *x.Vote != *vote || x.Status != nil {
		t.Errorf("knows %+v", x)
	}
	if x := known[0]; x.Proposal == nil || *x.Proposal != *propose.Signed() || x.Agreement == nil || *x.Agreement != *mvba.SignedBySender(no) {
		t.Errorf("knows %+v", x)
	}
	for _, m := range []*Known{
		{Member: 1, Proposal: propose.Signed()}, {Member: 3, Proposal: propose.Signed()}, {Member: 1, Agreement: mvba.SignedBySender(no)},
		{Member: 1, Agreement: &mvba.Signed{At: at, Phase: mvba.PhaseShare}},
	} {
		if err := verify(b.c, 1, b.scheme, b.coin, 2, m); err == nil {
			t.Errorf("passes without a good signature of its member: %+v", m)
		}
	}
	if err := verify(b.c, 1, b.scheme, b.coin, 2, &Known{Member: 1, Vote: vote}); err == nil {
		t.Error("a vote without a good signature passes")
	}
	if err := verify(b.c, 1, b.scheme, b.coin, 2, &Known{Member: 3, Header: known[0].Header}); err == nil {
		t.Error("a header of another lane passes")
	}
	if err := verify(b.c, 1, b.scheme, b.coin, 2, &Known{Member: 1, Header: known[0].Header}); err != nil {
		t.Errorf("a good header: %v", err)
	}
}

// TestHelloOfEachSession: a running replica sends Hello again in a session in which a peer has not answered, since the
// answer may be that another process is accepted.
func TestHelloOfEachSession(t *testing.T) {
	b := newBench(t, 4, 0, "")
	core, h := b.asking(t, 1, kv.NewMem(), Origin{Born: true, Nonce: 5})
	good := &Known{Member: 1, To: h.Nonce}
	core.Handle(t0, unverified(2, good))
	core.Handle(t0, unverified(3, good))
	hellos := func(from protocols.Index) int {
		return len(sent[*Hello](core.Handle(t0, unverified(from, &Position{})).Sends))
	}
	if hellos(2) != 0 {
		t.Error("says Hello to a peer that answered in this session")
	}
	core.Connected(2)
	if hellos(2) != 1 || hellos(3) != 0 {
		t.Error("says no Hello again to a peer that has not answered in a new session")
	}
	core.Handle(t0, unverified(2, good))
	if hellos(2) != 0 {
		t.Error("says Hello to a peer that answered in the new session")
	}
}
