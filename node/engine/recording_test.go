package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
	"time"

	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/node/admission"
	"bdtnode/node/clients"
	"bdtnode/node/driver"
	"bdtnode/node/execution"
	"bdtnode/node/record"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/shard/settlement"
)

// recordingFile is the file of a recording in memory.
type recordingFile struct {
	bytes.Buffer
	closed bool
}

func (f *recordingFile) Sync() error  { return nil }
func (f *recordingFile) Close() error { f.closed = true; return nil }

// recorded is a recording of one life of a member.
type recorded struct {
	c             *cluster
	m             *member
	file          *recordingFile
	recorder      *record.Recorder
	store, ledger *kv.Mem // as they were at the start
	slots         uint64
	stop          context.CancelFunc
	done          sync.WaitGroup
}

// record makes the next life of a member a recorded one.
func (m *member) record(slots uint64) *recorded {
	t := m.c.t
	x := &recorded{c: m.c, m: m, file: &recordingFile{}, slots: slots, store: m.store.Fork(), ledger: m.ledger.Fork()}
	var err error
	x.recorder, err = record.New(x.file, record.Header{Network: m.c.committee.Network(), Replica: m.index, Limits: admission.StandardLimits()})
	if err != nil {
		t.Fatal(err)
	}
	m.adjust = func(cfg *driver.Config) {
		cfg.Slots, cfg.Recorder = slots, x.recorder
		cfg.Signer, cfg.Shares = x.recorder.Signer(cfg.Signer), x.recorder.Holder(cfg.Shares)
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.stop = cancel
	x.done.Go(func() { x.recorder.Run(ctx) })
	return x
}

// end ends the recording. The member has ended.
func (x *recorded) end() {
	x.recorder.Close("the test ends")
	x.stop()
	x.done.Wait()
	if !x.file.closed {
		x.c.t.Error("the file is open")
	}
}

// replay repeats the recording, or other bytes in place of it.
func (x *recorded) replay(file []byte) (*record.Result, []string, error) {
	var lines []string
	tosses := coin.NewIdeal(1, x.c.committee.WeakQuorum())
	r, err := record.Replay(x.c.t.Context(), bytes.NewReader(file), func(h *record.Header) (*record.Setup, error) {
		return &record.Setup{Store: x.store.Fork(), Driver: driver.Config{
			Committee: x.c.committee, Self: h.Replica, Scheme: x.c.scheme, Coin: tosses, Slots: x.slots, Vouched: 1,
			GenesisTimeMS: x.c.genesis, State: x.c.open(x.ledger.Fork()), Network: settlement.NetworkOf([]*protocols.Committee{x.c.committee}),
		}}, nil
	}, func(e record.Event) error {
		lines = append(lines, e.Format(0, func(m protocols.Message) string { return fmt.Sprintf("%T", m) }))
		return nil
	})
	return r, lines, err
}

// equal repeats the recording and requires equal results up to its end.
func (x *recorded) equal() (*record.Result, []string) {
	t := x.c.t
	t.Helper()
	r, lines, err := x.replay(x.file.Bytes())
	if err != nil {
		t.Fatalf("the replay differs: %v", err)
	}
	if r.Cut != nil || r.End != "the test ends" || r.Steps == 0 {
		t.Fatalf("replay %+v", r)
	}
	return r, lines
}

func has(lines []string, part string) bool {
	for _, l := range lines {
		if strings.Contains(l, part) {
			return true
		}
	}
	return false
}

// TestRecordingOfLoadAndRestart: the replay of a recorded replica gives the same results, from genesis and after a crash.
func TestRecordingOfLoadAndRestart(t *testing.T) {
	c := newCluster(t)
	first := c.nodes[2].record(0)
	c.startAll()
	defer c.stopAll()
	c.settle(0, 24, 0, 1, 2, 3)
	if p := c.submit(2, Ordered, c.transfer(0, 8, 2))[0]; p.Refusal == nil && p.Receipt.Verdict == ledger.VerdictSettled {
		t.Errorf("a spent output was accepted: %+v", p)
	}
	c.nodes[2].kill()
	first.end()
	r, lines := first.equal()
	if r.Height == 0 || !has(lines, "deliver") || !has(lines, "execute") || !has(lines, "admit") || !has(lines, "batch") {
		t.Errorf("%+v, %d lines", r, len(lines))
	}

	c.settle(24, 32, 0, 1, 3)
	second := c.nodes[2].record(0)
	c.nodes[2].start()
	c.connect()
	c.agree()
	c.settle(32, 40, 0, 1, 2, 3)
	c.nodes[2].kill()
	second.end()
	if after, _ := second.equal(); after.Height <= r.Height {
		t.Errorf("height %d after the restart, %d before", after.Height, r.Height)
	}
	second.cuts()
	second.edits()
}

// cuts: of a cut file, everything before the cut is repeated.
func (x *recorded) cuts() {
	t, whole := x.c.t, x.file.Bytes()
	before := uint64(0)
	for _, part := range []float64{0.3, 0.6, 0.999} {
		r, _, err := x.replay(whole[:int(float64(len(whole))*part)])
		if err != nil || r.Cut == nil || r.End != "" || r.Steps < before {
			t.Errorf("cut to %v: %+v %v", part, r, err)
			continue
		}
		before = r.Steps
	}
	if before == 0 {
		t.Error("no step before the cuts")
	}
}

// edits: a changed byte is found, also if the checksum of its block is changed too.
func (x *recorded) edits() {
	t := x.c.t
	first := bytes.IndexByte(x.file.Bytes(), '\n') + 1
	first += 8 + int(binary.BigEndian.Uint32(x.file.Bytes()[first:])) // behind the header
	for k := range 40 {
		file := bytes.Clone(x.file.Bytes())
		at := first
		size := int(binary.BigEndian.Uint32(file[at:]))
		file[at+8+size*k/40] ^= 0x10
		if r, _, err := x.replay(file); err == nil && (r.Cut == nil || r.Steps > 0) {
			t.Errorf("edit %d: the damaged block was repeated: %+v", k, r)
		}
		binary.BigEndian.PutUint32(file[at+4:], crc32.Checksum(file[at+8:at+8+size], crc32.MakeTable(crc32.Castagnoli)))
		if r, _, err := x.replay(file); err == nil {
			t.Errorf("edit %d: no error: %+v", k, r)
		}
	}
}

// altered is a recording in which one input is not the one that the replica had.
type altered struct {
	*recorded
	core      func(in *driver.CoreInput) (change, keep bool)
	admission func(in *clients.AdmissionInput) (change, keep bool)
	mu        sync.Mutex // held while an input is recorded, so steps are counted in the order of the file
	steps     uint64
	step      uint64 // the changed one, 0 before
}

// alteredRecorder is told the true inputs and passes them on with the change.
type alteredRecorder struct {
	driver.Recorder
	x *altered
}

func (r alteredRecorder) Restored(at admission.Reading, c clients.AdmissionCounts) {
	r.x.mu.Lock()
	defer r.x.mu.Unlock()
	r.x.steps++
	r.Recorder.Restored(at, c)
}

func (r alteredRecorder) Core(in driver.CoreInput, st *replica.Step) {
	r.x.mu.Lock()
	defer r.x.mu.Unlock()
	if r.x.step == 0 && r.x.core != nil {
		if change, keep := r.x.core(&in); change {
			if r.x.step = r.x.steps + 1; !keep {
				return
			}
		}
	}
	r.x.steps++
	r.Recorder.Core(in, st)
}

func (r alteredRecorder) Admission(in *clients.AdmissionInput, res *clients.AdmissionResult) {
	r.x.mu.Lock()
	defer r.x.mu.Unlock()
	if r.x.step == 0 && r.x.admission != nil {
		if change, keep := r.x.admission(in); change {
			if r.x.step = r.x.steps + 1; !keep {
				return
			}
		}
	}
	r.x.steps++
	r.Recorder.Admission(in, res)
}

func (r alteredRecorder) Block(x *execution.Executed) {
	r.x.mu.Lock()
	defer r.x.mu.Unlock()
	r.x.steps++
	r.Recorder.Block(x)
}

// forger signs another message than the one that it is given.
type forger struct{ sig.Signer }

func (f forger) Sign(message []byte) sig.Signature {
	return f.Signer.Sign(append([]byte("x"), message...))
}

// TestRecordingWithChangedInput: the replay finds an input that was changed in the recording, and names a step at or after
// it.
func TestRecordingWithChangedInput(t *testing.T) {
	late := func(kind driver.CoreKind, by time.Duration) func(in *driver.CoreInput) (bool, bool) {
		return func(in *driver.CoreInput) (bool, bool) {
			if in.Kind != kind {
				return false, true
			}
			in.At.Now = in.At.Now.Add(by)
			return true, true
		}
	}
	drop := func(kind protocols.Kind) func(in *driver.CoreInput) (bool, bool) {
		return func(in *driver.CoreInput) (bool, bool) {
			m := in.Message.Message()
			return m != nil && m.Kind() == kind, false
		}
	}
	for name, x := range map[string]*altered{
		"a proposal is missing": {core: drop((&bolt.Propose{}).Kind())},
		"a VOTE is missing":     {core: drop((&certify.VOTE{}).Kind())},
		"a timer is early":      {core: late(driver.CoreTick, -time.Hour)},
		"a batch is missing": {core: func(in *driver.CoreInput) (bool, bool) {
			return in.Kind == driver.CoreAppend, false
		}},
		"a transaction is not admitted": {admission: func(in *clients.AdmissionInput) (bool, bool) {
			return in.Kind == clients.AdmissionAdmit, false
		}},
		"a request is missing": {admission: func(in *clients.AdmissionInput) (bool, bool) {
			return in.Kind == clients.AdmissionOpen, false
		}},
		"a signature is of another message": {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			x.recorded = c.nodes[2].record(0)
			adjust := c.nodes[2].adjust
			c.nodes[2].adjust = func(cfg *driver.Config) {
				signer := cfg.Signer
				adjust(cfg)
				cfg.Recorder = alteredRecorder{cfg.Recorder, x}
				if x.core == nil && x.admission == nil {
					cfg.Signer, x.step = x.recorder.Signer(forger{signer}), 1
				}
			}
			defer c.stopAll()
			if x.core != nil || x.admission != nil {
				c.startAll()
				c.settle(0, 8, 0, 1, 2, 3)
			} else { // no peer would take a forged signature
				c.nodes[1].state = c.open(c.nodes[1].ledger)
				c.nodes[2].start()
				c.submitBrief(2, c.transfer(0, 10, 0))
			}
			c.nodes[2].kill()
			x.end()
			var d *record.Difference
			if _, _, err := x.replay(x.file.Bytes()); x.step == 0 || !errors.As(err, &d) || d.Step < x.step {
				t.Errorf("changed at step %d, the replay gives %v", x.step, err)
			} else {
				t.Logf("changed at step %d: %v", x.step, d)
			}
		})
	}
}

