package check

import (
	"errors"
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/driver"
	"bdtnode/node/replica"
	"bdtnode/node/sim/network"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/lanes"
)

// TestDurability: committed blocks survive crashes, and answers do not change.
func TestDurability(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	b := s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1})
	synced := func(who int, b *bolt.Block) {
		st := replica.Step{Persist: []protocols.Record{commit(b)}}
		s.Stepped(n[who], &st)
		s.Synced(n[who], []driver.Action{{Step: st}})
	}
	restarted := func(committed uint64) {
		n[0].status.Committed = committed
		s.Crashed(n[0])
		s.Started(n[0])
	}
	synced(0, b)
	n[0].stored[string(bdt.CommitKey(1))] = b.Append(nil)
	restarted(1)
	f.holds("a start with all blocks")
	restarted(0)
	f.violates("durability", "a start without a block that was on disk")
	n[0].stored[string(bdt.CommitKey(1))] = s.block(t, bolt.Block{Epoch: 1, Slot: 1, Height: 1, TimeMS: 1}).Append(nil)
	restarted(1)
	f.violates("durability", "another block in the store")
	delete(n[0].stored, string(bdt.CommitKey(1)))
	restarted(1)
	f.violates("durability", "no block in the store")

	f = newFixture(t, 1)
	s, n = f.one()
	synced(0, b)
	one, two := ledger.TxID{1}, ledger.TxID{2}
	block := func(height uint64, receipts ...ledger.Receipt) *ledger.Block {
		return &ledger.Block{Header: ledger.Header{Height: height, Block: b.Digest()}, Receipts: receipts}
	}
	settled := ledger.Receipt{Tx: one, Height: 1, Verdict: ledger.VerdictSettled}
	s.Executed(n[0], &ledger.CommittedBlock{}, block(1, settled))
	s.Executed(n[0], &ledger.CommittedBlock{}, block(1, settled))
	f.holds("one answer twice")
	s.Executed(n[0], &ledger.CommittedBlock{}, block(1, ledger.Receipt{Tx: one, Height: 1, Verdict: ledger.VerdictRejected}))
	f.violates("durability", "another answer")
	s.promises.final[two] = ledger.ReasonConsumed
	s.Executed(n[0], &ledger.CommittedBlock{}, block(1, ledger.Receipt{Tx: two, Height: 1, Verdict: ledger.VerdictSettled}))
	f.violates("durability", "a transaction settles after a final refusal")

	f = newFixture(t, 1)
	s, n = f.one()
	s.durability.answers[one] = settled
	n[0].height, n[0].receipts = 1, map[ledger.TxID]ledger.Receipt{one: settled}
	s.durability.ended(n[0])
	s.durability.ended(n[1])
	f.holds("the same receipt at the end, and a replica that has not executed the block")
	n[1].height = 1
	s.durability.ended(n[1])
	f.violates("durability", "no receipt at the end")
}

// TestPromises: a replica keeps an accepted transaction until its final answer, contradicts no final answer, and its batches
// have no transaction with an input that is never created.
func TestPromises(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	tx := f.tx(1, in(0), in(0))
	id := tx.ID()
	says := func(p *admission.Progress) {
		n[0].progress = nil
		if p != nil {
			n[0].progress = map[ledger.TxID]admission.Progress{id: *p}
		}
	}
	refusal := func(r ledger.Reason) *admission.Progress {
		return &admission.Progress{Refusal: &ledger.Refusal{Reason: r}}
	}
	if refusal(ledger.ReasonBusy).Refusal.Final() || !refusal(ledger.ReasonConsumed).Refusal.Final() {
		t.Fatal("busy is final, or consumed is not")
	}
	says(&admission.Progress{Logged: true})
	f.Accepted(n[0], tx)
	f.Review(n[0])
	f.holds("the transaction waits")
	if !f.Holds(n[0], id) || f.Holds(n[1], id) || !f.Held(id) || f.Held(ledger.TxID{9}) {
		t.Error("Holds or Held is wrong")
	}
	says(refusal(ledger.ReasonBusy))
	f.Review(n[0])
	f.violates("promises", "a refusal after the acceptance")
	says(nil)
	f.Review(n[0])
	f.violates("promises", "the transaction is unknown")
	s.Crashed(n[0])
	s.Started(n[0])
	f.violates("promises", "the transaction is unknown after a restart")
	s.durability.answers[id] = ledger.Receipt{Tx: id, Height: 5, Verdict: ledger.VerdictSettled}
	s.Started(n[0])
	f.holds("a block that is executed again has the answer")
	n[0].replaced = true
	delete(s.durability.answers, id)
	f.Review(n[0])
	f.holds("a replica whose store was replaced")
	n[0].replaced = false
	says(refusal(ledger.ReasonConsumed))
	s.durability.answers[id] = ledger.Receipt{Tx: id, Height: 5, Verdict: ledger.VerdictSettled}
	f.Review(n[0])
	f.violates("promises", "a final refusal of a transaction that settled")
	says(nil)
	f.Review(n[0])
	f.holds("it has its answer, and nobody asks for it any more")

	f = newFixture(t, 1)
	s, n = f.one()
	says(&admission.Progress{Logged: true})
	f.Accepted(n[0], tx)
	s.Silent()
	f.holds("before its expiry")
	f.clock.Play(f.clock.Now().Add(time.Minute+graceful), func(int) bool { return false })
	s.Silent()
	f.holds("as late as allowed")
	f.clock.Play(f.clock.Now().Add(time.Second), func(int) bool { return false })
	s.Silent()
	f.violates("promises", "expired, and without a final answer")

	f.Never(0, id)
	s.Batched(n[0], []*ledger.Tx{f.tx(2, in(0), in(0))})
	f.holds("another transaction in a batch")
	s.Batched(n[0], []*ledger.Tx{tx})
	f.violates("promises", "a transaction with an input that is never created in a batch")
	f.Refused(n[0], ledger.TxID{7}, ledger.ReasonConsumed)
	f.holds("a final refusal")
}

