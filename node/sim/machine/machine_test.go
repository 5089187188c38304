package machine_test

import (
	"strings"
	"testing"
	"time"

	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/sim/adversary"
	"bdtnode/node/sim/machine"
	"bdtnode/node/sim/network"
	"bdtnode/node/sim/rig"
	"bdtnode/protocols/bolt"
)

// shard is a running shard, and a client that pays coins of genesis.
type shard struct {
	*rig.Rig
	t     *testing.T
	coins []ledger.Input
}

func newShard(t *testing.T, byzantine ...machine.Byzantine) *shard {
	t.Helper()
	r, err := rig.New(4, byzantine...)
	if err != nil {
		t.Fatal(err)
	}
	s := &shard{Rig: r, t: t}
	key := s.Signers[s.Config.Replicas].Public()
	a, err := s.Machines[0].Account(ledger.AddressOf(key), ledger.Page{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range a.Outputs {
		s.coins = append(s.coins, ledger.Input{Outpoint: o.Outpoint, Key: key, Amount: o.Amount})
	}
	return s
}

// pays brings a payment to a replica.
func (s *shard) pays(n *machine.Machine) ledger.TxID {
	s.t.Helper()
	in := s.coins[0]
	s.coins = s.coins[1:]
	b := ledger.Body{Network: s.ID, ExpiryMS: s.Now().Add(time.Minute).Millis(), Inputs: []ledger.Input{in}}
	b.Outputs = []ledger.Output{{Address: ledger.AddressOf(in.Key), Amount: in.Amount}}
	tx, err := b.Sign(s.Signers[s.Config.Replicas])
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := ledger.VerifyTx(s.Scheme, s.ID, tx.Encode())
	if err != nil {
		s.t.Fatal(err)
	}
	r := admission.NewRequest("client", []ledger.TxID{tx.ID()}, admission.Final, true, s.Now(), func() {})
	n.Clients().Open(r)
	n.Do(func() {
		if err := n.Clients().Bring(r, v); err != nil {
			s.t.Error(err)
		}
	})
	return tx.ID()
}

// plays carries out the events of a time. With good no check may fail.
func (s *shard) plays(d time.Duration, good bool) {
	s.t.Helper()
	if s.For(d); good && s.Violation != nil {
		s.t.Fatal(s.Violation)
	}
}

// count is the number of events with a name that a replica causes.
func (s *shard) count(what string, who int) (n int) {
	for _, e := range s.Events {
		if e.What == what && e.Who == who {
			n++
		}
	}
	return n
}

// settled counts the replicas that have settled a transaction.
func (s *shard) settled(id ledger.TxID) (n int) {
	for _, m := range s.Machines {
		if r, ok, err := m.Receipt(id); err != nil {
			s.t.Fatal(err)
		} else if ok && r.Verdict == ledger.VerdictSettled {
			n++
		}
	}
	return n
}

// TestPayment: a payment settles at all replicas.
func TestPayment(t *testing.T) {
	s := newShard(t)
	id := s.pays(s.Machines[1])
	s.plays(2*time.Second, true)
	if n := s.settled(id); n != 4 {
		t.Errorf("settled at %d replicas", n)
	}
}

// TestRecordsBeforeMessages: messages leave a replica only when its disk has the records, and a crash before that leaves no
// trace of them outside.
func TestRecordsBeforeMessages(t *testing.T) {
	s := newShard(t)
	n := s.Machines[1]
	s.SyncMean = time.Hour
	id, before := s.pays(n), len(s.Events)
	s.plays(500*time.Millisecond, true)
	batches := 0
	for _, e := range s.Events[before:] {
		if e.What == "message" && e.Who == 1 && strings.Contains(e.String(), "batch") {
			batches++
		}
	}
	if batches > 0 {
		t.Errorf("%d batches left a replica whose disk writes nothing", batches)
	}
	n.Crash()
	s.SyncMean = time.Millisecond
	n.Start()
	s.plays(3*time.Second, true)
	if n := s.settled(id); n > 0 {
		t.Errorf("a transaction that was on no disk settled at %d replicas", n)
	}
}

// TestSentEarly: if messages leave before their records are on disk, a crash makes a replica break a promise, and a check
// fails.
func TestSentEarly(t *testing.T) {
	s := newShard(t)
	n := s.Machines[0] // the leader
	s.Config.Mutation.SendEarly = true
	s.SyncMean = 5 * time.Second
	for k := 0; k < 8 && !n.Dead(); k++ {
		s.pays(n)
		s.plays(300*time.Millisecond, false)
		n.Crash()
		n.Start()
		s.plays(2*time.Second, false)
	}
	if s.Violation == nil {
		t.Error("no check failed")
	}
}

// variant is a shard whose crashes lose other records than those of other variants.
func variant(t *testing.T, k int) *shard {
	t.Helper()
	s := newShard(t)
	for range k {
		s.Rand.Uint64()
	}
	return s
}

// TestCrashKeepsSynced: a crash keeps all that was synced, and of later records only the first ones. The record of a committed
// block is synced with the next vote.
func TestCrashKeepsSynced(t *testing.T) {
	for k := range 20 {
		s := variant(t, k)
		n := s.Machines[2]
		ids := []ledger.TxID{s.pays(n)}
		s.plays(2*time.Second, true)
		height := n.Status().Committed
		ids = append(ids, s.pays(n))
		s.plays(2*time.Second, true)
		n.Crash()
		if n.Alive() {
			t.Fatal("it is up after a crash")
		}
		n.Start()
		if got := n.Status().Committed; got < height {
			t.Errorf("it starts at %d, and had synced the commit of %d", got, height)
		}
		s.plays(2*time.Second, true)
		for _, id := range ids {
			if r, ok, err := n.Receipt(id); err != nil || !ok || r.Verdict != ledger.VerdictSettled {
				t.Errorf("receipt %+v after the crash", r)
			}
		}
	}
}

// TestPowerCut: all replicas crash while the record of the last block is on the disks of some or of none. They order the block
// again at the same height, and the answer is the same.
func TestPowerCut(t *testing.T) {
	lost := 0
	for k := range 20 {
		s := variant(t, k)
		id := s.pays(s.Machines[2])
		s.plays(2*time.Second, true)
		want, ok, err := s.Machines[0].Receipt(id)
		if err != nil || !ok {
			t.Fatalf("no receipt before the crash: %v", err)
		}
		for _, n := range s.Machines {
			n.Crash()
		}
		for _, n := range s.Machines {
			n.Start()
			if n.Status().Committed < want.Height {
				lost++
			}
		}
		s.plays(5*time.Second, true)
		for _, n := range s.Machines {
			if r, ok, err := n.Receipt(id); err != nil || !ok || r != want {
				t.Errorf("replica %d has receipt %+v, want %+v (%v)", n.ID(), r, want, err)
			}
		}
	}
	if lost == 0 {
		t.Error("no replica lost the record of its last block")
	}
}

// TestLedgerIsNotAhead: after a crash the ledger on disk has no block that the consensus store on disk lacks. If the ledger's
// effects become durable first, a replica cannot start.
func TestLedgerIsNotAhead(t *testing.T) {
	crashes := func(ledgerFirst bool) (violation error) {
		for k := 0; k < 8 && violation == nil; k++ {
			s := variant(t, k)
			s.Config.Mutation.LedgerFirst = ledgerFirst
			for i := 0; i < 8 && s.Violation == nil; i++ {
				n := s.Machines[i%4]
				s.pays(n)
				s.plays(time.Second, false)
				n.Crash()
				n.Start()
			}
			violation = s.Violation
		}
		return violation
	}
	if err := crashes(false); err != nil {
		t.Error(err)
	}
	if crashes(true) == nil {
		t.Error("every replica started")
	}
}

// TestWorkEndsWithLife: unfinished work of a life is not done after its crash.
func TestWorkEndsWithLife(t *testing.T) {
	s := newShard(t)
	n := s.Machines[1]
	s.ExecMean = time.Second
	s.pays(n)
	s.plays(200*time.Millisecond, true) // committed, and not executed
	life := n.Life()
	n.Crash()
	executed := s.count("executed", 1)
	s.plays(20*time.Second, true)
	if n.Alive() || n.Life() != life+1 || s.count("executed", 1) != executed {
		t.Errorf("alive %v, life %d after %d, %d blocks executed after the crash", n.Alive(), n.Life(), life, s.count("executed", 1)-executed)
	}
	n.Fall(time.Second)
	s.plays(20*time.Second, true)
	if n.Alive() {
		t.Error("Fall starts a machine that was down")
	}
	n.Kill()
	if n.Start(); n.Alive() || !n.Dead() {
		t.Error("a machine that is down for good starts")
	}
}

// TestPanics: a panic in an honest replica is a violation. A Byzantine one is down.
func TestPanics(t *testing.T) {
	s := newShard(t, machine.Byzantine{Replica: 3, Behaviour: &adversary.Silent{}})
	s.Machines[3].Guard(func() { panic("broken") })
	if s.Machines[3].Alive() || s.Violation != nil {
		t.Errorf("the Byzantine replica is up: %v; %v", s.Machines[3].Alive(), s.Violation)
	}
	s.Machines[0].Guard(func() { panic("broken") })
	if s.Violation == nil || !strings.HasPrefix(s.Violation.Error(), "invariant") {
		t.Errorf("violation %v", s.Violation)
	}
}

// TestFrames: a message is encoded, decoded and verified: a frame that does not decode, or with another replica's
// signature, is refused, and the connection breaks.
func TestFrames(t *testing.T) {
	vote := &bolt.Vote{Epoch: 1, Slot: 9}
	for name, p := range map[string]network.Packet{"no message": {Frame: []byte{0xff, 1}}, "no signature": adversary.Unchanged(vote)[0]} {
		s := newShard(t, machine.Byzantine{Replica: 3, Behaviour: &adversary.Silent{}})
		s.Machines[0].Receive(3, p)
		if s.count("refused", 3) != 1 || s.count("break", 3)+s.count("break", 0) != 1 {
			t.Errorf("%s: %d frames refused, %d connections broken", name, s.count("refused", 3), s.count("break", 3)+s.count("break", 0))
		}
		if s.Violation != nil {
			t.Errorf("%s: %v", name, s.Violation)
		}
		s = newShard(t)
		s.Machines[0].Receive(3, p)
		if s.Violation == nil {
			t.Errorf("%s: an honest replica's frame is refused, and no check fails", name)
		}
	}
}

// TestCrashPoint: a machine that crashes at a crash point has its records on disk, and has sent nothing.
func TestCrashPoint(t *testing.T) {
	s := newShard(t)
	n := s.Machines[1]
	crashed := false
	s.CrashPoint = func(at *machine.Machine) bool {
		if at != n || crashed {
			return false
		}
		crashed = true
		at.Crash()
		return true
	}
	id := s.pays(n)
	s.plays(time.Second, true)
	if !crashed || s.settled(id) > 0 {
		t.Fatalf("crashed %v, settled at %d", crashed, s.settled(id))
	}
	n.Start()
	s.plays(3*time.Second, true)
	if got := s.settled(id); got != 4 {
		t.Errorf("the batch was on disk, and settled at %d replicas", got)
	}
}

// TestMuted: with Muted, an idle shard carries nothing.
func TestMuted(t *testing.T) {
	s := newShard(t)
	s.plays(5*time.Second, true)
	messages := func() (n int) {
		for i := range s.Machines {
			n += s.count("message", i)
		}
		return n
	}
	pings := messages()
	s.Muted = true
	s.plays(time.Second, true)
	muted := messages()
	s.plays(20*time.Second, true)
	if pings == 0 || messages() != muted {
		t.Errorf("%d messages before, %d while muted", pings, messages()-muted)
	}
}

// TestStores: stores can be copied and given to a machine that is down.
func TestStores(t *testing.T) {
	s := newShard(t)
	n := s.Machines[1]
	old := n.CopyStores()
	id := s.pays(s.Machines[0])
	s.plays(2*time.Second, true)
	n.Crash()
	n.SetStores(old, true)
	if !n.Replaced() {
		t.Error("the stores are not replaced")
	}
	n.Start()
	if r, ok, err := n.Receipt(id); err != nil || ok {
		t.Errorf("an old copy has the receipt %+v", r)
	}
}
