package ledger

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bdtnode/internal/digest"
	"bdtnode/merkle"
)

func sampleDelivery(t testing.TB) *Delivery {
	tx := sampleTx(t)
	return NewDelivery(Delivery{Source: 1, Destination: 2, Number: 7, Previous: digest.Of("before"), Applied: 5, Entries: []Entry{
		{Verdict: VerdictSpent, Tx: tx},
		{Verdict: VerdictRejected, Reason: ReasonUnknownInput, Tx: tx},
	}})
}

func TestDeliveriesMatchGolden(t *testing.T) {
	d := sampleDelivery(t)
	empty := NewDelivery(Delivery{Source: 1, Destination: 2, Number: 1})
	out := Outgoing{Height: 9, Index: 1, Count: 3, Path: merkle.Proof{Path: []digest.Digest{digest.Of("a")}}, Delivery: d}
	part := Part{Tx: sampleTx(t).ID(), Shard: 2, Stage: StageReturned, Open: true, Height: 8, Outputs: ShardSet(0).With(2).With(63),
		Known: []KnownVerdict{{1, VerdictRejected, ReasonConsumed, 7}, {Shard: 3}}}
	channel := Channel{Peer: 4, Sent: 1, SentDigest: digest.Of("s"), Acked: 2, Applied: 3, AppliedDigest: digest.Of("a"), AppliedSent: 4, Frozen: true, Waiting: 5, Escrow: 6, Created: 7}
	freeze := Freeze{Source: 4, Height: 6, Number: 5, Delivery: digest.Of("d"), Why: "because"}
	golden(t, "deliveries.txt", []string{
		"delivery " + hex.EncodeToString(d.Append(nil)),
		"delivery digest " + d.Digest().String(),
		"empty delivery " + hex.EncodeToString(empty.Append(nil)),
		"empty delivery digest " + empty.Digest().String(),
		"outgoing " + hex.EncodeToString(out.encode()),
		"part " + hex.EncodeToString(part.encode()),
		"channel " + hex.EncodeToString(channel.encode()),
		"freeze " + hex.EncodeToString(freeze.encode()),
		"returned output " + ReturnedOutpoint(sampleTx(t).ID(), Outpoint{Tx: TxID{1}, Index: 2}).Tx.String(),
	})
	if got, err := DecodeDelivery(d.Append(nil)); err != nil || got.Digest() != d.Digest() || len(d.Append(nil)) != d.Size() {
		t.Errorf("a delivery decodes to %+v, %v", got, err)
	}
	if got, err := decodeOutgoing(out.encode()); err != nil || got.Height != 9 || got.Index != 1 || got.Count != 3 || !slices.Equal(got.Path.Path, out.Path.Path) || got.Delivery.Digest() != d.Digest() {
		t.Errorf("an outgoing delivery decodes to %+v, %v", got, err)
	}
	if got, err := decodePart(part.encode(), part.Tx, part.Shard); err != nil || !slices.Equal(got.Known, part.Known) || got.Stage != part.Stage || !got.Open || got.Height != 8 {
		t.Errorf("a part decodes to %+v, %v", got, err)
	}
	if got, err := decodeChannel(channel.encode(), 4); err != nil || got != channel {
		t.Errorf("a channel decodes to %+v, %v", got, err)
	}
	if got, err := decodeFreeze(freeze.encode(), 4); err != nil || got != freeze {
		t.Errorf("a freeze decodes to %+v, %v", got, err)
	}
}

// TestDeliveryDigestCoversAllFields changes each field.
func TestDeliveryDigestCoversAllFields(t *testing.T) {
	other := pay(t, 0, 10, []Outpoint{{}}, 1, Output{addressOf(1), 9})
	seen := map[digest.Digest]string{sampleDelivery(t).Digest(): "nothing"}
	for name, change := range map[string]func(d *Delivery){
		"source":         func(d *Delivery) { d.Source++ },
		"destination":    func(d *Delivery) { d.Destination++ },
		"number":         func(d *Delivery) { d.Number++ },
		"previous":       func(d *Delivery) { d.Previous[3]++ },
		"applied":        func(d *Delivery) { d.Applied++ },
		"verdict":        func(d *Delivery) { d.Entries[0].Verdict = VerdictRejected },
		"reason":         func(d *Delivery) { d.Entries[1].Reason = ReasonConsumed },
		"transaction":    func(d *Delivery) { d.Entries[0].Tx = other },
		"order":          func(d *Delivery) { slices.Reverse(d.Entries) },
		"one entry less": func(d *Delivery) { d.Entries = d.Entries[:1] },
		"one entry more": func(d *Delivery) { d.Entries = append(d.Entries, d.Entries[1]) },
		"none":           func(d *Delivery) { d.Entries = nil },
	} {
		d := *sampleDelivery(t)
		change(&d)
		got := NewDelivery(d).Digest()
		if same, twice := seen[got]; twice {
			t.Errorf("the digest is the same after changing %s and %s", name, same)
		}
		seen[got] = name
	}
}