// TestLacking: an accepted transaction, and one that is wanted, must have an answer.
func TestLacking(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	tx := f.tx(1, in(0), in(0))
	if lack := f.Unsettled(); lack != "" {
		t.Error(lack)
	}
	f.Wanted(tx.ID())
	if f.Unsettled() == "" {
		t.Error("a wanted transaction without an answer")
	}
	s.durability.answers[tx.ID()] = ledger.Receipt{}
	if lack := f.Unsettled(); lack != "" {
		t.Error(lack)
	}
	accepted := f.tx(2, in(0), in(0))
	f.Accepted(n[0], accepted)
	if f.Unsettled() == "" {
		t.Error("an accepted transaction without an answer")
	}
	n[0].refusal = &ledger.Refusal{Reason: ledger.ReasonUnknownInput}
	if lack := f.Unsettled(); lack != "" {
		t.Errorf("it waits for an input: %s", lack)
	}
	n[0].refusal, n[0].dead = nil, true
	if lack := f.Unsettled(); lack != "" {
		t.Errorf("only a replica that failed for good accepted it: %s", lack)
	}
}

// TestLiveness: at the end all honest replicas are up, and have committed, executed and certified one height.
func TestLiveness(t *testing.T) {
	for name, change := range map[string]func(n *node){
		"is down": func(n *node) { n.alive = false }, "has not committed": func(n *node) { n.status.Committed-- },
		"has not executed": func(n *node) { n.height-- }, "has not certified": func(n *node) { n.status.Certified-- },
	} {
		f := newFixture(t, 1)
		s, nodes := f.one()
		s.agreement.top = 3
		for _, n := range nodes {
			n.status.Committed, n.status.Certified, n.height = 3, 3, 3
		}
		change(nodes[byzantine])
		s.End(time.Minute)
		f.holds("a Byzantine replica " + name)
		change(nodes[0])
		s.End(time.Minute)
		f.violates("liveness", "a replica "+name)
		nodes[0].dead = true
		s.End(time.Minute)
		f.holds("the replica failed for good")
	}
}

// TestPending: only a running replica's mempool counts.
func TestPending(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	n[1].pending = 1
	if !s.Pending() {
		t.Error("a transaction waits")
	}
	if n[1].alive = false; s.Pending() {
		t.Error("the replica is down")
	}
}

// TestBlame: no honest replica is blamed or refused, and no forged message is taken.
func TestBlame(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	s.Blamed(n[0], protocols.Fault{Peer: byzantine})
	s.Blamed(n[byzantine], protocols.Fault{Peer: 0})
	s.Refused(n[0], byzantine, errors.New("bad"))
	s.Refused(n[byzantine], 0, errors.New("bad"))
	s.Passed(n[0], byzantine, network.Packet{}, &replica.Ping{})
	s.Passed(n[byzantine], 1, network.Packet{Forged: "a forged one"}, &replica.Ping{})
	f.holds("by or of a Byzantine replica")
	if got := f.Counts().Refused; got != 1 {
		t.Errorf("%d refused messages", got)
	}
	s.Blamed(n[0], protocols.Fault{Peer: 1})
	f.violates("blame", "an honest replica is blamed")
	s.Refused(n[0], 1, errors.New("bad"))
	f.violates("blame", "a message of an honest replica is refused")
	s.Passed(n[0], byzantine, network.Packet{Forged: "a forged one"}, &replica.Ping{})
	f.violates("blame", "a forged message is taken")
}

