package vouch

import (
	"bytes"
	"testing"

	"bdtnode/internal/digest"
	"bdtnode/internal/sig"
	"bdtnode/protocols"
	"bdtnode/protocols/committeetest"
	"bdtnode/protocols/lanes"
)

const t0 protocols.Time = 1_000_000_000

const (
	least = 8
	large = 1000 // entries of a batch for which replicas vouch
)

type bench struct{ c *protocols.Committee }

func newBench(t testing.TB, n int) *bench {
	t.Helper()
	return &bench{committeetest.Ideal(t, sig.NewIdeal(1), 0, n, digest.Of("network"), 0)}
}

func (b *bench) machine(self protocols.Index) *Machine {
	return New(Config{Committee: b.c, Self: self, Least: least}, make(lanes.Cut, b.c.N()))
}

func ref(lane protocols.Index, seq uint64, name string) lanes.Ref {
	return lanes.Ref{Lane: lane, Tip: lanes.Tip{Seq: seq, Digest: digest.Of(name)}}
}

// cutAt is a cut of n lanes with one position.
func cutAt(n int, r lanes.Ref) lanes.Cut {
	cut := make(lanes.Cut, n)
	cut[r.Lane] = r.Tip
	return cut
}

// outputs are the outputs of a step by kind.
func outputs(st Step) (checks, drops, bad []lanes.Ref) {
	for _, o := range st.Out {
		switch {
		case o.Check != nil:
			checks = append(checks, *o.Check)
		case o.Drop != nil:
			drops = append(drops, *o.Drop)
		case o.Bad != nil:
			bad = append(bad, *o.Bad)
		}
	}
	return checks, drops, bad
}

func vouchFor(refs ...lanes.Ref) *Vouch { return &Vouch{refs} }

func TestVouchEncoding(t *testing.T) {
	b := newBench(t, 4)
	x := vouchFor(ref(1, 7, "a"), ref(1, 8, "b"), ref(2, 1, "c"))
	body := x.Append(nil)
	got, err := DecodeVouch(body)
	if err != nil || !bytes.Equal(got.Append(nil), body) || got.Batches[2] != x.Batches[2] {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := got.SignatureChecks(b.c, 3); err != nil {
		t.Error(err)
	}
	if _, err := got.SignatureChecks(b.c, 2); err == nil {
		t.Error("a Vouch for the lane of its sender is accepted")
	}
	if _, err := vouchFor(ref(4, 1, "a")).SignatureChecks(b.c, 3); err == nil {
		t.Error("a Vouch for a lane that does not exist is accepted")
	}
	for name, bad := range map[string][]byte{
		"short": body[:len(body)-1], "long": append(bytes.Clone(body), 0), "empty": vouchFor().Append(nil),
		"out of order":     vouchFor(ref(2, 1, "a"), ref(1, 1, "a")).Append(nil),
		"twice":            vouchFor(ref(1, 1, "a"), ref(1, 1, "a")).Append(nil),
		"number 0":         vouchFor(ref(1, 0, "a")).Append(nil),
		"too many batches": vouchFor(many(MaxRefs + 1)...).Append(nil),
	} {
		if _, err := DecodeVouch(bad); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	largest := vouchFor(many(MaxRefs)...).Append(nil)
	if _, err := DecodeVouch(largest); err != nil || len(largest) != Messages[0].Max {
		t.Errorf("the largest body has %d bytes, the table says %d; %v", len(largest), Messages[0].Max, err)
	}
}

func many(n int) []lanes.Ref {
	out := make([]lanes.Ref, n)
	for i := range out {
		out[i] = ref(1, uint64(i)+1, "a")
	}
	return out
}

func FuzzDecodeVouch(f *testing.F) {
	f.Add(vouchFor(ref(1, 7, "a"), ref(2, 1, "c")).Append(nil))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := DecodeVouch(body)
		if err == nil && !bytes.Equal(m.Append(nil), body) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", body)
		}
	})
}