func TestMalformedDeliveriesAreRefused(t *testing.T) {
	good := sampleDelivery(t).Append(nil)
	at := func(i int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[i:], v); return b }
	}
	const entry = deliveryHead
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		why    string
	}{
		"empty":                                    {func([]byte) []byte { return nil }, "wanted"},
		"another version":                          {at(0, 9), "version 9"},
		"from an impossible shard":                 {at(1, 0, MaxShards), "from shard 64"},
		"to an impossible shard":                   {at(3, 255, 0), "to 65280"},
		"to its source":                            {at(3, 0, 1), "from shard 1 to 1"},
		"number 0":                                 {at(5, make([]byte, 8)...), "delivery 0"},
		"the first delivery with a previous one":   {at(5, 0, 0, 0, 0, 0, 0, 0, 1), "delivery 1 after"},
		"a later delivery without a previous one":  {at(13, make([]byte, 32)...), "delivery 7 after"},
		"more entries than fit":                    {at(53, 255, 255, 255, 255), "entries in"},
		"one entry too few":                        {at(56, 1), "left over"},
		"one entry too many":                       {at(56, 3), ""},
		"verdict settled":                          {at(entry, byte(VerdictSettled)), "verdict 1"},
		"verdict 0":                                {at(entry, 0), "verdict 0"},
		"SPENT with a reason":                      {at(entry+1, byte(ReasonConsumed)), "verdict 3 with reason"},
		"REJECTED without a reason":                {at(entry, byte(VerdictRejected)), "verdict 2 with reason 0"},
		"REJECTED with a reason that is not final": {at(entry, byte(VerdictRejected), byte(ReasonBookFull)), "verdict 2 with reason"},
		"REJECTED with an unknown reason":          {at(entry, byte(VerdictRejected), 200), "verdict 2 with reason"},
		"a transaction of 2^31 bytes":              {at(entry+2, 128), "at most"},
		"a broken transaction":                     {at(entry+6, 77), "transaction version 77"},
		"one byte too many":                        {func(b []byte) []byte { return append(b, 0) }, "left over"},
		"cut off":                                  {func(b []byte) []byte { return b[:len(b)-1] }, ""},
		"too long":                                 {func([]byte) []byte { return make([]byte, MaxDeliveryBytes+1) }, "at most"},
	} {
		if _, err := DecodeDelivery(c.change(bytes.Clone(good))); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.why)
		}
	}
}

func FuzzDecodeDelivery(f *testing.F) {
	f.Add(sampleDelivery(f).Append(nil))
	f.Add(NewDelivery(Delivery{Destination: 1, Number: 1}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := DecodeDelivery(b); err == nil && !bytes.Equal(d.Append(nil), b) {
			t.Errorf("%x decodes, but is not the canonical encoding of the result", b)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	part := Part{Stage: StageEscrow, Known: []KnownVerdict{{Shard: 1}}}
	f.Add(part.encode())
	f.Add((&Channel{Sent: 3}).encode())
	f.Add((&Freeze{Why: "x"}).encode())
	f.Add((&Outgoing{Delivery: sampleDelivery(f)}).encode())
	f.Add((&StateRoot{Records: 1}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodePart(b, TxID{}, 0); err == nil && !bytes.Equal(p.encode(), b) {
			t.Errorf("%x decodes to a part, but is not its encoding", b)
		}
		if c, err := decodeChannel(b, 0); err == nil && !bytes.Equal(c.encode(), b) {
			t.Errorf("%x decodes to a channel, but is not its encoding", b)
		}
		if x, err := decodeFreeze(b, 0); err == nil && !bytes.Equal(x.encode(), b) {
			t.Errorf("%x decodes to a freeze, but is not its encoding", b)
		}
		if o, err := decodeOutgoing(b); err == nil && !bytes.Equal(o.encode(), b) {
			t.Errorf("%x decodes to an outgoing delivery, but is not its encoding", b)
		}
		if r, err := decodeStateRoot(0, b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x decodes to a root of a state, but is not its encoding", b)
		}
	})
}

func TestPartiesAreHomeShards(t *testing.T) {
	home := func(a Address) uint16 {
		for i := range 5 {
			if a == addressOf(i) {
				return uint16(i)
			}
		}
		return 63
	}
	b := Body{Network: testNet, Inputs: []Input{{Outpoint{}, signer(1).Public(), 5}, {Outpoint{Index: 1}, signer(3).Public(), 5}, {Outpoint{Index: 2}, signer(1).Public(), 5}},
		Outputs: []Output{{addressOf(3), 10}, {addressOf(9), 5}}}
	p := signed(t, b, 1, 3).Shards(home)
	if !slices.Equal(p.Inputs.Members(), []uint16{1, 3}) || !slices.Equal(p.Outputs.Members(), []uint16{3, 63}) || p.All().Len() != 3 {
		t.Errorf("%v and %v", p.Inputs.Members(), p.Outputs.Members())
	}
	if !p.Inputs.Has(3) || p.Inputs.Has(2) || p.Inputs.Has(64) || p.Inputs.Has(65535) || p.Inside(3) || p.All().Without(3).Has(3) {
		t.Error("Has, Inside or Without is wrong")
	}
	inside := Body{Network: testNet, Inputs: b.Inputs[1:2], Outputs: b.Outputs[:1]}
	if in := signed(t, inside, 3).Shards(home); !in.Inside(3) || in.Inside(1) {
		t.Errorf("%+v is inside shard 3", in)
	}
}

// TestGainedAndCeded compares gained and ceded with a plain sum: their difference is the sum, and one of them is
// 0.
func TestGainedAndCeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x sums
		net := int64(0)
		for range rapid.IntRange(1, 20).Draw(t, "settlements") {
			made, spent := rapid.Uint64Range(0, 100).Draw(t, "made"), rapid.Uint64Range(0, 100).Draw(t, "spent")
			x.settle(made, spent)
			net += int64(made) - int64(spent)
			if x.gained > 0 && x.ceded > 0 || int64(x.gained)-int64(x.ceded) != net {
				t.Fatalf("gained %d, ceded %d, net %d", x.gained, x.ceded, net)
			}
		}
	})
}