// TestIdentity: a replica signs after 2f answers to its start, and not with an old store.
func TestIdentity(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	n[0].nonce, n[0].running = 7, false
	s.Started(n[0])
	s.Looked(n[0])
	f.holds("a replica that does not sign")
	known := func(from protocols.Index, to uint64) {
		s.Passed(n[0], from, network.Packet{}, &replica.Known{Member: 0, To: to})
	}
	known(1, 7)
	known(1, 7)
	known(2, 6) // of an earlier start
	n[0].running = true
	s.Looked(n[0])
	f.violates("identity", "a signature after one answer")
	s.Crashed(n[0])
	s.Started(n[0])
	known(1, 7)
	known(2, 7)
	s.Looked(n[0])
	f.holds("a signature after 2f answers")
	s.Started(n[0])
	known(1, 7)
	known(2, 7)
	n[0].replaced = true
	s.Looked(n[0])
	f.violates("identity", "a signature with an old store")
	s.Lost(n[0], &replica.Lost{})
	f.holds("a replaced store is found lost")
	n[byzantine].second = true
	s.Lost(n[byzantine], &replica.Lost{})
	f.holds("a second process is found lost")
	s.Lost(n[1], &replica.Lost{})
	f.violates("identity", "a replica is found lost with its own store")
}

// TestNewer: Newer reports when all running replicas have newer signatures of a replica.
func TestNewer(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	newer := s.Newer(n[0])
	vote := &bolt.Vote{Epoch: 1, Slot: 1}
	receive := func(who int, m protocols.Message) { s.Passed(n[who], 0, network.Packet{}, m) }
	s.SentGuarded(n[0], vote)
	receive(1, vote)
	receive(2, f.batch(s, 0, 1, digest.Digest{}, 1))
	if newer(false) {
		t.Error("one replica has received none")
	}
	receive(byzantine, vote)
	if s.Passed(n[byzantine], 0, network.Packet{}, vote); newer(false) {
		t.Error("the checks do not see what a Byzantine replica receives")
	}
	n[byzantine].alive = false
	if !newer(false) || newer(true) {
		t.Error("all have something newer, one of them no vote")
	}
	receive(2, vote)
	if !newer(true) {
		t.Error("all have a newer vote")
	}
	s.SentGuarded(n[0], f.batch(s, 0, 1, digest.Digest{}, 1))
	if newer(true) {
		t.Error("there is a newer header")
	}
}

// TestValue: the value of a shard is that of genesis.
func TestValue(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	n[0].audit = ledger.Audit{Unspent: 990, Burned: 10, Genesis: 1000}
	s.End(time.Minute)
	f.holds("all value is there")
	n[0].audit.Unspent++
	s.End(time.Minute)
	f.violates("value", "a coin too much")
}

// TestSignatures: a batch with a bad signature contributes nothing to a block, and every other batch does.
func TestSignatures(t *testing.T) {
	f := newFixture(t, 1)
	s, n := f.one()
	tx := f.tx(1, in(0), in(0))
	forged := slices.Clone(tx.Encode())
	forged[len(forged)-1] ^= 1
	unsigned, err := ledger.DecodeTx(forged)
	if err != nil {
		t.Fatal(err)
	}
	height := uint64(0)
	executes := func(payloads []*ledger.Payload, bad ...ledger.BatchID) {
		height++
		s.signatures.executed(n[0], &ledger.CommittedBlock{Height: height, Payloads: payloads, Bad: bad})
	}
	batch := func(number uint64, tx *ledger.Tx) ledger.BatchID {
		b := lanes.NewBatch(s.Committee, f.scheme.Signer(1), lanes.Header{Lane: 1, Seq: number, Count: 1}, ledger.EncodePayload([][]byte{tx.Encode()}))
		n[0].stored[string(lanes.StoredKey(1, b.Tip()))] = b.Stored()
		return ledger.BatchID{Lane: 1, Seq: number, Digest: b.Digest()}
	}
	executes([]*ledger.Payload{{Txs: []*ledger.Tx{tx}}}, batch(1, unsigned))
	f.holds("a good batch is executed, and a bad one is not")
	if got := f.Counts().Bad; got != 1 {
		t.Errorf("%d bad batches", got)
	}
	executes([]*ledger.Payload{{Txs: []*ledger.Tx{unsigned}}})
	f.violates("signatures", "a batch with a bad signature is executed")
	executes(nil, batch(1, tx))
	f.violates("signatures", "a good batch is left out")
	executes(nil, ledger.BatchID{Lane: 1, Seq: 9})
	f.violates("signatures", "a batch that the replica does not hold")
}
