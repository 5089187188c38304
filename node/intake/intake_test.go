package intake

import (
	"slices"
	"testing"
	"time"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/internal/sig"
	"bdtnode/ledger"
	"bdtnode/ledger/paylog"
	"bdtnode/node/execution"
	"bdtnode/node/replica"
	"bdtnode/protocols"
	"bdtnode/protocols/certify"
	"bdtnode/protocols/coin"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
	"bdtnode/shard/settlement"
)

const replicas = 4

// fakeHost records the calls of an intake. Its clock stands still.
type fakeHost struct {
	faults    []protocols.Fault
	exceeding map[protocols.Index]Exceeding
}

func (h *fakeHost) Clock() (protocols.Time, time.Duration)       { return protocols.Time(time.Hour), 0 }
func (h *fakeHost) Misbehaved(f protocols.Fault)                 { h.faults = append(h.faults, f) }
func (h *fakeHost) OverBudget(from protocols.Index, x Exceeding) { h.exceeding[from] = x }

// bench is the intake of replica 0, with the horizon of a core at its start.
type bench struct {
	*Intake
	host      *fakeHost
	signers   []*sig.Ed25519Key
	committee *protocols.Committee
}

func newBench(t *testing.T, adjust ...func(*Config)) *bench {
	t.Helper()
	b := &bench{host: &fakeHost{exceeding: make(map[protocols.Index]Exceeding)}}
	b.committee, b.signers = committeetest.Ed25519(t, replicas, digest.Of("test"), 0)
	log, err := paylog.Open(kv.NewMem(), paylog.Config{Network: b.committee.Network()})
	if err != nil {
		t.Fatal(err)
	}
	tosses := coin.NewIdeal(1, b.committee.WeakQuorum())
	core, err := replica.Restore(replica.Config{
		Committee: b.committee, Signer: b.signers[0], Coin: tosses, Shares: tosses.Holder(0), Shards: 1, WallClock: &protocols.WallClock{},
	}, log, kv.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Committee: b.committee, Shards: 1, Scheme: sig.NewEd25519(), Coin: tosses, Kinds: settlement.NetworkOf([]*protocols.Committee{b.committee}).Kinds(0), Horizon: core.Horizon(),
	}
	for _, f := range adjust {
		f(&cfg)
	}
	b.Intake = New(cfg, b.host, execution.NewContents(), nil)
	return b
}

// payload is a valid payload of one entry.
func payload() []byte { return ledger.EncodePayload(nil, ledger.RawNotice{Kind: ledger.KindContinue}) }

// batch is the first batch of a peer's lane, or one far ahead, signed by the peer.
func (b *bench) batch(lane protocols.Index, seq uint64, count uint32, payload []byte) *lanes.Batch {
	h := lanes.Header{Lane: lane, Seq: seq, Count: count}
	if seq > 1 {
		h.Parent = digest.Of("before")
	}
	return lanes.NewBatch(b.committee, b.signers[lane], h, payload)
}

// TestPassBoundsOnePeer: of a flood of requests by one peer a bounded number passes, each refused frame pauses the
// stream, the host gets the exact count of refused frames, and the frames of another peer pass without a pause.
func TestPassBoundsOnePeer(t *testing.T) {
	b := newBench(t)
	frame := []byte{byte(lanes.KindFetch), 0, 0}
	const frames = 10_000
	refused := uint64(0)
	for range frames {
		take, wait := b.Pass(1, frame)
		if !take {
			refused++
			if wait <= 0 {
				t.Fatal("a refused frame does not pause the stream")
			}
		} else if wait != 0 {
			t.Fatal("a frame within the budget pauses the stream")
		}
	}
	if refused < frames/2 || refused == frames {
		t.Errorf("%d of %d frames of one instant are refused", refused, frames)
	}
	if got := b.host.exceeding[1]; got != (Exceeding{Frames: refused}) {
		t.Errorf("the host has %+v, want %d frames", got, refused)
	}
	if take, wait := b.Pass(2, frame); !take || wait != 0 {
		t.Error("the flood of one peer refuses or pauses the frame of another")
	}
	if _, told := b.host.exceeding[2]; told {
		t.Error("a peer within its budget is reported")
	}
}

// TestPassLetsAnswersIn: a History passes once for each request that was sent to its sender, and to no other peer.
func TestPassLetsAnswersIn(t *testing.T) {
	history := []byte{byte(replica.KindHistory)}
	passed := func(b *bench, from protocols.Index) (n int) {
		for range 10 {
			if take, _ := b.Pass(from, history); take {
				n++
			}
		}
		return n
	}
	b := newBench(t)
	if passed(b, 1) != 0 {
		t.Error("an answer without a request passes")
	}
	if got := b.host.exceeding[1]; got != (Exceeding{Answers: 10}) {
		t.Errorf("the host has %+v, want 10 answers", got)
	}
	b.Asks(1, &replica.Request{})
	if got := [2]int{passed(b, 1), passed(b, 2)}; got != [2]int{1, 0} {
		t.Errorf("after a request to peer 1, the peers 1 and 2 have %v answers passed", got)
	}
	b.Asks(protocols.Everyone, &replica.Request{})
	if got := [3]int{passed(b, 1), passed(b, 2), passed(b, 3)}; got != [3]int{1, 1, 1} {
		t.Errorf("after a request to all, the peers have %v answers passed", got)
	}
}