// TestRecordingOfEpochs: the replay gives the same results when epochs end, with their last slot and by the agreement.
func TestRecordingOfEpochs(t *testing.T) {
	c := newCluster(t)
	x := c.nodes[1].record(4)
	for _, m := range c.nodes {
		if m.index != 1 {
			m.adjust = func(cfg *driver.Config) { cfg.Slots = 4 }
		}
	}
	c.startAll()
	defer c.stopAll()
	for i := range 12 {
		c.settle(i, i+1, i%replicas)
	}
	leader := c.nodes[1].up().Status().Leader
	if leader == 1 {
		leader = 2
	}
	c.nodes[leader].kill() // the agreement ends the epochs that it leads
	at := make([]int, 0, replicas)
	for i := range replicas {
		if i != int(leader) {
			at = append(at, i)
		}
	}
	for i := 12; i < 24; i++ {
		c.settle(i, i+1, at...)
	}
	if e := c.nodes[1].up().Status().Epoch; e < 4 {
		t.Errorf("epoch %d", e)
	}
	c.nodes[1].kill()
	x.end()
	_, lines := x.equal()
	if !has(lines, "mvba") || !has(lines, "coin") {
		t.Error("no agreement in the recording")
	}
}

// broken is a signer with a bug.
type broken struct{ sig.Signer }

func (broken) Sign([]byte) sig.Signature { panic("a bug") }

// TestRecordingOfPanic: the input at which the core panics is the last one of the recording.
func TestRecordingOfPanic(t *testing.T) {
	c := newCluster(t)
	x := c.nodes[2].record(0)
	adjust := c.nodes[2].adjust
	c.nodes[2].adjust = func(cfg *driver.Config) {
		adjust(cfg)
		cfg.Signer = broken{cfg.Signer}
	}
	m := c.nodes[2]
	c.nodes[1].state = c.open(c.nodes[1].ledger)
	m.start()
	c.submitBrief(2, c.transfer(0, 10, 0))
	if err := <-m.done; err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("the engine ended with %v", err)
	}
	m.stop()
	m.running.Wait()
	x.end()
	r, lines := x.equal()
	if n := len(lines); n < 3 || !strings.Contains(lines[n-3], "batch of the own lane") || !strings.Contains(lines[n-2], "panic") || r.Steps == 0 {
		t.Errorf("%+v\n%s", r, strings.Join(lines, "\n"))
	}
}
