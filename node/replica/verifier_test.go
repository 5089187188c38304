package replica

import (
	"errors"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/kv"
	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
	"bdtnode/protocols/bolt"
	"bdtnode/protocols/cancel"
	"bdtnode/protocols/lanes"
)

// contents is a ContentVerifier with one result for everything. It counts its calls.
type contents struct {
	valid bool
	err   error
	calls int
}

func (x *contents) VerifyPayload(protocols.Index, *lanes.Batch) (bool, error) {
	x.calls++
	return x.valid, x.err
}

func (x *contents) VerifyLD(*Inbound) (bool, error) {
	x.calls++
	return x.valid, x.err
}

func (x *contents) VerifyCLM(*cancel.CLM) error {
	x.calls++
	return x.err
}

// unknown is a message of a kind that is not in the table.
type unknown struct{}

func (unknown) Kind() protocols.Kind   { return 0xff }
func (unknown) Append(b []byte) []byte { return b }

// TestVerifier: a Verified has a message only if signatures and content are valid, and an error is returned only for a fault of
// the sender.
func TestVerifier(t *testing.T) {
	b := newBench(t, 4, 2, "")
	batch := lanes.NewBatch(b.c, b.scheme.Signer(2), lanes.Header{Lane: 2, Seq: 1, Count: 1}, []byte("payload"))
	forged := *batch
	forged.Signature[0] ^= 1
	ld := NewInbound(anLD(t, b, b.certificate(1, 2).Certificate))
	good, evidence, fault := contents{valid: true}, contents{}, contents{err: errors.New("bad")}
	for name, x := range map[string]struct {
		m                   protocols.Message
		contents            contents
		valid, fails, calls bool
	}{
		"a batch":                        {batch, good, true, false, true},
		"a batch to drop":                {batch, evidence, false, false, true},
		"a batch of a Byzantine peer":    {batch, fault, false, true, true},
		"a batch with a wrong signature": {&forged, good, false, true, false},
		"an LD":                          {ld, good, true, false, true},
		"an LD that is evidence":         {ld, evidence, false, false, true},
		"an invalid LD":                  {ld, fault, false, true, true},
		"a VOTE":                         {b.vote(3, 1), fault, true, false, false},
		"a VOTE of another replica":      {b.vote(1, 1), good, false, true, false},
		"a message without signature":    {&Ping{}, fault, true, false, false},
		"a message of an unknown kind":   {unknown{}, good, false, true, false},
	} {
		v := Verifier{Committee: b.c, Shards: 2, Signatures: b.scheme, Coin: b.coin, Contents: &x.contents}
		got, err := v.Check(3, x.m)
		if (err != nil) != x.fails || (x.contents.calls == 1) != x.calls {
			t.Errorf("%s: error %v after %d checks of the content", name, err, x.contents.calls)
		}
		if x.valid && (got.Message() != x.m || got.From() != 3) || !x.valid && got != (Verified{}) {
			t.Errorf("%s: verified as %T of replica %d", name, got.Message(), got.From())
		}
	}
}

// TestAhead: a core gets the place of a message that is ahead, without its content. When it has reached the place, it requests
// the message from its sender.
func TestAhead(t *testing.T) {
	b := newBench(t, 4, 0, "")
	core := b.restore(t, 0, nil, &kv.Mem{})
	b.run(t, core, &kv.Mem{}, core.Start(t0))
	far, near := &bolt.Vote{Epoch: 1, Slot: 400, Digest: digest.Of("d")}, &bolt.Vote{Epoch: 1, Slot: 9, Digest: digest.Of("d")}
	if got := core.Horizon().Relevance(3, far); got != protocols.Ahead {
		t.Fatalf("relevance %d of a vote of slot 400, want %d", got, protocols.Ahead)
	}
	x := NewAhead(3, far)
	if x.IsZero() || x.Message() != nil || x.From() != 3 || *x.Ahead() != (bdt.Ahead{Epoch: 1, Slot: 400}) {
		t.Errorf("the place of the vote is %+v", x.Ahead())
	}
	if asked := sent[*Position](core.Handle(t0, x).Sends); len(asked) > 0 {
		t.Errorf("requests a message of slot 400 before it has reached that slot: %+v", asked)
	}
	asked := sent[*Position](core.Handle(t0, NewAhead(2, near)).Sends) // slot 9 came into reach while the message waited
	if len(asked) != 2 || !asked[0].Again {
		t.Errorf("requests %+v, want one to each sender of a message that was dropped", asked)
	}
}