// TestCheckGood: a good batch is verified, with its sender, and its payload is in memory for execution.
func TestCheckGood(t *testing.T) {
	b := newBench(t)
	x := b.batch(1, 1, 1, payload())
	v, err := b.Check(1, replica.Encode(x))
	if err != nil || v.IsZero() || v.From() != 1 || v.Message().(*lanes.Batch).Digest() != x.Digest() {
		t.Fatalf("%+v, %v", v, err)
	}
	if !b.contents.Has(x.Digest()) || b.contents.Has(digest.Of("other")) {
		t.Error("the payloads in memory are not those of the verified batches")
	}
}

// TestCheckFaults: a frame that no honest replica sends is an error and gives no message.
func TestCheckFaults(t *testing.T) {
	b := newBench(t)
	good := replica.Encode(b.batch(1, 1, 1, payload()))
	signature := lanes.NewBatch(b.committee, b.signers[2], lanes.Header{Lane: 1, Seq: 1, Count: 1}, payload())
	for name, frame := range map[string][]byte{
		"empty":                 {},
		"unknown kind":          {0xff, 1, 2, 3},
		"truncated":             good[:len(good)-1],
		"longer":                append(slices.Clone(good), 0),
		"signer is another":     replica.Encode(signature),
		"malformed payload":     replica.Encode(b.batch(1, 1, 1, []byte{1, 2, 3})),
		"false count":           replica.Encode(b.batch(1, 1, 2, payload())),
		"lane beyond the shard": replica.Encode(&lanes.Fetch{Lane: replicas, Tip: lanes.Tip{Seq: 1, Digest: digest.Of("x")}}),
	} {
		if v, err := b.Check(1, frame); err == nil || !v.IsZero() {
			t.Errorf("%s: error %v, message %+v", name, err, v.Message())
		}
	}
	if len(b.host.faults) > 0 {
		t.Errorf("a fault is reported twice: %+v", b.host.faults)
	}
}

// TestCheckPassedOn: a bad payload is a fault of the lane's owner. A replica that passes the batch on is reported, without
// an error that would end its stream, and the batch is dropped.
func TestCheckPassedOn(t *testing.T) {
	b := newBench(t)
	bad := replica.Encode(b.batch(1, 1, 2, payload()))
	if v, err := b.Check(2, bad); err != nil || !v.IsZero() {
		t.Errorf("error %v, message %+v", err, v.Message())
	}
	if len(b.host.faults) != 1 || b.host.faults[0].Peer != 2 {
		t.Errorf("reported: %+v, want peer 2", b.host.faults)
	}
}

// TestCheckUnneeded: a message without use is dropped unverified and is no fault, and an adversary of the simulator
// (TakeAll) verifies it. A batch beyond the window becomes a note that it is ahead.
func TestCheckUnneeded(t *testing.T) {
	useless := replica.Encode(&lanes.Ack{Lane: 2, Tip: lanes.Tip{Seq: 1, Digest: digest.Of("x")}}) // the lane of another replica
	b := newBench(t)
	if v, err := b.Check(1, useless); err != nil || !v.IsZero() {
		t.Errorf("error %v, message %+v", err, v.Message())
	}
	all := newBench(t, func(c *Config) { c.TakeAll = true })
	if _, err := all.Check(1, useless); err == nil {
		t.Error("with TakeAll, the missing signature of a useless message is not found")
	}
	v, err := b.Check(1, replica.Encode(b.batch(1, 1<<20, 1, payload())))
	if err != nil || v.IsZero() || v.Message() != nil || v.Ahead() == nil {
		t.Errorf("a batch beyond the window: error %v, %+v", err, v)
	}
}

// TestCheckRaisesHeights: a VOTE shows the height of its sender, and an older one does not lower it.
func TestCheckRaisesHeights(t *testing.T) {
	b := newBench(t)
	for _, height := range []uint64{5, 3} {
		d := digest.Of("header")
		vote := &certify.VOTE{Height: height, Header: d, Signature: b.signers[1].Sign(certify.Statement(b.committee, height, d))}
		if _, err := b.Check(1, replica.Encode(vote)); err != nil {
			t.Fatal(err)
		}
		if got := [2]uint64{b.Height(1), b.Height(2)}; got != [2]uint64{5, 0} {
			t.Errorf("after a VOTE for %d, the heights of peers 1 and 2 are %v", height, got)
		}
	}
}
