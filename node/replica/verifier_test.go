package replica

import (
	"errors"
	"testing"

	"bdtnode/protocols"
	"bdtnode/protocols/bdt"
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
		"a message ahead":                {&bdt.Beyond{Epoch: 9}, fault, true, false, false},
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
